/* Names of spec/registry.md, in the order of their numbers; and those of errors. */
#include "device_names.h"

const char *const tslt_evidence_names[EVIDENCES] = {"list", "match", "coupled", "scalar", "lazy"};
const char *const tslt_precision_names[PRECISIONS] = {"f32", "f16", "bf16", "log2/0", "log2/1", "log2/2", "log2/3", "log2/4"};
const char *const tslt_entropy_names[ENTROPIES] = {"none", "range"};
const char *const tslt_field_names[TSLT_FIELDS] = {
    "vocab_size", "tokenizer", "transcript", "model",      "sampling", "evidence", "precisions", "entropy", "prior",    "limits",    "context",
    "eos_tokens", "coupling",  "resume",     "resumed",    "held",     "held_hash", "nonce",     "ordinary", "token_map", "begins"};
/* In the order of their bits in tslt_sampling_request. */
const char *const tslt_setting_names[SETTINGS] = {"temperature",      "top_k",
                                                  "top_p",            "min_p",
                                                  "repetition_penalty", "presence_penalty",
                                                  "frequency_penalty", "logit_bias",
                                                  "suppress_tokens",  "ignore_eos"};

static const struct {
  int code;
  const char *name;
} ERRORS[] = {{TSLT_OK, "ok"},
              {TSLT_TRUNCATED, "truncated"},
              {TSLT_TRAILING_BYTES, "trailing_bytes"},
              {TSLT_BAD_CHECKSUM, "bad_checksum"},
              {TSLT_UNKNOWN_KIND, "unknown_kind"},
              {TSLT_RESERVED_BITS, "reserved_bits"},
              {TSLT_NON_CANONICAL, "non_canonical"},
              {TSLT_LIMIT_EXCEEDED, "limit_exceeded"},
              {TSLT_OUT_OF_RANGE, "out_of_range"},
              {TSLT_BAD_TREE, "bad_tree"},
              {TSLT_BAD_LIST, "bad_list"},
              {TSLT_BAD_CONTROL, "bad_control"},
              {TSLT_UNKNOWN_CRITICAL_EXTENSION, "unknown_critical_extension"},
              {TSLT_NOT_TSLT, "not_tslt"},
              {TSLT_BAD_COMPRESSION, "bad_compression"},
              {TSLT_VERSION_MISMATCH, "version_mismatch"},
              {TSLT_VOCABULARY_MISMATCH, "vocabulary_mismatch"},
              {TSLT_TOKENIZER_MISMATCH, "tokenizer_mismatch"},
              {TSLT_UNSUPPORTED, "unsupported"},
              {TSLT_TRANSCRIPT_MISMATCH, "transcript_mismatch"},
              {TSLT_PROTOCOL_VIOLATION, "protocol_violation"},
              {TSLT_UNKNOWN_SESSION, "unknown_session"},
              {TSLT_DESYNCHRONISED, "desynchronised"},
              {TSLT_CONTEXT_FULL, "context_full"},
              {TSLT_OVERLOADED, "overloaded"},
              {TSLT_INTERNAL, "internal"},
              {TSLT_GOING_AWAY, "going_away"},
              {TSLT_BAD_ARGUMENT, "bad_argument"},
              {TSLT_NO_MEMORY, "no_memory"},
              {TSLT_NO_SPACE, "no_space"},
              {TSLT_BAD_LOGITS, "bad_logits"},
              {TSLT_WRONG_STATE, "wrong_state"},
              {TSLT_CALLBACK_FAILED, "callback_failed"}};

const char *tslt_error_name(int code) {
  for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
    if (ERRORS[i].code == code)
      return ERRORS[i].name;
  return "unknown";
}

bool tslt_is_name(tslt_bytes text, const char *name) {
  return text.size == strlen(name) && !memcmp(text.at, name, text.size);
}

int tslt_number_of(tslt_bytes text, const char *const *names, int count) {
  for (int i = 0; i < count; i++)
    if (tslt_is_name(text, names[i]))
      return i;
  return -1;
}
