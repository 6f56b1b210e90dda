/* HELLO, WELCOME and ERROR: spec sections 7.2, 7.3 and 7.5. */
#include "device_handshake.h"

enum { MOST_BIASED = 300, MOST_SUPPRESSED = 512, LIMITS = 8, ENTROPY_ZSTD = 2 };

static const char MAGIC[MAGIC_BYTES + 1] = "TSLT";
static const char *const LIMIT_NAMES[LIMITS] = {"max_control_bytes", "max_depth",  "max_entries", "max_extensions",
                                                "max_frame_bytes",   "max_leaves", "max_nodes",   "max_prompt_tokens"};

/* ---------------------------------------------------------------------------------------------------------- sampling */

/* Whether a setting has its type: 0, or TSLT_BAD_CONTROL. */
static bool typed(unsigned setting, const control_value *v) {
  static const uint8_t TYPES[SETTINGS] = {CONTROL_NUMBER, CONTROL_INTEGER, CONTROL_NUMBER, CONTROL_NUMBER, CONTROL_NUMBER,
                                          CONTROL_NUMBER, CONTROL_NUMBER,  CONTROL_ARRAY,  CONTROL_ARRAY,  CONTROL_BOOLEAN};
  if (v->type != TYPES[setting])
    return false;
  if (v->type != CONTROL_ARRAY)
    return true;
  const uint8_t *at = v->next;
  bool biases = tslt_setting_names[setting][0] == 'l';
  for (uint64_t i = 0; i < v->number; i++) {
    control_value item = tslt_read_control(at);
    if (biases) {
      if (item.type != CONTROL_ARRAY || item.number != 2)
        return false;
      item = tslt_read_control(item.next);
      if (item.type != CONTROL_INTEGER || tslt_read_control(item.next).type != CONTROL_NUMBER)
        return false;
    } else if (item.type != CONTROL_INTEGER) {
      return false;
    }
    at = tslt_skip_control(at);
  }
  return true;
}

/* A token of an array of settings, and what follows it there. */
static control_value token_in(unsigned setting, const uint8_t **at, double *bias) {
  control_value item = tslt_read_control(*at);
  *at = tslt_skip_control(*at);
  if (tslt_setting_names[setting][0] != 'l')
    return item;
  item = tslt_read_control(item.next);
  *bias = tslt_read_control(item.next).real;
  return item;
}

/* Whether tokens ascend; the largest to `most`, and whether all are in range to `good`. */
static bool ascending(unsigned setting, const control_value *v, bool *good, uint64_t *most) {
  const uint8_t *at = v->next;
  control_value last = {.negative = true};
  double bias = 0;
  for (uint64_t i = 0; i < v->number; i++) {
    control_value token = token_in(setting, &at, &bias);
    if (i && (token.negative == last.negative ? token.number <= last.number : token.negative))
      return false;
    last = token;
    *good &= !token.negative && token.number < TSLT_MAX_VOCAB_SIZE && bias >= -100 && bias <= 100;
    *most = token.number > *most ? token.number : *most;
  }
  return true;
}

static bool in_range(unsigned setting, const control_value *v) {
  switch (1u << setting) {
  case TSLT_TEMPERATURE:
    return v->real >= 0;
  case TSLT_TOP_K:
    return !v->negative;
  case TSLT_TOP_P:
    return v->real > 0 && v->real <= 1;
  case TSLT_MIN_P:
    return v->real >= 0 && v->real <= 1;
  case TSLT_REPETITION_PENALTY:
    return v->real >= 0.01 && v->real <= 100;
  case TSLT_PRESENCE_PENALTY:
  case TSLT_FREQUENCY_PENALTY:
    return v->real >= -2 && v->real <= 2;
  default:
    return true;
  }
}

static double neutral(unsigned setting) {
  return 1u << setting & (TSLT_TEMPERATURE | TSLT_TOP_P | TSLT_REPETITION_PENALTY) ? 1 : 0;
}

static bool is_neutral(unsigned setting, const control_value *v) {
  return v->type == CONTROL_NUMBER ? v->real == neutral(setting) : v->number == 0;
}

