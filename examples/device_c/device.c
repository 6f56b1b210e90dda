/* A device without Python: the session of tslt_device.h, a link over ZeroMQ, and a table in the place of a draft model.
 *
 *   python examples/device_c/make_table.py draft.table "The old house stood"       # prints the prompt's tokens
 *   cc -std=c11 -O3 -ffp-contract=off -D_POSIX_C_SOURCE=200809L -I tslt_wire/_native -o device examples/device_c/device.c tslt_wire/_native/ *.c -lzmq -lm
 *   python -m examples.edge &
 *   ./device draft.table tcp://127.0.0.1:5757 64 list 1,1,1,1 TOKEN TOKEN ...      # tokens, evidence, expansion, prompt
 *
 * TSLT_TEMPERATURE is what is asked of the target (0: greedy), TSLT_WINDOW how many drafts may be in flight.  With CURVE: TSLT_EDGE_KEY, TSLT_PUBLIC_KEY and TSLT_SECRET_KEY, which curve_keys.py makes of those of `tslt keys`.
 */
#include "link.h"
#include "table.h"

enum { MOST_TOKENS = 4096, MOST_LEVELS = 16, MOST_LISTED = 32, MOST_NODES = 64 };

static const char *const KINDS[] = {"list", "match", "coupled", "scalar", "lazy"};

/* What the callback knows: the session, for its prefix, and the table. */
typedef struct {
  tslt_device *device;
  table *draft;
} drafter;

/* The logits after each new node.  A model would keep a cache of the prefix, and of
 * the nodes. */
static int logits(void *state, const tslt_nodes *nodes, const void **rows, size_t *row_bytes) {
  drafter *d = state;
  size_t length, row = 0;
  const int32_t *prefix = tslt_device_ahead(d->device, &length);
  if (nodes->count - nodes->first > MOST_ROWS)
    return -1;
  if (!nodes->count)
    table_row(d->draft, prefix[length - 1], d->draft->rows);
  for (uint32_t node = nodes->first; node < nodes->count; node++)
    table_row(d->draft, nodes->tokens[node], d->draft->rows + row++ * d->draft->vocab_size);
  *rows = d->draft->rows;
  *row_bytes = d->draft->vocab_size * sizeof(float);
  return 0;
}

/* Random numbers of the operating system. */
static uint64_t next64(void *state) {
  uint64_t number = 0;
  if (fread(&number, sizeof number, 1, state) != 1)
    exit(1);
  return number;
}

static uint64_t below(void *state, uint64_t size) {
  uint64_t number, most = UINT64_MAX - UINT64_MAX % size;
  do
    number = next64(state);
  while (number >= most);
  return number % size;
}

static double uniform(void *state) { return (double)(next64(state) >> 11) * 0x1p-53; }

/* Send all that waits, and take the next frame that means something. */
static int exchange(tslt_device *device, zmq_link *link, tslt_event *event, int wait) {
  size_t size;
  const uint8_t *frame;
  int ignored = 0;
  while ((frame = tslt_device_next(device, &size)))
    if (link_send(link, frame, size))
      return -1;
  for (event->kind = TSLT_NOTHING; wait && event->kind == TSLT_NOTHING;) {
    long received = link_receive(link, ANSWER_MS, &ignored);
    if (received < 0)
      return -1;
    int error = tslt_device_receive(device, link->frame, (size_t)received, event);
    if (error) {
      fprintf(stderr, "refused: error %d of the specification's section 9\n", error);
      exchange(device, link, event, 0); /* ERROR */
      return -1;
    }
    if (event->kind == TSLT_PEER_FAILED)
      fprintf(stderr, "the edge gave up (%u): %.*s\n", event->code, (int)event->text_size, event->text);
    if (event->kind == TSLT_PEER_FAILED || event->kind == TSLT_PEER_CLOSED)
      return -1;
  }
  return 0;
}

/* Until the oldest round is over: a verdict, proposals to choose from, a list to send. */
static int settle(tslt_device *device, zmq_link *link, const tslt_random *random) {
  tslt_event event;
  for (;;) {
    int32_t token = -1;
    if (exchange(device, link, &event, 1))
      return -1;
    if (event.kind == TSLT_ANSWERED || event.kind == TSLT_WHOLE)
      return 0;
    if (event.kind == TSLT_LIST_WANTED && tslt_device_list(device))
      return -1;
    if (event.kind == TSLT_PROPOSALS && tslt_device_choose(device, random, &token))
      return -1;
    if (token >= 0)
      return 0;
  }
}

