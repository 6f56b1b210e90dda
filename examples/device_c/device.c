// A device without Python: the session of tslt_device.h, a link over ZeroMQ, and a table in the place of a draft model.
//
//   mkdir -p build
//   python examples/device_c/make_table.py build/draft.table "The old house stood"   # prints the prompt's tokens
//   cc -std=c11 -O3 -ffp-contract=off -D_POSIX_C_SOURCE=200809L -I tslt_wire/_native -o build/device examples/device_c/device.c tslt_wire/_native/*.c -lzmq -lm
//   python -m examples.edge &                                                        # wait for "listens on"
//   build/device build/draft.table tcp://127.0.0.1:5757 64 list 1,1,1,1 0 670 612 764 1029
//
/* The words are the table, the edge, how many tokens, the evidence, the expansion of a tree, and the prompt: the numbers that
 * make_table.py prints.  The text goes to the standard output, all else to the standard error.  Exit status 0: as many tokens
 * as were asked for, or a text that its target ended; 1: less than that, or nothing; 2: a word that makes no sense.  The
 * environment may say:
 *
 *   TSLT_TEMPERATURE  of the target's text; 0 is greedy; the edge's own if it is not there
 *   TSLT_WINDOW       drafts in flight, 1 to 16
 *   TSLT_PADDING      what the lengths of frames are multiples of, 2 to 65536
 *   TSLT_TRIES        links that are tried, one after another, where the edge does not answer: 10, in a minute
 *   TSLT_EDGE_KEY, TSLT_PUBLIC_KEY, TSLT_SECRET_KEY   for CURVE; curve_keys.py makes them of those of `tslt keys`
 */
#include "rounds.h"
#include "table.h"

/* The logits after each new node.  A model would keep a cache of the prefix, and of the nodes: llama.c does. */
static int logits(void *state, const tslt_nodes *nodes, const void **rows, size_t *row_bytes) {
  draft_model *model = state;
  table *draft = model->own;
  size_t length, row = 0;
  const int32_t *prefix = tslt_device_ahead(model->device, &length);
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
  settings set;
  table draft;
  int32_t prompt[MOST_TOKENS];
  size_t count = 0;
  if (argc < 7)
    return complain(MISUSED, "%d words, expected device TABLE EDGE TOKENS EVIDENCE EXPANSION PROMPT ...", argc - 1);
  if (argc - 6 >= MOST_TOKENS)
    return complain(MISUSED, "%d tokens of a prompt, expected %d at most", argc - 6, MOST_TOKENS - 1);
  if (read_settings(&set, argv[2], argv[3], argv[4], argv[5]) || table_open(&draft, argv[1]))
    return MISUSED;
  int status = 0;
  for (int i = 6; i < argc && !status; i++) {
    uint32_t token = 0;
    status = read_whole("a token of the prompt", argv[i], 0, draft.vocab_size - 1, &token);
    prompt[count++] = (int32_t)token;
  }
  draft_model model = {.vocab_size = draft.vocab_size, .logits = logits, .print = print, .own = &draft};
  memcpy(model.tokenizer, draft.tokenizer, sizeof model.tokenizer);
  if (!status)
    status = run_device(&model, &set, prompt, count);
  table_close(&draft);
  return status;
}
