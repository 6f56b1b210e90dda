/* What a device hears: WELCOME, answers, ERROR and BYE.  Spec sections 7.3 and 7.7; what is checked, in which order. */
#include "device_session.h"

/* A refusal: its code, and a text for people. */
typedef struct {
  int code;
  const char *text;
} refusal;

#define TAKEN ((refusal){TSLT_OK, NULL})
#define DESYNCHRONISED(text) ((refusal){TSLT_DESYNCHRONISED, text})
#define UNSUPPORTED(text) ((refusal){TSLT_UNSUPPORTED, text})

static control_value field(const tslt_message *m, int which) { return tslt_read_control(m->fields[which].at); }

/* ---------------------------------------------------------------------------------------------------------- WELCOME */

static bool same_bytes(tslt_bytes value, const uint8_t *ours) {
  return ours && value.size && !memcmp(tslt_read_control(value.at).bytes.at, ours, FINGERPRINT_BYTES);
}

/* [FIT-1] */
static refusal fit(const tslt_hello *h, const tslt_message *m) {
  bool same_size = field(m, TSLT_FIELD_VOCAB_SIZE).number == h->vocab_size;
  if (same_bytes(m->fields[TSLT_FIELD_TOKENIZER], h->tokenizer) || same_bytes(m->fields[TSLT_FIELD_ORDINARY], h->ordinary))
    return TAKEN;
  return (refusal){same_size ? TSLT_TOKENIZER_MISMATCH : TSLT_VOCABULARY_MISMATCH, "the edge's vocabulary does not fit the device's"};
}

static bool offered(const int *numbers, size_t count, int number) {
  for (size_t i = 0; i < count; i++)
    if (numbers[i] == number)
      return true;
  return false;
}

/* Names of a field that were offered, each once, to `chosen`; false for none, or for another one. */
static bool choose_names(const tslt_message *m, int which, const char *const *names, int known, const int *offer, size_t offers,
                         uint8_t *chosen, unsigned *count, unsigned *bits) {
  control_value array = field(m, which);
  const uint8_t *at = array.next;
  *count = *bits = 0;
  for (uint64_t i = 0; i < array.number; i++) {
    control_value name = tslt_read_control(at);
    int number = tslt_number_of(name.bytes, names, known);
    if (number < 0 || !offered(offer, offers, number))
      return false;
    if (!(*bits >> number & 1))
      chosen[(*count)++] = (uint8_t)number;
    *bits |= 1u << number;
    at = name.next;
  }
  return *count > 0;
}

/* Numbers as a HELLO offers them: all of the caller's, or those that were agreed on. */
typedef struct {
  int numbers[PRECISIONS];
  size_t count;
} offer;

static offer offer_of(const tslt_device *d, const int *numbers, size_t count, const uint8_t *agreed, unsigned agreed_count) {
  offer made = {.count = d->resuming ? agreed_count : count};
  for (size_t i = 0; i < made.count; i++)
    made.numbers[i] = d->resuming ? agreed[i] : numbers[i];
  return made;
}

/* What the edge chose, before any of it is taken. */
typedef struct {
  uint8_t evidence[EVIDENCES], precisions[PRECISIONS];
  unsigned evidence_count, precision_count, evidence_bits, precision_bits;
  int entropy;
  const tslt_named_prior *prior;
} chosen_names;