/* Drafts while there may be one more, none deeper than what is wanted of the text, less the token of the target's own. */
static int draft_on(drafter *d, tslt_drafting *how, uint32_t levels, int chain, size_t end, const tslt_random *random) {
  size_t length;
  for (tslt_device_ahead(d->device, &length); length < end; tslt_device_ahead(d->device, &length)) {
    int64_t most = (int64_t)(end - length) - 1, room = tslt_device_depth(d->device);
    if ((tslt_device_state(d->device) != TSLT_IDLE && !tslt_device_may_follow(d->device)) || room < 0)
      return 0;
    most = most < room ? most : room;
    how->levels = most < levels ? (uint32_t)most : levels;
    how->goes_on = chain && how->levels && tslt_device_welcome(d->device)->window > 1;
    int error = tslt_device_draft(d->device, how, logits, d, random);
    if (error)
      return error;
  }
  return 0;
}

int main(int argc, char **argv) {
  static zmq_link link;
  tslt_event event;
  uint32_t expansion[MOST_LEVELS], levels = 0;
  if (argc < 7) {
    fprintf(stderr, "use: device TABLE EDGE TOKENS EVIDENCE EXPANSION PROMPT ...\n");
    return 2;
  }
  table draft = table_open(argv[1]);
  long wanted = strtol(argv[3], NULL, 10);
  int evidence = 0;
  while (evidence < 4 && strcmp(argv[4], KINDS[evidence]))
    evidence++;
  for (char *at = argv[5]; *at && levels < MOST_LEVELS; at += *at == ',')
    expansion[levels++] = (uint32_t)strtoul(at, &at, 10);

  tslt_hello hello = tslt_default_hello(draft.vocab_size, draft.tokenizer);
  FILE *source = fopen("/dev/urandom", "rb");
  if (!source || fread(hello.nonce, sizeof hello.nonce, 1, source) != 1)
    return 1;
  const char *temperature = getenv("TSLT_TEMPERATURE"), *window = getenv("TSLT_WINDOW");
  if (temperature) {
    hello.sampling.named = TSLT_TEMPERATURE;
    hello.sampling.temperature = strtod(temperature, NULL);
  }
  tslt_device_room room = {.most_tokens = MOST_TOKENS, .most_nodes = MOST_NODES, .most_entries = MOST_LISTED * MOST_NODES,
                           .most_listed = MOST_LISTED, .most_window = window ? (uint32_t)strtoul(window, NULL, 10) : 1,
                           .dtype = TSLT_FLOAT32};
  size_t size = tslt_device_size(&hello, &room);
  void *block = malloc(size);
  tslt_device *device;
  tslt_random random = {below, uniform, source};
  tslt_drafting how = {.evidence = evidence, .expansion = expansion, .dtype = TSLT_FLOAT32, .temperature = 1, .truncate = 1,
                       .truncation = {.top_k = MOST_LISTED, .top_p = 1}, .precision = TSLT_LOG2_2};
  if (!block || tslt_device_new(block, size, &hello, &room, &device) ||
      link_open(&link, argv[2], getenv("TSLT_EDGE_KEY"), getenv("TSLT_PUBLIC_KEY"), getenv("TSLT_SECRET_KEY")) ||
      exchange(device, &link, &event, 1) || event.kind != TSLT_WELCOMED)
    return 1;

  int32_t prompt[MOST_TOKENS];
  size_t count = 0, length;
  for (int i = 6; i < argc && count < MOST_TOKENS; i++)
    prompt[count++] = (int32_t)strtol(argv[i], NULL, 10);
  if (tslt_device_prompt(device, prompt, count, 0, 1))
    return 1;
  drafter state = {device, &draft};
  long rounds = 0;
  size_t said = count, end = count + (size_t)wanted;
  int chain = room.most_window > 1;
  for (uint32_t i = 0; i < levels; i++)
    chain = chain && expansion[i] == 1;
  const int32_t *prefix = tslt_device_prefix(device, &length);
  while ((tslt_device_state(device) == TSLT_IDLE || tslt_device_state(device) == TSLT_OPEN) && length < end &&
         tslt_device_depth(device) >= 0) {
    int error = draft_on(&state, &how, levels, chain, end, &random);
    if (error || settle(device, &link, &random)) {
      fprintf(stderr, "stopped: %d\n", error);
      return 1;
    }
    rounds++;
    prefix = tslt_device_prefix(device, &length);
    for (; said < length; said++)
      fputs(draft.texts[prefix[said]], stdout);
    fflush(stdout);
  }
  printf("\n");
  for (size_t i = count; i < length; i++)
    fprintf(stderr, "%d ", prefix[i]);
  fprintf(stderr, "\n%zu tokens in %ld rounds, %zu bytes of memory for the session\n", length - count, rounds, size);
  tslt_device_close(device);
  exchange(device, &link, &event, 0);
  link_close(&link);
  table_close(&draft);
  free(block);
  return fclose(source) != 0;
}
