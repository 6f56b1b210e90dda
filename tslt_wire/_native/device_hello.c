/* HELLO is written: spec section 7.2.  A field says when it is there, and its value; the map is in the order of names. */
#include "device_handshake.h"

/* A HELLO that is written: of the caller's, or of what was agreed on. */
typedef struct {
  bit_writer *w;
  const tslt_hello *hello;
  const tslt_agreed *agreed;
} writer;

static void put_text(bit_writer *w, const char *text) { tslt_put_string(w, text, strlen(text)); }

static void put_double(bit_writer *w, const tslt_sampling_request *s, unsigned setting) {
  const double values[SETTINGS] = {[0] = s->temperature, [2] = s->top_p, [3] = s->min_p, [4] = s->repetition_penalty,
                                   [5] = s->presence_penalty, [6] = s->frequency_penalty};
  tslt_put_number(w, values[setting]);
}

static void put_setting(bit_writer *w, const tslt_sampling_request *s, unsigned setting) {
  switch (1u << setting) {
  case TSLT_TOP_K:
    tslt_put_integer(w, s->top_k);
    return;
  case TSLT_LOGIT_BIAS:
    tslt_put_items(w, s->biases);
    for (size_t i = 0; i < s->biases; i++) {
      tslt_put_items(w, 2);
      tslt_put_integer(w, (uint64_t)s->biased[i]);
      tslt_put_number(w, s->bias[i]);
    }
    return;
  case TSLT_SUPPRESS_TOKENS:
    tslt_put_items(w, s->suppressed_count);
    for (size_t i = 0; i < s->suppressed_count; i++)
      tslt_put_integer(w, (uint64_t)s->suppressed[i]);
    return;
  case TSLT_IGNORE_EOS:
    tslt_put_bits(w, s->ignore_eos ? 0xC3 : 0xC2, 8);
    return;
  default:
    put_double(w, s, setting);
  }
}

/* The next of `count` names after `last`, in the order of their bytes; -1: there is none. */
static int next_name(const char *const *names, int count, const char *last) {
  int best = -1;
  for (int i = 0; i < count; i++)
    if (names[i] && (!last || strcmp(names[i], last) > 0) && (best < 0 || strcmp(names[i], names[best]) < 0))
      best = i;
  return best;
}

static const tslt_sampling_request NEUTRAL = {.temperature = 1, .top_p = 1, .repetition_penalty = 1};

static void put_sampling(const writer *o) {
  const tslt_sampling_request *asked = o->agreed ? &NEUTRAL : &o->hello->sampling;
  size_t count = 0;
  const char *names[SETTINGS];
  for (unsigned i = 0; i < SETTINGS; i++) {
    bool there = o->agreed || asked->named >> i & 1;
    names[i] = there ? tslt_setting_names[i] : NULL;
    count += there;
  }
  tslt_put_pairs(o->w, count);
  const char *last = NULL;
  for (int i; (i = next_name(names, SETTINGS, last)) >= 0; last = names[i]) {
    put_text(o->w, names[i]);
    tslt_bytes known = o->agreed ? tslt_find_control(o->agreed->sampling.at, names[i]) : (tslt_bytes){NULL, 0};
    if (known.size)
      tslt_put_raw(o->w, known.at, known.size);
    else
      put_setting(o->w, asked, (unsigned)i);
  }
}

static void put_names(bit_writer *w, const int *numbers, const uint8_t *agreed, size_t count, const char *const *names) {
  tslt_put_items(w, count);
  for (size_t i = 0; i < count; i++)
    put_text(w, names[agreed ? agreed[i] : numbers[i]]);
}