static refusal choose_all(const tslt_device *d, const tslt_message *m, chosen_names *c) {
  const tslt_hello *h = d->hello;
  offer evidence = offer_of(d, h->evidence, h->evidence_count, d->evidence, d->evidence_count);
  offer precisions = offer_of(d, h->precisions, h->precision_count, d->precisions, d->precision_count);
  if (!choose_names(m, TSLT_FIELD_EVIDENCE, tslt_evidence_names, EVIDENCES, evidence.numbers, evidence.count, c->evidence,
                    &c->evidence_count, &c->evidence_bits))
    return UNSUPPORTED("the edge chose evidence that was not offered");
  if (!choose_names(m, TSLT_FIELD_PRECISIONS, tslt_precision_names, PRECISIONS, precisions.numbers, precisions.count,
                    c->precisions, &c->precision_count, &c->precision_bits))
    return UNSUPPORTED("the edge chose precisions that were not offered");
  c->entropy = tslt_number_of(field(m, TSLT_FIELD_ENTROPY).bytes, tslt_entropy_names, ENTROPIES);
  if (c->entropy < 0 || (d->resuming ? c->entropy != d->welcome.profile.entropy : !offered(h->entropy, h->entropy_count, c->entropy)))
    return UNSUPPORTED("the edge chose an entropy coder that was not offered");
  c->prior = NULL;
  for (size_t i = 0; i < h->prior_count && !c->prior; i++)
    if (tslt_is_name(field(m, TSLT_FIELD_PRIOR).bytes, h->priors[i].name) && (!d->resuming || &h->priors[i] == d->prior))
      c->prior = &h->priors[i];
  if (!c->prior)
    return UNSUPPORTED("the edge chose a prior that was not offered");
  if ((field(m, TSLT_FIELD_COUPLING).bytes.size > 0) != (c->evidence_bits >> TSLT_EVIDENCE_COUPLED & 1))
    return UNSUPPORTED("the edge chose evidence coupled without a key, or a key without it");
  return TAKEN;
}

/* Another vocabulary, or other ends of a text, than before: [FIT-4] and [RESUME-5]. */
static refusal same_target(const tslt_device *d, const tslt_message *m) {
  tslt_bytes ordinary = m->fields[TSLT_FIELD_ORDINARY];
  if (!d->agreed)
    return TAKEN;
  if (field(m, TSLT_FIELD_VOCAB_SIZE).number != d->welcome.vocab_size ||
      !same_bytes(m->fields[TSLT_FIELD_TOKENIZER], d->tokenizer) || (ordinary.size > 0) != d->has_ordinary ||
      (ordinary.size && !same_bytes(ordinary, d->ordinary)))
    return UNSUPPORTED("this edge has another vocabulary than the session's");
  control_value eos = field(m, TSLT_FIELD_EOS_TOKENS);
  bool same = eos.number == d->welcome.eos_count;
  const uint8_t *at = eos.next;
  for (uint32_t i = 0; i < d->welcome.eos_count && same; i++) {
    control_value token = tslt_read_control(at);
    same = token.number == (uint64_t)d->eos[i];
    at = token.next;
  }
  return same || !d->length ? TAKEN : UNSUPPORTED("other tokens end a text at this edge");
}

/* A session has room for this much, and no more. */
static refusal holds(const tslt_device *d, const tslt_message *m) {
  if (field(m, TSLT_FIELD_VOCAB_SIZE).number > d->room.vocab_size)
    return UNSUPPORTED("the edge has more tokens than this device has memory for");
  if (field(m, TSLT_FIELD_EOS_TOKENS).number > MOST_EOS)
    return UNSUPPORTED("more tokens end a text than this device has memory for");
  if (m->fields[TSLT_FIELD_SAMPLING].size > d->sampling_room)
    return UNSUPPORTED("the sampling settings take more than this device has memory for");
  return TAKEN;
}

static refusal check_welcome(const tslt_device *d, const tslt_message *m, chosen_names *chosen) {
  const tslt_hello *h = d->hello;
  uint8_t digest[32];
  sha256 greeted = d->greeted;
  tslt_bytes sampling = m->fields[TSLT_FIELD_SAMPLING];
  tslt_sha256_end(&greeted, digest);
  if (memcmp(field(m, TSLT_FIELD_TRANSCRIPT).bytes.at, digest, NONCE_BYTES))
    return (refusal){TSLT_TRANSCRIPT_MISMATCH, "the edge answered another HELLO than was sent"};
  int low = h->min_version ? h->min_version : TSLT_SPEC_VERSION, high = h->max_version ? h->max_version : TSLT_SPEC_VERSION;
  if (m->max_version < low || m->max_version > high)
    return (refusal){TSLT_VERSION_MISMATCH, "the edge chose a version that the device does not speak"};
  refusal found = fit(h, m);
  if (!found.code)
    found = choose_all(d, m, chosen);
  if (found.code)
    return found;
  bool kept = d->resuming ? sampling.size == d->sampling_size && !memcmp(sampling.at, d->sampling, sampling.size)
                          : tslt_request_kept(&h->sampling, sampling);
  if (!kept)
    return UNSUPPORTED("the edge chose other sampling settings than were asked for");
  found = same_target(d, m);
  return found.code ? found : holds(d, m);
}