/* [HELLO-5]; the largest token that is named to `most`.  `all`: WELCOME's, which has no other and no neutral ones. */
static int check_sampling(tslt_bytes field, bool all, uint64_t *most) {
  control_value map = tslt_read_control(field.at), found[SETTINGS];
  bool there[SETTINGS] = {false}, typed_well = true, good = true;
  const uint8_t *at = map.next;
  for (uint64_t i = 0; i < map.number; i++) {
    control_value key = tslt_read_control(at);
    int setting = tslt_number_of(key.bytes, tslt_setting_names, SETTINGS);
    at = tslt_skip_control(key.next);
    if (setting < 0) {
      typed_well &= !all;
      continue;
    }
    found[setting] = tslt_read_control(key.next);
    there[setting] = true;
    typed_well &= typed((unsigned)setting, &found[setting]);
  }
  if (!typed_well)
    return TSLT_BAD_CONTROL;
  for (unsigned i = 0; i < SETTINGS; i++)
    if (there[i] && found[i].type == CONTROL_ARRAY &&
        found[i].number > (1u << i == TSLT_LOGIT_BIAS ? MOST_BIASED : MOST_SUPPRESSED))
      return TSLT_LIMIT_EXCEEDED;
  for (unsigned i = 0; i < SETTINGS; i++)
    if (there[i] && found[i].type == CONTROL_ARRAY && !ascending(i, &found[i], &good, most))
      return TSLT_NON_CANONICAL;
  for (unsigned i = 0; i < SETTINGS; i++)
    good &= !there[i] || in_range(i, &found[i]);
  if (!good)
    return TSLT_OUT_OF_RANGE;
  for (unsigned i = 0; i < SETTINGS && all; i++)
    if (there[i] && is_neutral(i, &found[i]))
      return TSLT_NON_CANONICAL;
  return TSLT_OK;
}

/* ------------------------------------------------------------------------------------------------------------ fields */

static uint64_t *limit_in(tslt_all_limits *l, unsigned i) {
  uint64_t *const all[LIMITS] = {&l->max_control_bytes,    &l->frame.max_depth,  &l->frame.max_entries, &l->frame.max_extensions,
                                 &l->frame.max_frame_bytes, &l->frame.max_leaves, &l->frame.max_nodes,   &l->max_prompt_tokens};
  return all[i];
}

tslt_all_limits tslt_limits_of(tslt_bytes field) {
  tslt_all_limits found;
  for (unsigned i = 0; i < LIMITS; i++)
    *limit_in(&found, i) = tslt_read_control(tslt_find_control(field.at, LIMIT_NAMES[i]).at).number;
  return found;
}

static int check_limits(tslt_bytes field) {
  control_value map = tslt_read_control(field.at);
  bool good = true;
  if (map.number != LIMITS)
    return TSLT_BAD_CONTROL;
  for (unsigned i = 0; i < LIMITS; i++) {
    tslt_bytes value = tslt_find_control(field.at, LIMIT_NAMES[i]);
    if (!value.size)
      return TSLT_BAD_CONTROL;
    control_value limit = tslt_read_control(value.at);
    if (limit.type != CONTROL_INTEGER)
      return TSLT_BAD_CONTROL;
    good &= !limit.negative && limit.number >= 1;
  }
  return good ? TSLT_OK : TSLT_OUT_OF_RANGE;
}

/* Fields in the order of their table, each with its type; of arrays what is in them: [CTRL-4]. */
typedef struct {
  uint8_t field, type, inside;
  bool optional;
} field_rule;

static int check_field(const field_rule *rule, tslt_bytes value, bool welcome, uint64_t *most) {
  if (!value.size)
    return rule->optional ? TSLT_OK : TSLT_BAD_CONTROL;
  control_value found = tslt_read_control(value.at);
  if (found.type != rule->type)
    return TSLT_BAD_CONTROL;
  if (found.type == CONTROL_ARRAY) {
    const uint8_t *at = found.next;
    for (uint64_t i = 0; i < found.number; i++, at = tslt_skip_control(at))
      if (tslt_read_control(at).type != rule->inside)
        return TSLT_BAD_CONTROL;
  }
  if (rule->field == TSLT_FIELD_SAMPLING)
    return check_sampling(value, welcome, most);
  return rule->field == TSLT_FIELD_LIMITS ? check_limits(value) : TSLT_OK;
}

static const char *name_of(unsigned field, bool welcome) {
  return field == TSLT_FIELD_PRIOR && !welcome ? "priors" : tslt_field_names[field];
}

