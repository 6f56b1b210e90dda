/* What a person says and is told: words of the command line and of the environment, and one line for whatever fails. */
#ifndef WORDS_H
#define WORDS_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "tslt_device.h"

/* Exit statuses: what was asked for failed; it could not be asked for. */
enum { FAILED = 1, MISUSED = 2 };
enum { MOST_TOKENS = 4096, MOST_LEVELS = 16, MOST_LISTED = 32, MOST_NODES = 64, MOST_DRAFTS = 16, MOST_PADDING = 65536, MOST_TRIES = 100 };

/* By their numbers; `full` is a list of everything. */
enum { FULL = 5, KIND_COUNT };
static const char *const KINDS[KIND_COUNT] = {"list", "match", "coupled", "scalar", "lazy", "full"};
static const char *program_name = "device";

/* `name: what, what was expected` on the standard error; `status` is returned. */
static int complain(int status, const char *format, ...) {
  va_list rest;
  va_start(rest, format);
  fflush(stdout); /* the text so far comes first */
  fprintf(stderr, "%s: ", program_name);
  vfprintf(stderr, format, rest);
  fputc('\n', stderr);
  va_end(rest);
  return status;
}

/* A whole number of `least` to `most`. */
static int read_whole(const char *what, const char *text, unsigned long long least, unsigned long long most, uint32_t *number) {
  char *end;
  errno = 0;
  unsigned long long found = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || errno || found < least || found > most)
    return complain(MISUSED, "%s is '%s', expected a whole number of %llu to %llu", what, text, least, most);
  *number = (uint32_t)found;
  return 0;
}

/* A setting of the environment, `usual` where it is not there. */
static int read_variable(const char *name, unsigned long long least, unsigned long long most, uint32_t usual, uint32_t *number) {
  const char *text = getenv(name);
  *number = usual;
  return text ? read_whole(name, text, least, most, number) : 0;
}

typedef struct {
  const char *address;
  const char *edge_key, *public_key, *secret_key; /* NULL: a link without keys */
  int kind;                                              /* of evidence, or FULL */
  uint32_t children[MOST_LEVELS], levels, widest, nodes; /* of a tree */
  uint32_t tokens, window, padding, tries;
  double temperature;
  int asks_temperature;
} settings;

/* A tree's children at each level: as many as are kept at once, and as a list may have. */
static int read_expansion(settings *s, const char *text) {
  uint64_t width = 1, nodes = 0;
  const char *at = text;
  for (s->levels = 0, s->widest = 1; s->levels < MOST_LEVELS; at++) {
    char *end;
    unsigned long count = *at >= '0' && *at <= '9' ? strtoul(at, &end, 10) : 0;
    if (count < 1 || count > MOST_LISTED || (*end && *end != ','))
      break;
    s->children[s->levels++] = (uint32_t)count;
    s->widest = count > s->widest ? (uint32_t)count : s->widest;
    width *= count;
    nodes += width;
    at = end;
    if (nodes > MOST_NODES || !*end)
      break;
  }
  if (*at || !s->levels || at[-1] == ',' || nodes > MOST_NODES)
    return complain(MISUSED, "the expansion is '%s', expected numbers of 1 to %d like 1,1,1 or 4,2, at most %d of them and %d nodes",
                    text, MOST_LISTED, MOST_LEVELS, MOST_NODES);
  s->nodes = (uint32_t)nodes;
  if ((s->kind == TSLT_EVIDENCE_SCALAR || s->kind == TSLT_EVIDENCE_LAZY) && s->widest > 1)
    return complain(MISUSED, "the expansion is '%s', expected a chain like 1,1,1: evidence %s takes no tree", text, KINDS[s->kind]);
  return 0;
}

static int read_keys(settings *s) {
  static const char *const NAMES[] = {"TSLT_EDGE_KEY", "TSLT_PUBLIC_KEY", "TSLT_SECRET_KEY"};
  const char **const keys[] = {&s->edge_key, &s->public_key, &s->secret_key};
  uint8_t bytes[40];
  int given = 0;
  for (int i = 0; i < 3; i++)
    given += (*keys[i] = getenv(NAMES[i])) != NULL;
  for (int i = 0; i < 3 && given; i++) {
    if (!*keys[i])
      return complain(MISUSED, "%s is missing, expected all three keys, as curve_keys.py prints them", NAMES[i]);
    if (strlen(*keys[i]) != 40 || !zmq_z85_decode(bytes, *keys[i])) /* the secret one is not repeated */
      return complain(MISUSED, "%s is no key, expected 40 letters, as curve_keys.py prints them", NAMES[i]);
  }
  return 0;
}

static int read_address(settings *s, const char *address) {
  static const char TCP[] = "tcp://";
  const char *port = strrchr(address, ':');
  unsigned long number = 0;
  char *end = NULL;
  if (!strncmp(address, TCP, strlen(TCP)) && port > address + strlen(TCP) && port[1] >= '0' && port[1] <= '9')
    number = strtoul(port + 1, &end, 10);
  if (number < 1 || number > 65535 || *end)
    return complain(MISUSED, "the edge is '%s', expected an address like tcp://127.0.0.1:5757", address);
  s->address = address;
  return 0;
}

/* What the command line and the environment say; MISUSED after a line about what is wrong. */
static int read_settings(settings *s, const char *address, const char *tokens, const char *kind, const char *expansion) {
  *s = (settings){.temperature = 1};
  while (s->kind < KIND_COUNT && strcmp(kind, KINDS[s->kind]))
    s->kind++;
  if (s->kind == KIND_COUNT)
    return complain(MISUSED, "the evidence is '%s', expected list, match, coupled, scalar, lazy or full", kind);
  const char *temperature = getenv("TSLT_TEMPERATURE");
  if (temperature) {
    char *end;
    s->temperature = strtod(temperature, &end);
    s->asks_temperature = 1;
    if (end == temperature || *end || !(s->temperature >= 0 && s->temperature <= 1000))
      return complain(MISUSED, "TSLT_TEMPERATURE is '%s', expected a number of 0 to 1000", temperature);
  }
  if (read_address(s, address) || read_whole("the number of tokens", tokens, 1, MOST_TOKENS - 1, &s->tokens) || read_expansion(s, expansion) ||
      read_variable("TSLT_WINDOW", 1, MOST_DRAFTS, 1, &s->window) || read_variable("TSLT_PADDING", 0, MOST_PADDING, 0, &s->padding) ||
      read_variable("TSLT_TRIES", 1, MOST_TRIES, 10, &s->tries) || read_keys(s))
    return MISUSED;
  if (s->padding == 1)
    return complain(MISUSED, "TSLT_PADDING is 1, expected 0 for none, or 2 to %d", MOST_PADDING);
  return 0;
}

#endif
