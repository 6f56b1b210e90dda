// A device in C whose draft model is a GGUF file: llama.cpp computes the logits, rounds.h does the rest.
//
//   mkdir -p build
//   cc -std=c11 -O3 -ffp-contract=off -D_POSIX_C_SOURCE=200809L -I tslt_wire/_native -I $LLAMA_DIR/include -o build/llama examples/device_c/llama.c tslt_wire/_native/*.c -L $LLAMA_DIR/lib -Wl,-rpath,$LLAMA_DIR/lib -lllama -lzmq -lm
//   tslt edge --model target.gguf &             # wait for "listens on"
//   build/llama draft.gguf tcp://127.0.0.1:5757 64 list 1,1,1,1 "The old house stood"
//
// LLAMA_DIR is where llama.cpp is installed.  The environment is that of device.c.
#include <llama.h>

#include "rounds.h"

enum { MOST_LEAVES = 16, FINGERPRINT_BYTES = 32 };
static const char DOMAIN[] = "tslt-wire vocabulary 1\n"; /* tslt_runtime/fingerprint.py says what a fingerprint is of */

/* What is in llama.cpp's cache: each sequence id has a beginning of a text.  Between drafts there is one, id 0; each leaf of
 * a tree has one of its own, which shares the cells of the nodes above it. */
typedef struct {
  llama_token tokens[MOST_TOKENS + MOST_LEVELS];
  size_t length;
} sequence;

typedef struct {
  struct llama_model *weights;
  const struct llama_vocab *vocab;
  struct llama_context *context;
  llama_memory_t memory;
  struct llama_batch batch;
  sequence sequences[MOST_LEAVES];
  int leaves;                /* ids in use */
  int of_node[MOST_NODES];   /* the id that a node is the end of, or was */
  size_t depth[MOST_NODES];  /* 1 for a child of the prefix */
  size_t prefix_length;
} llama;

/* --------------------------------------------------------------------------------------------------------- the cache */

/* The next token of a sequence joins the batch. */
static void append(llama *l, int id, llama_token token, int wanted) {
  sequence *s = &l->sequences[id];
  int32_t at = l->batch.n_tokens++;
  l->batch.token[at] = token;
  l->batch.pos[at] = (llama_pos)s->length;
  l->batch.n_seq_id[at] = 1;
  l->batch.seq_id[at][0] = id;
  l->batch.logits[at] = (int8_t)wanted;
  s->tokens[s->length++] = token;
}

static int compute(llama *l) {
  int error = l->batch.n_tokens ? llama_decode(l->context, l->batch) : 0;
  l->batch.n_tokens = 0;
  return error;
}

static size_t in_common(const sequence *s, const int32_t *tokens, size_t count) {
  size_t i = 0;
  while (i < count && i < s->length && s->tokens[i] == tokens[i])
    i++;
  return i;
}

/* One sequence stays, as far as it has the text's tokens: after a round that is the accepted path.  How many of them. */
static size_t keep_best(llama *l, const int32_t *tokens, size_t count) {
  int best = 0;
  for (int id = 1; id < l->leaves; id++)
    if (in_common(&l->sequences[id], tokens, count) > in_common(&l->sequences[best], tokens, count))
      best = id;
  size_t kept = in_common(&l->sequences[best], tokens, count);
  llama_memory_seq_keep(l->memory, best);
  if (best) {
    llama_memory_seq_cp(l->memory, best, 0, -1, -1);
    llama_memory_seq_keep(l->memory, 0);
    l->sequences[0] = l->sequences[best];
  }
  l->leaves = 1;
  return kept;
}

/* The row after the prefix: what the cache lacks of it is computed, the last token in any case. */
static int read_prefix(llama *l, const int32_t *tokens, size_t count) {
  size_t kept = keep_best(l, tokens, count);
  kept = kept < count ? kept : count - 1;
  if (!llama_memory_seq_rm(l->memory, 0, (llama_pos)kept, -1))
    return complain(-1, "llama.cpp cannot roll this model's cache back, expected one that can");
  l->sequences[0].length = l->prefix_length = kept;
  for (size_t i = kept; i < count; i++) {
    append(l, 0, tokens[i], i + 1 == count);
    if ((uint32_t)l->batch.n_tokens == llama_n_batch(l->context) && i + 1 < count && compute(l))
      return -1;
  }
  l->prefix_length = count;
  return compute(l);
}

/* The sequence that a new node goes on with: its parent's for the first child, a copy of it up to the parent for others. */
static int branch(llama *l, int parent_id, size_t length) {
  if (l->sequences[parent_id].length == length)
    return parent_id;
  if (l->leaves == MOST_LEAVES)
    return -1;
  int id = l->leaves++;
  llama_memory_seq_cp(l->memory, parent_id, id, -1, (llama_pos)length);
  l->sequences[id] = l->sequences[parent_id];
  l->sequences[id].length = length;
  return id;
}