static void put_limits(bit_writer *w, const tslt_all_limits *l) {
  const struct {
    const char *name;
    uint64_t value;
  } all[] = {{"max_control_bytes", l->max_control_bytes},    {"max_depth", l->frame.max_depth},
             {"max_entries", l->frame.max_entries},          {"max_extensions", l->frame.max_extensions},
             {"max_frame_bytes", l->frame.max_frame_bytes}, {"max_leaves", l->frame.max_leaves},
             {"max_nodes", l->frame.max_nodes},              {"max_prompt_tokens", l->max_prompt_tokens}};
  tslt_put_pairs(w, sizeof all / sizeof *all);
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    put_text(w, all[i].name);
    tslt_put_integer(w, all[i].value);
  }
}

/* Fields by name; one whose name is NULL is not there. */
enum { ENTROPY, EVIDENCE, LIMITS, LOGPROBS, MODEL, NONCE, ORDINARY, PADDING, PRECISION, PRIORS, RESUME, SAMPLING, TIMING, TOKEN_MAP, TOKENIZER, VOCAB_SIZE, KNOWN };

static void put_field(const writer *o, int field) {
  const tslt_hello *h = o->hello;
  const tslt_agreed *a = o->agreed;
  bit_writer *w = o->w;
  switch (field) {
  case ENTROPY:
    put_names(w, a ? &a->entropy : h->entropy, NULL, a ? 1 : h->entropy_count, tslt_entropy_names);
    return;
  case EVIDENCE:
    put_names(w, h->evidence, a ? a->evidence : NULL, a ? a->evidence_count : h->evidence_count, tslt_evidence_names);
    return;
  case PRECISION:
    put_names(w, h->precisions, a ? a->precisions : NULL, a ? a->precision_count : h->precision_count, tslt_precision_names);
    return;
  case PRIORS:
    tslt_put_items(w, a ? 1 : h->prior_count);
    for (size_t i = 0; i < (a ? 1 : h->prior_count); i++)
      put_text(w, a ? a->prior : h->priors[i].name);
    return;
  case LIMITS:
    put_limits(w, &h->limits);
    return;
  case LOGPROBS:
  case TIMING:
    tslt_put_bits(w, 0xC3, 8);
    return;
  case MODEL:
    put_text(w, h->model ? h->model : "");
    return;
  case NONCE:
    tslt_put_binary(w, h->nonce, NONCE_BYTES);
    return;
  case PADDING:
    tslt_put_integer(w, h->padding);
    return;
  case RESUME:
    tslt_put_binary(w, a ? a->resume.at : h->resume, a ? a->resume.size : h->resume_size);
    return;
  case SAMPLING:
    put_sampling(o);
    return;
  case VOCAB_SIZE:
    tslt_put_integer(w, h->vocab_size);
    return;
  default:
    tslt_put_binary(w, field == ORDINARY ? h->ordinary : field == TOKEN_MAP ? h->token_map : h->tokenizer, FINGERPRINT_BYTES);
  }
}

static int named_fields(const tslt_hello *h, const char *names[KNOWN]) {
  static const char *const ALL[KNOWN] = {"entropy",    "evidence", "limits", "logprobs", "model",  "nonce",     "ordinary",
                                         "padding",    "precisions", "priors", "resume", "sampling", "timing", "token_map",
                                         "tokenizer",  "vocab_size"};
  int count = 0;
  memcpy(names, ALL, sizeof ALL);
  names[LOGPROBS] = h->log_probs ? ALL[LOGPROBS] : NULL;
  names[TIMING] = h->timing ? ALL[TIMING] : NULL;
  names[PADDING] = h->padding ? ALL[PADDING] : NULL;
  names[ORDINARY] = h->ordinary ? ALL[ORDINARY] : NULL;
  names[TOKEN_MAP] = h->token_map ? ALL[TOKEN_MAP] : NULL;
  for (int i = 0; i < KNOWN; i++)
    count += names[i] != NULL;
  return count;
}

