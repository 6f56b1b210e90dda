/* A device without Python: the session of tslt_device.h, a link over ZeroMQ, and a table in the place of a draft model.
 *
 *   python examples/device_c/make_table.py draft.table "The old house stood"       # prints the prompt's tokens
 *   cc -std=c11 -O3 -ffp-contract=off -D_POSIX_C_SOURCE=200809L -I tslt_wire/_native -o device examples/device_c/device.c tslt_wire/_native/ *.c -lzmq -lm
 *   python -m examples.edge &
 *   ./device draft.table tcp://127.0.0.1:5757 64 list 1,1,1,1 TOKEN TOKEN ...      # tokens, evidence, expansion, prompt
 *
 * TSLT_TEMPERATURE is what is asked of the target (0: greedy), TSLT_WINDOW how many drafts may be in flight, TSLT_PADDING
 * what the lengths of frames are multiples of.  With CURVE: TSLT_EDGE_KEY, TSLT_PUBLIC_KEY and TSLT_SECRET_KEY, which
 * curve_keys.py makes of those of `tslt keys`.
 */
#include "rounds.h"
#include "table.h"

/* The logits after each new node.  A model would keep a cache of the prefix, and of the nodes: llama.c does. */
static int logits(void *state, const tslt_nodes *nodes, const void **rows, size_t *row_bytes) {
  draft_model *model = state;
  table *draft = model->own;
  size_t length, row = 0;
  const int32_t *prefix = tslt_device_ahead(model->device, &length);
  if (nodes->count - nodes->first > MOST_ROWS)
    return -1;
  if (!nodes->count)
    table_row(draft, prefix[length - 1], draft->rows);
  for (uint32_t node = nodes->first; node < nodes->count; node++)
    table_row(draft, nodes->tokens[node], draft->rows + row++ * draft->vocab_size);
  *rows = draft->rows;
  *row_bytes = draft->vocab_size * sizeof(float);
  return 0;
}

static void print(draft_model *model, int32_t token) { fputs(((table *)model->own)->texts[token], stdout); }

int main(int argc, char **argv) {
  int32_t prompt[MOST_TOKENS];
  size_t count = 0;
  if (argc < 7) {
    fprintf(stderr, "use: device TABLE EDGE TOKENS EVIDENCE EXPANSION PROMPT ...\n");
    return 2;
  }
  table draft = table_open(argv[1]);
  draft_model model = {.vocab_size = draft.vocab_size, .logits = logits, .print = print, .own = &draft};
  memcpy(model.tokenizer, draft.tokenizer, sizeof model.tokenizer);
  for (int i = 6; i < argc && count < MOST_TOKENS; i++)
    prompt[count++] = (int32_t)strtol(argv[i], NULL, 10);
  int status = run_device(&model, argv[2], argv[4], argv[5], strtoul(argv[3], NULL, 10), prompt, count);
  table_close(&draft);
  return status;
}