static int check_fields(const tslt_all_limits *limits, const uint8_t *data, size_t size, const field_rule *rules,
                        size_t count, bool welcome, tslt_message *message, uint64_t *most) {
  if (size > limits->max_control_bytes)
    return TSLT_LIMIT_EXCEEDED;
  int error = tslt_check_control(data, size);
  for (size_t i = 0; i < count && !error; i++) {
    message->fields[rules[i].field] = tslt_find_control(data, name_of(rules[i].field, welcome));
    error = check_field(&rules[i], message->fields[rules[i].field], welcome, most);
  }
  return error;
}

static control_value value_of(const tslt_message *message, int field) {
  return tslt_read_control(message->fields[field].at);
}

static bool sized(const tslt_message *message, int field, size_t size) {
  return !message->fields[field].size || value_of(message, field).bytes.size == size;
}

static bool within(const tslt_message *message, int field, uint64_t low, uint64_t high) {
  control_value found = value_of(message, field);
  return !found.negative && found.number >= low && found.number <= high;
}

static bool all_below(const tslt_message *message, int field, uint64_t size) {
  if (!message->fields[field].size)
    return true;
  control_value found = value_of(message, field);
  const uint8_t *at = found.next;
  for (uint64_t i = 0; i < found.number; i++) {
    control_value token = tslt_read_control(at);
    if (token.negative || token.number >= size)
      return false;
    at = token.next;
  }
  return true;
}

static int head(const uint8_t *data, size_t size, size_t versions) {
  if (size < MAGIC_BYTES + versions)
    return TSLT_TRUNCATED;
  return memcmp(data, MAGIC, MAGIC_BYTES) ? TSLT_NOT_TSLT : TSLT_OK;
}

#define NAMES(field) {field, CONTROL_ARRAY, CONTROL_STRING, false}
#define FIELD(field, type) {field, type, 0, false}
#define MAY(field) {field, CONTROL_BINARY, 0, true}

int tslt_read_hello(const tslt_all_limits *limits, const uint8_t *data, size_t size, tslt_message *message) {
  static const field_rule RULES[] = {FIELD(TSLT_FIELD_VOCAB_SIZE, CONTROL_INTEGER), FIELD(TSLT_FIELD_TOKENIZER, CONTROL_BINARY),
                                     FIELD(TSLT_FIELD_MODEL, CONTROL_STRING), FIELD(TSLT_FIELD_SAMPLING, CONTROL_MAP),
                                     NAMES(TSLT_FIELD_EVIDENCE), NAMES(TSLT_FIELD_PRECISIONS), NAMES(TSLT_FIELD_ENTROPY),
                                     NAMES(TSLT_FIELD_PRIOR), FIELD(TSLT_FIELD_LIMITS, CONTROL_MAP),
                                     FIELD(TSLT_FIELD_RESUME, CONTROL_BINARY), FIELD(TSLT_FIELD_NONCE, CONTROL_BINARY),
                                     MAY(TSLT_FIELD_ORDINARY), MAY(TSLT_FIELD_TOKEN_MAP)};
  uint64_t most = 0;
  int error = head(data, size, 2);
  if (error)
    return error;
  message->min_version = data[MAGIC_BYTES];
  message->max_version = data[MAGIC_BYTES + 1];
  error = check_fields(limits, data + MAGIC_BYTES + 2, size - MAGIC_BYTES - 2, RULES, sizeof RULES / sizeof *RULES, false,
                       message, &most);
  if (error)
    return error;
  bool good = within(message, TSLT_FIELD_VOCAB_SIZE, 1, TSLT_MAX_VOCAB_SIZE) &&
              sized(message, TSLT_FIELD_TOKENIZER, FINGERPRINT_BYTES) && sized(message, TSLT_FIELD_ORDINARY, FINGERPRINT_BYTES) &&
              sized(message, TSLT_FIELD_TOKEN_MAP, FINGERPRINT_BYTES) && sized(message, TSLT_FIELD_NONCE, NONCE_BYTES) &&
              value_of(message, TSLT_FIELD_RESUME).bytes.size <= MOST_TOKEN_BYTES && message->min_version >= 1 &&
              message->min_version <= message->max_version;
  return good ? TSLT_OK : TSLT_OUT_OF_RANGE;
}