void tslt_write_hello(bit_writer *w, const tslt_hello *hello, const tslt_agreed *agreed) {
  writer o = {w, hello, agreed};
  const char *names[KNOWN], *last = NULL;
  int known = named_fields(hello, names);
  tslt_put_raw(w, "TSLT", MAGIC_BYTES);
  tslt_put_bits(w, (uint32_t)(hello->min_version ? hello->min_version : TSLT_SPEC_VERSION), 8);
  tslt_put_bits(w, (uint32_t)(hello->max_version ? hello->max_version : TSLT_SPEC_VERSION), 8);
  tslt_put_pairs(w, (size_t)known + hello->extra_count);
  for (;;) {
    int field = next_name(names, KNOWN, last);
    const tslt_field *other = NULL;
    for (size_t i = 0; i < hello->extra_count; i++)
      if ((!last || strcmp(hello->extra[i].name, last) > 0) && (!other || strcmp(hello->extra[i].name, other->name) < 0))
        other = &hello->extra[i];
    if (field < 0 && !other)
      return;
    bool extra = other && (field < 0 || strcmp(other->name, names[field]) < 0);
    last = extra ? other->name : names[field];
    put_text(w, last);
    if (extra)
      tslt_put_raw(w, other->value, other->size);
    else
      put_field(&o, field);
  }
}

/* ---------------------------------------------------------------------------------------------------------- checking */

/* Numbers below `most`, each once, one at least. */
static bool numbers_ok(const int *numbers, size_t count, int most) {
  unsigned seen = 0;
  for (size_t i = 0; i < count; i++) {
    if (numbers[i] < 0 || numbers[i] >= most || seen >> numbers[i] & 1)
      return false;
    seen |= 1u << numbers[i];
  }
  return count > 0;
}

static bool tokens_ok(const int32_t *tokens, size_t count, size_t most) {
  for (size_t i = 0; i < count && i < most; i++)
    if (tokens[i] < 0 || tokens[i] >= (int64_t)TSLT_MAX_VOCAB_SIZE || (i && tokens[i] <= tokens[i - 1]))
      return false;
  return count <= most;
}

static bool between(const tslt_sampling_request *s, unsigned setting, double value, double low, double high) {
  return !(s->named & setting) || (value >= low && value <= high);
}

static bool request_ok(const tslt_sampling_request *s) {
  for (size_t i = 0; s->named & TSLT_LOGIT_BIAS && i < s->biases; i++)
    if (!(s->bias[i] >= -100 && s->bias[i] <= 100))
      return false;
  return s->named < 1u << SETTINGS && between(s, TSLT_TEMPERATURE, s->temperature, 0, 1.7e308) &&
         (!(s->named & TSLT_TOP_P) || s->top_p > 0) && between(s, TSLT_TOP_P, s->top_p, 0, 1) &&
         between(s, TSLT_MIN_P, s->min_p, 0, 1) && between(s, TSLT_REPETITION_PENALTY, s->repetition_penalty, 0.01, 100) &&
         between(s, TSLT_PRESENCE_PENALTY, s->presence_penalty, -2, 2) &&
         between(s, TSLT_FREQUENCY_PENALTY, s->frequency_penalty, -2, 2) &&
         (!(s->named & TSLT_LOGIT_BIAS) || tokens_ok(s->biased, s->biases, 300)) &&
         (!(s->named & TSLT_SUPPRESS_TOKENS) || tokens_ok(s->suppressed, s->suppressed_count, 512));
}

