/* A text from an edge, whatever the draft model is: rounds over a link, until it is as long as was asked for. */
#ifndef ROUNDS_H
#define ROUNDS_H

#include <stdlib.h>

#include "link.h"

enum { MOST_TOKENS = 4096, MOST_LEVELS = 16, MOST_LISTED = 32, MOST_NODES = 64 };

static const char *const KINDS[] = {"list", "match", "coupled", "scalar", "lazy"};

/* A draft model.  Its functions get this struct as their state. */
typedef struct draft_model {
  tslt_device *device; /* the session, for its prefix: rounds.h fills it in */
  uint32_t vocab_size;
  uint8_t tokenizer[32]; /* fingerprint */
  tslt_logits logits;
  void (*print)(struct draft_model *model, int32_t token);
  void *own;
} draft_model;

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
static int draft_on(draft_model *model, tslt_drafting *how, uint32_t levels, int chain, size_t end, const tslt_random *random) {
  tslt_device *device = model->device;
  size_t length;
  for (tslt_device_ahead(device, &length); length < end; tslt_device_ahead(device, &length)) {
    int64_t most = (int64_t)(end - length) - 1, room = tslt_device_depth(device);
    if ((tslt_device_state(device) != TSLT_IDLE && !tslt_device_may_follow(device)) || room < 0)
      return 0;
    most = most < room ? most : room;
    how->levels = most < levels ? (uint32_t)most : levels;
    how->goes_on = chain && how->levels && tslt_device_welcome(device)->window > 1;
    int error = tslt_device_draft(device, how, model->logits, model, random);
    if (error)
      return error;
  }
  return 0;
}

/* Rounds until the text has `end` tokens, or has ended; each token is printed as it comes, and the number of all at the
 * end. */
static int write_text(draft_model *model, zmq_link *link, tslt_drafting *how, uint32_t levels, int chain, size_t end,
                      const tslt_random *random) {
  tslt_device *device = model->device;
  size_t count, length;
  const int32_t *prefix = tslt_device_prefix(device, &count);
  long rounds = 0;
  for (length = count; (tslt_device_state(device) == TSLT_IDLE || tslt_device_state(device) == TSLT_OPEN) && length < end &&
                       tslt_device_depth(device) >= 0;
       rounds++) {
    size_t said = length;
    int error = draft_on(model, how, levels, chain, end, random);
    if (error || settle(device, link, random)) {
      fprintf(stderr, "stopped: %d\n", error);
      return 1;
    }
    prefix = tslt_device_prefix(device, &length);
    for (; said < length; said++)
      model->print(model, prefix[said]);
    fflush(stdout);
  }
  printf("\n");
  for (size_t i = count; i < length; i++)
    fprintf(stderr, "%d ", prefix[i]);
  fprintf(stderr, "\n%zu tokens in %ld rounds\n", length - count, rounds);
  return 0;
}

/* A session from HELLO to BYE: `wanted` tokens after the prompt.  Address, evidence and expansion are words of the command
 * line; the environment has the rest (device.c). */
static int run_device(draft_model *model, const char *address, const char *evidence, const char *expansion, size_t wanted,
                      const int32_t *prompt, size_t prompt_length) {
  static zmq_link link;
  tslt_event event;
  uint32_t children[MOST_LEVELS], levels = 0;
  int kind = 0;
  while (kind < 4 && strcmp(evidence, KINDS[kind]))
    kind++;
  for (const char *at = expansion; *at && levels < MOST_LEVELS;) {
    char *end;
    children[levels++] = (uint32_t)strtoul(at, &end, 10);
    at = end + (*end == ',');
  }

  tslt_hello hello = tslt_default_hello(model->vocab_size, model->tokenizer);
  FILE *source = fopen("/dev/urandom", "rb");
  if (!source || fread(hello.nonce, sizeof hello.nonce, 1, source) != 1)
    return 1;
  const char *temperature = getenv("TSLT_TEMPERATURE"), *window = getenv("TSLT_WINDOW"), *padding = getenv("TSLT_PADDING");
  hello.sampling.named = temperature ? TSLT_TEMPERATURE : 0;
  hello.sampling.temperature = temperature ? strtod(temperature, NULL) : 1;
  hello.padding = padding ? (uint32_t)strtoul(padding, NULL, 10) : 0;
  tslt_device_room room = {.most_tokens = MOST_TOKENS, .most_nodes = MOST_NODES, .most_entries = MOST_LISTED * MOST_NODES,
                           .most_listed = MOST_LISTED, .most_window = window ? (uint32_t)strtoul(window, NULL, 10) : 1,
                           .dtype = TSLT_FLOAT32};
  size_t size = tslt_device_size(&hello, &room);
  void *block = malloc(size ? size : 1);
  tslt_random random = {below, uniform, source};
  tslt_drafting how = {.evidence = kind, .expansion = children, .dtype = TSLT_FLOAT32,
                       .temperature = hello.sampling.temperature, .truncate = 1,
                       .truncation = {.top_k = MOST_LISTED, .top_p = 1}, .precision = TSLT_LOG2_2};
  if (!block || tslt_device_new(block, size, &hello, &room, &model->device) ||
      link_open(&link, address, getenv("TSLT_EDGE_KEY"), getenv("TSLT_PUBLIC_KEY"), getenv("TSLT_SECRET_KEY")) ||
      exchange(model->device, &link, &event, 1) || event.kind != TSLT_WELCOMED ||
      tslt_device_prompt(model->device, prompt, prompt_length, 0, 1))
    return 1;
  uint32_t widest = 1;
  for (uint32_t i = 0; i < levels; i++)
    widest = children[i] > widest ? children[i] : widest;
  if (hello.sampling.temperature == 0 && widest > 1) { /* a greedy target: the likeliest tokens are worth a try, each once */
    how.temperature = 1;
    how.without_replacement = 1;
    how.truncation.top_k = widest;
  }
  int chain = room.most_window > 1 && widest == 1;
  int status = write_text(model, &link, &how, levels, chain, prompt_length + wanted, &random);
  fprintf(stderr, "%zu bytes of memory for the session\n", size);
  tslt_device_close(model->device);
  exchange(model->device, &link, &event, 0);
  link_close(&link);
  free(block);
  return fclose(source) || status;
}

#endif