int tslt_read_welcome(const tslt_all_limits *limits, const uint8_t *data, size_t size, tslt_message *message) {
  static const field_rule RULES[] = {
      FIELD(TSLT_FIELD_VOCAB_SIZE, CONTROL_INTEGER), FIELD(TSLT_FIELD_TOKENIZER, CONTROL_BINARY),
      FIELD(TSLT_FIELD_TRANSCRIPT, CONTROL_BINARY), FIELD(TSLT_FIELD_MODEL, CONTROL_STRING),
      FIELD(TSLT_FIELD_SAMPLING, CONTROL_MAP), NAMES(TSLT_FIELD_EVIDENCE), NAMES(TSLT_FIELD_PRECISIONS),
      FIELD(TSLT_FIELD_ENTROPY, CONTROL_STRING), FIELD(TSLT_FIELD_PRIOR, CONTROL_STRING), FIELD(TSLT_FIELD_LIMITS, CONTROL_MAP),
      FIELD(TSLT_FIELD_CONTEXT, CONTROL_INTEGER), {TSLT_FIELD_EOS_TOKENS, CONTROL_ARRAY, CONTROL_INTEGER, false},
      FIELD(TSLT_FIELD_COUPLING, CONTROL_BINARY), FIELD(TSLT_FIELD_RESUME, CONTROL_BINARY),
      FIELD(TSLT_FIELD_RESUMED, CONTROL_BOOLEAN), FIELD(TSLT_FIELD_HELD, CONTROL_INTEGER),
      FIELD(TSLT_FIELD_HELD_HASH, CONTROL_INTEGER), MAY(TSLT_FIELD_ORDINARY),
      {TSLT_FIELD_BEGINS, CONTROL_ARRAY, CONTROL_INTEGER, true}};
  uint64_t most = 0;
  int error = head(data, size, 1);
  if (error)
    return error;
  message->min_version = message->max_version = data[MAGIC_BYTES];
  error = check_fields(limits, data + MAGIC_BYTES + 1, size - MAGIC_BYTES - 1, RULES, sizeof RULES / sizeof *RULES, true,
                       message, &most);
  if (error)
    return error;
  uint64_t vocab_size = value_of(message, TSLT_FIELD_VOCAB_SIZE).number;
  size_t key = value_of(message, TSLT_FIELD_COUPLING).bytes.size;
  bool good = within(message, TSLT_FIELD_VOCAB_SIZE, 1, TSLT_MAX_VOCAB_SIZE) && message->max_version >= 1 &&
              sized(message, TSLT_FIELD_TOKENIZER, FINGERPRINT_BYTES) && sized(message, TSLT_FIELD_ORDINARY, FINGERPRINT_BYTES) &&
              sized(message, TSLT_FIELD_TRANSCRIPT, NONCE_BYTES) && (!key || key == KEY_BYTES) &&
              within(message, TSLT_FIELD_CONTEXT, 0, UINT32_MAX) && within(message, TSLT_FIELD_HELD, 0, UINT32_MAX) &&
              within(message, TSLT_FIELD_HELD_HASH, 0, UINT32_MAX) && all_below(message, TSLT_FIELD_EOS_TOKENS, vocab_size) &&
              all_below(message, TSLT_FIELD_BEGINS, vocab_size) && most < vocab_size &&
              value_of(message, TSLT_FIELD_RESUME).bytes.size <= MOST_TOKEN_BYTES;
  return good ? TSLT_OK : TSLT_OUT_OF_RANGE;
}

int tslt_read_error(const tslt_all_limits *limits, const uint8_t *data, size_t size, tslt_message *message) {
  if (size > limits->max_control_bytes)
    return TSLT_LIMIT_EXCEEDED;
  int error = tslt_check_control(data, size);
  if (error)
    return error;
  tslt_bytes code = tslt_find_control(data, "code"), text = tslt_find_control(data, "message");
  if (!code.size || !text.size || tslt_read_control(data).number != 2 ||
      tslt_read_control(code.at).type != CONTROL_INTEGER || tslt_read_control(text.at).type != CONTROL_STRING)
    return TSLT_BAD_CONTROL;
  control_value number = tslt_read_control(code.at);
  message->text = tslt_read_control(text.at).bytes;
  message->code = (uint32_t)number.number;
  return number.negative || number.number > 0xFFFF ? TSLT_OUT_OF_RANGE : TSLT_OK;
}