/* How many drafts an edge takes, by its WELCOME's map: 1 if it does not say, or says something else. */
static uint32_t window_of(const uint8_t *map) {
  tslt_bytes said = tslt_find_control(map, "window");
  if (!said.size)
    return 1;
  control_value found = tslt_read_control(said.at);
  bool good = found.type == CONTROL_INTEGER && !found.negative && found.number >= 2 && found.number <= MOST_WINDOW;
  return good ? (uint32_t)found.number : 1;
}

static void take_welcome(tslt_device *d, const tslt_message *m, const uint8_t *data, const chosen_names *c) {
  tslt_welcome *w = &d->welcome;
  tslt_bytes ordinary = m->fields[TSLT_FIELD_ORDINARY], coupling = field(m, TSLT_FIELD_COUPLING).bytes;
  tslt_bytes resume = field(m, TSLT_FIELD_RESUME).bytes, sampling = m->fields[TSLT_FIELD_SAMPLING];
  control_value eos = field(m, TSLT_FIELD_EOS_TOKENS);
  memcpy(d->evidence, c->evidence, sizeof d->evidence);
  memcpy(d->precisions, c->precisions, sizeof d->precisions);
  d->evidence_count = c->evidence_count;
  d->precision_count = c->precision_count;
  d->prior = c->prior;
  memcpy(d->tokenizer, field(m, TSLT_FIELD_TOKENIZER).bytes.at, FINGERPRINT_BYTES);
  d->has_ordinary = ordinary.size > 0;
  if (d->has_ordinary)
    memcpy(d->ordinary, tslt_read_control(ordinary.at).bytes.at, FINGERPRINT_BYTES);
  if (coupling.size)
    memcpy(d->coupling, coupling.at, KEY_BYTES);
  memcpy(d->token, resume.at, resume.size);
  memcpy(d->sampling, sampling.at, sampling.size);
  d->sampling_size = sampling.size;
  const uint8_t *at = eos.next;
  for (uint64_t i = 0; i < eos.number; i++) {
    control_value token = tslt_read_control(at);
    d->eos[i] = (int32_t)token.number;
    at = token.next;
  }
  uint32_t vocab_size = (uint32_t)field(m, TSLT_FIELD_VOCAB_SIZE).number;
  *w = (tslt_welcome){.vocab_size = vocab_size, .context = (uint32_t)field(m, TSLT_FIELD_CONTEXT).number,
                      .profile = {vocab_size, c->precisions[0], c->entropy, c->prior->prior},
                      .limits = tslt_limits_of(m->fields[TSLT_FIELD_LIMITS]), .evidence = c->evidence_bits,
                      .precisions = c->precision_bits, .eos_tokens = d->eos, .eos_count = (uint32_t)eos.number,
                      .coupling = coupling.size ? d->coupling : NULL, .resume = d->token, .resume_size = resume.size,
                      .resumed = (int)field(m, TSLT_FIELD_RESUMED).number, .held = (uint32_t)field(m, TSLT_FIELD_HELD).number,
                      .held_hash = (uint32_t)field(m, TSLT_FIELD_HELD_HASH).number};
  /* An edge that does not say takes no more than one prompt's worth. */
  uint64_t context = w->context ? w->context : w->limits.max_prompt_tokens;
  w->context = context > UINT32_MAX ? UINT32_MAX : (uint32_t)context;
  w->window = window_of(data + 1 + m->extensions.size + MAGIC_BYTES + 1);
  d->peer = w->limits;
  d->agreed = true;
}

static refusal handle_welcome(tslt_device *d, const tslt_message *m, const uint8_t *data, size_t size, tslt_event *event) {
  chosen_names chosen;
  uint8_t digest[32];
  refusal found = check_welcome(d, m, &chosen);
  if (found.code)
    return found;
  take_welcome(d, m, data, &chosen);
  sha256 both = d->greeted;
  tslt_sha256_add(&both, data, size);
  tslt_sha256_end(&both, digest);
  memcpy(d->transcript, digest, TRANSCRIPT_BYTES);
  event->kind = TSLT_WELCOMED;
  if (!d->length)
    return TAKEN;
  event->kind = TSLT_RESUMED;
  return tslt_say_resume(d, &event->kept) ? UNSUPPORTED("the text cannot go on at this edge") : TAKEN;
}

