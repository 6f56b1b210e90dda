/* A text from an edge, whatever the draft model is: rounds over a link, and over another one where it breaks, until the text
 * is as long as was asked for. */
#ifndef ROUNDS_H
#define ROUNDS_H

#include "link.h"

/* A draft model.  Its functions get this struct as their state. */
typedef struct draft_model {
  tslt_device *device; /* the session, for its prefix: rounds.h fills it in */
  uint32_t vocab_size;
  uint8_t tokenizer[32]; /* fingerprint */
  tslt_logits logits;
  void (*print)(struct draft_model *model, int32_t token);
  void *own;
} draft_model;

/* What a text is written with. */
typedef struct {
  const settings *set;
  draft_model *model;
  tslt_device *device;
  zmq_link *link;
  tslt_random random;
  tslt_drafting how;
  size_t prompt_length;
  uint32_t tries; /* links since the edge's last answer */
  long rounds;
} writer;

enum { STOPPED = LINK_REFUSED }; /* what no other link would mend; why was said */

/* Random numbers of the operating system. */
static uint64_t next64(void *state) {
  uint64_t number = 0;
  if (fread(&number, sizeof number, 1, state) != 1)
    exit(complain(FAILED, "/dev/urandom gives no numbers"));
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

/* Whether a function of the session did what it should; a line if not. */
static int check(int code, const char *what) {
  return code ? complain(STOPPED, "%s: %s", what, tslt_error_name(code)) : 0;
}

/* ------------------------------------------------------------------------------------------------------------ frames */

static int send_all(writer *w) {
  size_t size;
  const uint8_t *frame;
  while ((frame = tslt_device_next(w->device, &size)))
    if (link_send(w->link, frame, size))
      return LINK_LOST;
  return 0;
}

/* The edge gave up: some errors pass, and another link may do. */
static int peer_failed(writer *w, const tslt_event *event) {
  int code = (int)event->code;
  const char *name = tslt_error_name(code), *text = printable(event->text, event->text_size);
  if (!strncmp(text, name, strlen(name)) && text[strlen(name)] == ':') /* many edges say it themselves */
    text += strlen(name) + (text[strlen(name) + 1] ? 2 : 1);
  if (code == TSLT_OVERLOADED || code == TSLT_INTERNAL || code == TSLT_UNKNOWN_SESSION || code == TSLT_GOING_AWAY)
    return link_lose(w->link, LINK_LOST, "the edge says %s: %s", name, text);
  return complain(STOPPED, "the edge refuses: %s (%d): %s", name, code, text);
}

/* Send all that waits, and take the next frame that means something. */
static int exchange(writer *w, tslt_event *event) {
  int error = send_all(w);
  for (event->kind = TSLT_NOTHING; !error && event->kind == TSLT_NOTHING;) {
    long size = link_receive(w->link, ANSWER_MS);
    if (size < 0)
      return (int)size;
    int code = tslt_device_receive(w->device, w->link->frame, (size_t)size, event);
    if (code) {
      send_all(w); /* ERROR */
      return complain(STOPPED, "what the edge sent is refused: %s (%d): %s", tslt_error_name(code), code,
                      printable(event->text, event->text_size));
    }
  }
  if (!error && event->kind == TSLT_PEER_FAILED)
    return peer_failed(w, event);
  if (!error && event->kind == TSLT_PEER_CLOSED)
    return link_lose(w->link, LINK_LOST, "the edge has ended the session");
  return error;
}

/* ------------------------------------------------------------------------------------------------------------- links */

/* What this edge agreed on decides how is drafted, and whether the text fits it: `length` tokens so far. */
static int agree(writer *w, size_t length) {
  const tslt_welcome *agreed = tslt_device_welcome(w->device);
  if (!(agreed->evidence >> w->how.evidence & 1))
    return complain(STOPPED, "the edge takes no evidence '%s', expected another one", KINDS[w->set->kind]);
  if (w->set->kind == FULL && !(agreed->precisions >> TSLT_F32 & 1))
    return complain(STOPPED, "the edge takes no lists in f32, as those of 'full' are, expected another evidence");
  if (length > agreed->context || length > agreed->limits.max_prompt_tokens)
    return complain(STOPPED, "the prompt has %zu tokens, expected %llu at most: a text of this edge has %u, one message %llu", length,
                    agreed->context < agreed->limits.max_prompt_tokens ? agreed->context : (unsigned long long)agreed->limits.max_prompt_tokens,
                    agreed->context, (unsigned long long)agreed->limits.max_prompt_tokens);
  w->how.precision = w->set->kind == FULL                    ? TSLT_F32
                     : agreed->precisions >> TSLT_LOG2_2 & 1 ? TSLT_LOG2_2
                                                             : agreed->profile.precision;
  return 0;
}

/* A link, and the session over it: HELLO to WELCOMED or RESUMED; others after it while there are tries, with longer and
 * longer pauses.  The session has HELLO in its queue. */
static int open_session(writer *w) {
  tslt_event event;
  for (;; w->tries++) {
    if (w->tries) {
      uint32_t seconds = 1u << (w->tries < 4 ? w->tries - 1 : 3);
      complain(0, "%s: %s", w->set->address, w->link->why);
      link_close(w->link);
      if (w->tries == w->set->tries)
        return complain(STOPPED, "no edge after try %u of %u, expected one at %s", w->tries, w->set->tries, w->set->address);
      complain(0, "trying again in %u s (%u of %u)", seconds, w->tries + 1, w->set->tries);
      nanosleep(&(struct timespec){seconds, 0}, NULL);
      int error = check(tslt_device_reconnect(w->device), "the session cannot go on");
      if (error)
        return error;
    }
    int found = link_open(w->link, w->set);
    if (found == LINK_REFUSED)
      return complain(STOPPED, "%s: %s", w->set->address, w->link->why);
    if (!found)
      found = exchange(w, &event);
    if (found != LINK_LOST)
      return found ? found : agree(w, w->prompt_length);
  }
}

/* Until the oldest round is over: a verdict, proposals to choose from, a list to send. */
static int settle(writer *w) {
  tslt_event event;
  while (tslt_device_state(w->device) == TSLT_OPEN) {
    int32_t token;
    int error = exchange(w, &event);
    if (error == LINK_LOST) { /* what was open is open over the next link, too */
      w->tries++;
      error = open_session(w);
      event.kind = TSLT_RESUMED;
    } else if (!error) {
      w->tries = 0;
    }
    if (!error && event.kind == TSLT_LIST_WANTED)
      error = check(tslt_device_list(w->device), "no list can be sent");
    if (!error && event.kind == TSLT_PROPOSALS)
      error = check(tslt_device_choose(w->device, &w->random, &token), "no proposal can be taken");
    if (error || event.kind == TSLT_ANSWERED || event.kind == TSLT_WHOLE)
      return error;
  }
  return 0;
}

/* ------------------------------------------------------------------------------------------------------------- rounds */

/* Drafts while there may be one more, none deeper than what is wanted of the text, less the token of the target's own. */
static int draft_on(writer *w, size_t end) {
  tslt_device *device = w->device;
  size_t length;
  for (tslt_device_ahead(device, &length); length < end; tslt_device_ahead(device, &length)) {
    int64_t most = (int64_t)(end - length) - 1, room = tslt_device_depth(device);
    if ((tslt_device_state(device) != TSLT_IDLE && !tslt_device_may_follow(device)) || room < 0)
      return 0;
    most = most < room ? most : room;
    w->how.levels = most < w->set->levels ? (uint32_t)most : w->set->levels;
    w->how.goes_on = w->set->window > 1 && w->how.levels && tslt_device_welcome(device)->window > 1;
    int error = check(tslt_device_draft(device, &w->how, w->model->logits, w->model, &w->random), "no draft can be made");
    if (error)
      return error;
  }
  return 0;
}

/* Rounds until the text has `end` tokens, or has ended; each token is printed as it comes. */
static int write_text(writer *w, size_t end) {
  size_t said, length;
  tslt_device_prefix(w->device, &said);
  for (length = said; (tslt_device_state(w->device) == TSLT_IDLE || tslt_device_state(w->device) == TSLT_OPEN) && length < end &&
                      tslt_device_depth(w->device) >= 0;) {
    int error = draft_on(w, end);
    w->rounds += tslt_device_state(w->device) == TSLT_OPEN;
    if (!error)
      error = settle(w);
    const int32_t *prefix = tslt_device_prefix(w->device, &length);
    for (; said < length; said++)
      w->model->print(w->model, prefix[said]);
    if (fflush(stdout) || ferror(stdout))
      return complain(STOPPED, "the text cannot be written: %s", strerror(errno));
    if (error)
      return error;
  }
  return 0;
}

/* What was written, below the text: its tokens, how many, and why there are no more.  A text that had to end before it has
 * as many as were asked for is a failure; one that ended by itself is not. */
static int report(const writer *w, size_t end, int error) {
  size_t length, prompt_length = w->prompt_length;
  const int32_t *prefix = tslt_device_prefix(w->device, &length);
  int said = ferror(stdout);
  printf("\n");
  if (fflush(stdout) && !said)
    error = complain(STOPPED, "the text cannot be written: %s", strerror(errno));
  fprintf(stderr, "%s: tokens:", program_name);
  for (size_t i = prompt_length; i < length; i++)
    fprintf(stderr, " %d", prefix[i]);
  int ended = tslt_device_state(w->device) == TSLT_ENDED, full = !error && !ended && length < end;
  fprintf(stderr, "\n");
  complain(0, "%zu token%s in %ld round%s%s", length - prompt_length, &"s"[length - prompt_length == 1], w->rounds,
           &"s"[w->rounds == 1], error ? "; stopped" : ended ? "; the text has ended" : "");
  return full ? complain(STOPPED, "no more fit: a text of this edge has %u tokens, prompt included, expected no more than that to be asked for",
                         tslt_device_welcome(w->device)->context)
              : error;
}

/* A session from HELLO to BYE, in a block of `size` bytes: the tokens that were asked for after the prompt. */
static int converse(writer *w, const tslt_hello *hello, const tslt_device_room *room, void *block, size_t size, const int32_t *prompt,
                    size_t prompt_length) {
  size_t end = prompt_length + w->set->tokens;
  w->prompt_length = prompt_length;
  if (check(tslt_device_new(block, size, hello, room, &w->device), "no session"))
    return FAILED;
  w->model->device = w->device;
  int error = open_session(w);
  if (!error)
    error = check(tslt_device_prompt(w->device, prompt, prompt_length, 0, 1), "the edge takes no such prompt");
  if (!error)
    error = report(w, end, write_text(w, end));
  tslt_device_close(w->device);
  send_all(w);
  return error ? FAILED : 0;
}

/* The text to the standard output, all else to the standard error; the exit status. */
static int run_device(draft_model *model, const settings *set, const int32_t *prompt, size_t prompt_length) {
  static zmq_link link;
  if (prompt_length + set->tokens > MOST_TOKENS)
    return complain(MISUSED, "%zu tokens of a prompt and %u more, expected %d at most", prompt_length, set->tokens, MOST_TOKENS);
  FILE *source = fopen("/dev/urandom", "rb");
  if (!source)
    return complain(FAILED, "/dev/urandom cannot be opened: %s", strerror(errno));
  tslt_hello hello = tslt_default_hello(model->vocab_size, model->tokenizer);
  for (size_t i = 0; i < sizeof hello.nonce; i++)
    hello.nonce[i] = (uint8_t)next64(source);
  hello.sampling.named = set->asks_temperature ? TSLT_TEMPERATURE : 0;
  hello.sampling.temperature = set->temperature;
  hello.padding = set->padding;
  const int full = set->kind == FULL;
  const uint32_t listed = full ? model->vocab_size : MOST_LISTED; /* of each node; no more nodes than are drafted where lists are long */
  tslt_device_room room = {.most_tokens = MOST_TOKENS, .most_nodes = full ? set->nodes : MOST_NODES, .most_listed = listed,
                           .most_window = set->window, .dtype = TSLT_FLOAT32};
  room.most_entries = room.most_nodes * listed;
  writer w = {.set = set, .model = model, .link = &link, .random = {below, uniform, source},
              .how = {.evidence = full ? TSLT_EVIDENCE_LIST : set->kind, .expansion = set->children, .dtype = TSLT_FLOAT32, .temperature = set->temperature,
                      .truncate = !full, .truncation = {.top_k = MOST_LISTED, .top_p = 1}}};
  if (set->temperature == 0 && set->widest > 1) { /* a greedy target: the likeliest tokens are worth a try, each once */
    w.how.temperature = 1;
    w.how.without_replacement = 1;
    w.how.truncation.top_k = set->widest;
  }
  size_t size = tslt_device_size(&hello, &room);
  void *block = malloc(size);
  int status = block ? converse(&w, &hello, &room, block, size, prompt, prompt_length) : complain(FAILED, "no memory");
  if (!status)
    complain(0, "%zu bytes of memory for the session", size);
  link_close(&link);
  free(block);
  fclose(source);
  return status;
}

#endif