static int logits(void *state, const tslt_nodes *nodes, const void **rows, size_t *row_bytes) {
  draft_model *model = state;
  llama *l = model->own;
  size_t length;
  const int32_t *prefix = tslt_device_ahead(model->device, &length);
  int error = nodes->count ? 0 : read_prefix(l, prefix, length);
  for (uint32_t node = nodes->first; node < nodes->count; node++) {
    int32_t parent = nodes->parents[node];
    l->depth[node] = parent < 0 ? 1 : l->depth[parent] + 1;
    int id = branch(l, parent < 0 ? 0 : l->of_node[parent], l->prefix_length + l->depth[node] - 1);
    if (id < 0)
      return complain(-1, "the expansion has more leaves that are run, expected %d at most", MOST_LEAVES);
    l->of_node[node] = id;
    append(l, id, nodes->tokens[node], 1);
  }
  if (!error)
    error = compute(l);
  *rows = llama_get_logits(l->context);
  *row_bytes = model->vocab_size * sizeof(float);
  return error;
}

/* ------------------------------------------------------------------------------------------------------- the vocabulary */

static void print(draft_model *model, int32_t token) {
  char piece[256];
  int32_t size = llama_token_to_piece(((llama *)model->own)->vocab, token, piece, sizeof piece, 0, false);
  fwrite(piece, 1, size > 0 ? (size_t)size : 0, stdout);
}

static uint8_t *put_u32(uint8_t *out, uint32_t value) {
  for (int i = 0; i < 4; i++)
    *out++ = (uint8_t)(value >> 8 * i);
  return out;
}

/* SHA-256 of all pairs of id and text: the same as of the tokenizer that the file was made of. */
static int fingerprint(const struct llama_vocab *vocab, uint32_t count, uint8_t digest[FINGERPRINT_BYTES]) {
  size_t size = sizeof DOMAIN - 1;
  for (uint32_t token = 0; token < count; token++)
    size += 8 + strlen(llama_vocab_get_text(vocab, (llama_token)token));
  uint8_t *said = malloc(size), *end = said;
  if (!said)
    return -1;
  end = (uint8_t *)memcpy(end, DOMAIN, sizeof DOMAIN - 1) + sizeof DOMAIN - 1;
  for (uint32_t token = 0; token < count; token++) {
    const char *text = llama_vocab_get_text(vocab, (llama_token)token);
    if (llama_vocab_get_attr(vocab, (llama_token)token) & LLAMA_TOKEN_ATTR_UNUSED)
      continue; /* it only fills the vocabulary up */
    end = put_u32(put_u32(end, token), (uint32_t)strlen(text));
    end = (uint8_t *)memcpy(end, text, strlen(text)) + strlen(text);
  }
  tslt_sha256(said, (size_t)(end - said), digest);
  free(said);
  return 0;
}

/* ---------------------------------------------------------------------------------------------------------- the program */

static void quiet(enum ggml_log_level level, const char *text, void *state) {
  (void)state;
  if (level == GGML_LOG_LEVEL_ERROR)
    fputs(text, stderr);
}

static int open_model(llama *l, const char *path) {
  struct llama_model_params how = llama_model_default_params();
  struct llama_context_params room = llama_context_default_params();
  llama_log_set(quiet, NULL);
  llama_backend_init();
  room.n_ctx = MOST_TOKENS + MOST_NODES;
  room.n_seq_max = MOST_LEAVES;
  room.kv_unified = true; /* cells of a prefix belong to all sequences of a tree */
  l->weights = llama_model_load_from_file(path, how);
  l->context = l->weights ? llama_init_from_model(l->weights, room) : NULL;
  if (!l->context)
    return complain(MISUSED, "llama.cpp cannot run %s, expected a GGUF file that it can", path);
  l->vocab = llama_model_get_vocab(l->weights);
  l->memory = llama_get_memory(l->context);
  l->batch = llama_batch_init((int32_t)llama_n_batch(l->context), 0, 1);
  l->leaves = 1;
  return 0;
}

static void close_model(llama *l) {
  if (l->context) {
    llama_batch_free(l->batch);
    llama_free(l->context);
  }
  if (l->weights)
    llama_model_free(l->weights);
  llama_backend_free();
}

static int write_on(llama *l, const settings *set, const char *text) {
  int32_t prompt[MOST_TOKENS];
  draft_model model = {.vocab_size = (uint32_t)llama_vocab_n_tokens(l->vocab), .logits = logits, .print = print, .own = l};
  int32_t count = llama_tokenize(l->vocab, text, (int32_t)strlen(text), prompt, MOST_TOKENS, true, true);
  if (count <= 0) /* it says how many by a number below 0 */
    return complain(MISUSED, "the prompt has %lld tokens, expected 1 to %d", -(long long)count, MOST_TOKENS - 1);
  if (fingerprint(l->vocab, model.vocab_size, model.tokenizer))
    return complain(FAILED, "no memory");
  return run_device(&model, set, prompt, (size_t)count);
}

int main(int argc, char **argv) {
  static llama own;
  settings set;
  program_name = "llama";
  if (argc != 7)
    return complain(MISUSED, "%d words, expected llama FILE.gguf EDGE TOKENS EVIDENCE EXPANSION PROMPT", argc - 1);
  if (read_settings(&set, argv[2], argv[3], argv[4], argv[5]))
    return MISUSED;
  int status = open_model(&own, argv[1]);
  if (!status)
    status = write_on(&own, &set, argv[6]);
  close_model(&own);
  return status;
}