/* ---------------------------------------------------------------------------------------------------------- answers */

uint32_t tslt_path(const device_draft *draft, int64_t node, int32_t *tokens) {
  uint32_t depth = 0, at = 0;
  for (int64_t i = node; i >= 0; i = draft->parents[i])
    depth++;
  for (int64_t i = node; i >= 0; i = draft->parents[i])
    tokens[depth - ++at] = draft->tokens[i];
  return depth;
}

bool tslt_has_child(const device_draft *draft, int64_t node) {
  for (uint32_t i = 0; i < draft->nodes; i++)
    if (draft->parents[i] == node)
      return true;
  return false;
}

uint32_t tslt_path_length(const device_draft *draft, int64_t node) {
  uint32_t depth = 0;
  for (; node >= 0; node = draft->parents[node])
    depth++;
  return depth;
}

/* Log probabilities, if there are some, are of as many tokens as the answer has. */
static refusal check_log_probs(const tslt_device *d, const tslt_message *m) {
  tslt_bytes told = tslt_extension(m->extensions, EXT_LOG_PROBS);
  uint32_t path = d->asked ? 0 : tslt_path_length(d->drafts, m->node), wanted = path + 1;
  if (m->kind == TSLT_ASK_LIST)
    wanted = path;
  if (m->kind == TSLT_VERDICT_WHOLE)
    wanted = tslt_path_length(d->drafts, d->drafts[0].leaf);
  if (m->kind == TSLT_VERDICT_PROPOSALS)
    wanted = m->count + (m->batch ? 0 : path);
  return !told.size || told.size / 2 == wanted
             ? TAKEN
             : DESYNCHRONISED("the answer has log probabilities of another number of tokens than it has");
}

static refusal handle_verdict(tslt_device *d, const tslt_message *m, tslt_event *event) {
  if (m->round != d->drafts[0].round)
    return DESYNCHRONISED("a verdict on another round than the open one");
  if (m->node >= (int64_t)d->drafts[0].nodes)
    return DESYNCHRONISED("a verdict on a node that the draft has not");
  if (d->rejected.heard && !d->asked)
    return DESYNCHRONISED("a verdict on a draft of which a rejection is known");
  refusal found = check_log_probs(d, m);
  if (found.code)
    return found;
  uint32_t start = d->length, count = tslt_path(d->drafts, m->node, d->prefix + start);
  tslt_grow_prefix(d, d->prefix + start, count);
  tslt_grow_prefix(d, &m->token, 1);
  d->ended = m->end;
  tslt_drop_following(d);
  tslt_end_round(d);
  event->kind = TSLT_ANSWERED;
  event->tokens = d->prefix + start;
  event->token_count = count + 1;
  return TAKEN;
}

static refusal handle_whole(tslt_device *d, const tslt_message *m, tslt_event *event) {
  device_draft whole = d->drafts[0];
  if (!whole.goes_on)
    return (refusal){TSLT_PROTOCOL_VIOLATION, "the draft does not go on: a token has to come"};
  if (m->round != whole.round || d->rejected.heard)
    return DESYNCHRONISED("another round than the open one is accepted whole, or one of which a rejection is known");
  refusal found = check_log_probs(d, m);
  if (found.code)
    return found;
  uint32_t start = d->length, count = tslt_path(&whole, whole.leaf, d->prefix + start);
  tslt_grow_prefix(d, d->prefix + start, count);
  event->kind = TSLT_WHOLE;
  event->node = whole.leaf;
  event->tokens = d->prefix + start;
  event->token_count = count;
  if (d->flight == 1) {
    tslt_end_round(d);
    return TAKEN;
  }
  /* Its memory is that of the next draft to come. */
  memmove(d->drafts, d->drafts + 1, --d->flight * sizeof *d->drafts);
  d->drafts[d->flight] = whole;
  d->waiting_round = d->drafts[0].round;
  d->waiting_batch = 0;
  tslt_move(d, TSLT_ACT_NEXT);
  d->request = TSLT_DRAFT_LIST + d->drafts[0].evidence;
  return TAKEN;
}

static refusal check_rejection(const tslt_device *d, const tslt_message *m) {
  uint32_t batch = m->kind == TSLT_VERDICT_PROPOSALS ? m->batch : 0;
  if (m->round != d->waiting_round || batch != d->waiting_batch)
    return DESYNCHRONISED("an answer to another round or batch than is awaited");
  return tslt_has_child(d->drafts, m->node) ? TAKEN : DESYNCHRONISED("a rejection where no token follows");
}

