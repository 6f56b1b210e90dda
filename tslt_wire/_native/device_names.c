/* Names of spec/registry.md, in the order of their numbers. */
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

bool tslt_is_name(tslt_bytes text, const char *name) {
  return text.size == strlen(name) && !memcmp(text.at, name, text.size);
}

int tslt_number_of(tslt_bytes text, const char *const *names, int count) {
  for (int i = 0; i < count; i++)
    if (tslt_is_name(text, names[i]))
      return i;
  return -1;
}