bool tslt_hello_ok(const tslt_hello *h) {
  const char *names[KNOWN];
  named_fields(h, names);
  if (h->padding == 1 || h->padding > MOST_PADDING || (h->model && !tslt_is_utf8((const uint8_t *)h->model, strlen(h->model))))
    return false;
  if (!h->tokenizer || !h->vocab_size || h->vocab_size > TSLT_MAX_VOCAB_SIZE || !h->prior_count ||
      h->resume_size > MOST_TOKEN_BYTES || !numbers_ok(h->evidence, h->evidence_count, EVIDENCES) ||
      !numbers_ok(h->precisions, h->precision_count, PRECISIONS) || !numbers_ok(h->entropy, h->entropy_count, ENTROPIES))
    return false;
  for (size_t i = 0; i < h->prior_count; i++)
    if (!h->priors[i].name || (h->priors[i].prior == NULL) != !strcmp(h->priors[i].name, "none"))
      return false;
  for (size_t i = 0; i < h->extra_count; i++) {
    for (int k = 0; k < KNOWN; k++)
      if (!h->extra[i].name || (names[k] && !strcmp(names[k], h->extra[i].name)))
        return false;
    for (size_t k = 0; k < i; k++)
      if (!strcmp(h->extra[k].name, h->extra[i].name))
        return false;
  }
  int low = h->min_version ? h->min_version : TSLT_SPEC_VERSION, high = h->max_version ? h->max_version : TSLT_SPEC_VERSION;
  return low >= 1 && low <= high && high <= 255 && request_ok(&h->sampling);
}

tslt_all_limits tslt_default_all_limits(void) {
  return (tslt_all_limits){tslt_default_limits(), (uint64_t)1 << 18, (uint64_t)1 << 13};
}

tslt_hello tslt_default_hello(uint32_t vocab_size, const uint8_t *tokenizer) {
  static const int EVIDENCE_NUMBERS[EVIDENCES] = {0, 1, 2, 3, 4}, PRECISION_NUMBERS[PRECISIONS] = {0, 1, 2, 3, 4, 5, 6, 7};
  static const int ENTROPY_NUMBERS[] = {TSLT_ENTROPY_RANGE, TSLT_ENTROPY_NONE};
  static const tslt_named_prior NO_PRIOR = {"none", NULL};
  return (tslt_hello){.vocab_size = vocab_size, .tokenizer = tokenizer, .evidence = EVIDENCE_NUMBERS, .evidence_count = EVIDENCES,
                      .precisions = PRECISION_NUMBERS, .precision_count = PRECISIONS, .entropy = ENTROPY_NUMBERS,
                      .entropy_count = 2, .priors = &NO_PRIOR, .prior_count = 1, .limits = tslt_default_all_limits()};
}

/* ----------------------------------------------------------------------------------------------- what was asked for */

static bool kept_array(const tslt_sampling_request *s, unsigned setting, const control_value *found) {
  bool biases = 1u << setting == TSLT_LOGIT_BIAS;
  size_t count = biases ? s->biases : s->suppressed_count;
  if (found->number != count)
    return false;
  const uint8_t *at = found->next;
  for (size_t i = 0; i < count; i++) {
    control_value token = tslt_read_control(biases ? tslt_read_control(at).next : at);
    if (token.number != (uint64_t)(biases ? s->biased : s->suppressed)[i] ||
        (biases && tslt_read_control(token.next).real != s->bias[i]))
      return false;
    at = tslt_skip_control(at);
  }
  return true;
}

bool tslt_request_kept(const tslt_sampling_request *s, tslt_bytes sampling) {
  const double values[SETTINGS] = {s->temperature, (double)0, s->top_p, s->min_p, s->repetition_penalty, s->presence_penalty,
                                   s->frequency_penalty};
  for (unsigned i = 0; i < SETTINGS; i++) {
    if (!(s->named >> i & 1))
      continue;
    tslt_bytes field = tslt_find_control(sampling.at, tslt_setting_names[i]);
    control_value found = {.real = 1u << i & (TSLT_TEMPERATURE | TSLT_TOP_P | TSLT_REPETITION_PENALTY) ? 1 : 0};
    if (field.size)
      found = tslt_read_control(field.at);
    bool kept = 1u << i == TSLT_TOP_K        ? found.number == s->top_k
                : 1u << i == TSLT_IGNORE_EOS ? found.number == (uint64_t)(s->ignore_eos != 0)
                : 1u << i & (TSLT_LOGIT_BIAS | TSLT_SUPPRESS_TOKENS) ? kept_array(s, i, &found)
                                                                       : found.real == values[i];
    if (!kept)
      return false;
  }
  return true;
}