static refusal handle_proposals(tslt_device *d, const tslt_message *m, tslt_event *event) {
  refusal found = check_rejection(d, m);
  if (found.code)
    return found;
  uint32_t start = d->drafts[0].prefix_length, count = tslt_path_length(d->drafts, m->node);
  if (m->batch && start + count != d->length)
    return DESYNCHRONISED("more proposals, but after another node than before");
  found = check_log_probs(d, m);
  if (found.code)
    return found;
  if (!m->batch) {
    tslt_path(d->drafts, m->node, d->prefix + start);
    tslt_grow_prefix(d, d->prefix + start, count);
  }
  tslt_drop_following(d);
  memcpy(d->proposals, m->proposals, m->count * sizeof *d->proposals);
  d->proposal_count = m->count;
  d->proposed_after = m->node;
  d->waiting_round = m->round;
  d->waiting_batch = m->batch + 1;
  event->kind = TSLT_PROPOSALS;
  event->tokens = d->prefix + start;
  event->token_count = m->batch ? 0 : count;
  return TAKEN;
}

static refusal handle_ask_list(tslt_device *d, const tslt_message *m, uint32_t crc, tslt_event *event) {
  refusal found = check_rejection(d, m);
  if (found.code)
    return found;
  if (d->rejected.heard && d->rejected.node != m->node)
    return DESYNCHRONISED("a list is asked for after another node than before");
  found = check_log_probs(d, m);
  if (found.code)
    return found;
  tslt_drop_following(d);
  d->asked = true;
  d->asked_crc = crc;
  d->rejected = (rejection){true, m->node, 0};
  event->kind = TSLT_LIST_WANTED;
  event->token_count = tslt_path(d->drafts, m->node, d->prefix + d->length);
  event->tokens = d->prefix + d->length; /* not in the prefix yet: the verdict will have them */
  return TAKEN;
}

/* --------------------------------------------------------------------------------------------------------- any frame */

/* An answer that came twice is old news, not a violation: [STATE-6]. */
static bool is_old(const tslt_device *d, const tslt_message *m, uint32_t crc) {
  bool talking = d->state == TSLT_IDLE || d->state == TSLT_OPEN || d->state == TSLT_PROPOSED || d->state == TSLT_ASKED ||
                 d->state == TSLT_ENDED;
  if (!talking || m->kind < TSLT_VERDICT || m->kind > TSLT_VERDICT_WHOLE)
    return false;
  uint32_t batch = m->kind == TSLT_VERDICT_PROPOSALS ? m->batch : 0;
  /* The answer before it is lost: both come again when the drafts are sent again. */
  bool early = d->flight > 1 && m->round > d->waiting_round && m->round < d->round;
  return early || m->round < d->waiting_round || (m->round == d->waiting_round && batch < d->waiting_batch) ||
         (m->kind == TSLT_ASK_LIST && d->asked && crc == d->asked_crc);
}

static void tell(const tslt_message *m, tslt_event *event) {
  tslt_bytes log_probs = tslt_extension(m->extensions, EXT_LOG_PROBS);
  bool failed = m->kind == TSLT_ERROR;
  event->node = m->node;
  event->round = m->round;
  event->batch = m->batch;
  event->end = m->end;
  event->code = m->code;
  event->text = (const char *)m->text.at;
  event->text_size = m->text.size;
  event->verify_us = failed ? 0 : tslt_little_endian(tslt_extension(m->extensions, EXT_VERIFY_TIME));
  event->retry_after = failed ? (uint32_t)tslt_little_endian(tslt_extension(m->extensions, EXT_RETRY_AFTER)) : 0;
  event->log_probs = log_probs.at;
  event->log_prob_count = (uint32_t)(log_probs.size / 2);
}

static refusal handle(tslt_device *d, const tslt_message *m, const uint8_t *data, size_t size, tslt_event *event) {
  uint32_t crc = (uint32_t)tslt_little_endian((tslt_bytes){data + size - CRC_LENGTH, CRC_LENGTH});
  if (is_old(d, m, crc))
    return TAKEN;
  if (!tslt_may_send(d->state, m->kind, 1, d->request))
    return (refusal){TSLT_PROTOCOL_VIOLATION, "the edge must not send this frame now"};
  tslt_move(d, m->kind == TSLT_VERDICT && m->end ? TSLT_ACT_VERDICT_END : m->kind);
  tell(m, event);
  switch (m->kind) {
  case TSLT_WELCOME:
    return handle_welcome(d, m, data, size, event);
  case TSLT_VERDICT:
    return handle_verdict(d, m, event);
  case TSLT_VERDICT_WHOLE:
    return handle_whole(d, m, event);
  case TSLT_VERDICT_PROPOSALS:
    return handle_proposals(d, m, event);
  case TSLT_ASK_LIST:
    return handle_ask_list(d, m, crc, event);
  case TSLT_ERROR:
    event->kind = TSLT_PEER_FAILED;
    return TAKEN;
  default: /* BYE: the table lets an edge say nothing else */
    event->kind = TSLT_PEER_CLOSED;
    return TAKEN;
  }
}

/* Frames that are read with what WELCOME says. */
static bool needs_profile(int kind) {
  return kind == TSLT_PROMPT || kind == TSLT_RESUME || (kind >= TSLT_VERDICT && kind <= TSLT_VERDICT_WHOLE) ||
         (kind >= TSLT_DRAFT_LIST && kind <= TSLT_LIST);
}

int tslt_device_receive(tslt_device *d, const uint8_t *data, size_t size, tslt_event *event) {
  *event = (tslt_event){.kind = TSLT_NOTHING, .node = -1};
  if (d->called)
    return TSLT_WRONG_STATE;
  if (d->state == TSLT_CLOSED || d->state == TSLT_FAILED)
    return TSLT_OK;
  tslt_message message;
  tslt_profile profile = d->agreed ? d->welcome.profile : (tslt_profile){.vocab_size = 1};
  refusal found = {TSLT_PROTOCOL_VIOLATION, "this frame came before the handshake was done"};
  if (!size || d->state > TSLT_GREETED || !needs_profile(data[0] & KIND_BITS)) {
    found = (refusal){tslt_decode_frame(&d->context, &profile, &d->hello->limits, data, size, &message), "the frame does not decode"};
    if (found.code == TSLT_NO_MEMORY) /* a draft or a list, which no edge may send */
      found = (refusal){TSLT_PROTOCOL_VIOLATION, "the edge must not send this frame"};
    if (!found.code)
      found = handle(d, &message, data, size, event);
  }
  if (!found.code)
    return TSLT_OK;
  *event = (tslt_event){.kind = TSLT_NOTHING, .node = -1, .code = (uint32_t)found.code, .text = found.text,
                        .text_size = strlen(found.text)};
  tslt_fail_session(d, found.code, found.text);
  return found.code;
}

/* -------------------------------------------------------------------------------------------------- what it knows */

int tslt_device_state(const tslt_device *d) { return d->state; }

const int32_t *tslt_device_prefix(const tslt_device *d, size_t *count) {
  *count = d->length;
  return d->prefix;
}

const int32_t *tslt_device_ahead(const tslt_device *d, size_t *count) {
  const device_draft *last = d->flight ? &d->drafts[d->flight - 1] : NULL;
  bool open = last && last->goes_on && d->state == TSLT_OPEN && !d->rejected.heard;
  *count = open ? last->prefix_length + tslt_path_length(last, last->leaf) : d->length;
  return d->prefix;
}

size_t tslt_device_prompt_length(const tslt_device *d) { return d->prompt_length; }

uint32_t tslt_device_round(const tslt_device *d) { return d->round; }

int64_t tslt_device_depth(const tslt_device *d) {
  uint32_t most = d->welcome.context < d->room.most_tokens ? d->welcome.context : d->room.most_tokens;
  size_t length;
  tslt_device_ahead(d, &length);
  int64_t depth = (int64_t)most - (int64_t)length, limit = (int64_t)d->welcome.limits.frame.max_depth;
  return depth < -1 ? -1 : depth > limit ? limit : depth;
}

const tslt_welcome *tslt_device_welcome(const tslt_device *d) { return d->agreed ? &d->welcome : NULL; }

const tslt_proposal *tslt_device_proposals(const tslt_device *d, uint32_t *count) {
  *count = d->proposal_count;
  return d->proposals;
}
