/* A link to an edge over ZeroMQ: libzmq moves the bytes, CURVE proves both ends; docs/links.md says what travels. */
#ifndef LINK_H
#define LINK_H

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "tslt_device.h"

enum { FRAME_BYTES = 1 << 20, WINDOW = 64, SILENCE_MS = 2000, OPEN_MS = 5000, ANSWER_MS = 60000, PEER_TIMEOUT_MS = 10000 };

typedef struct {
  void *context, *socket;
  int taken; /* frames that the edge was not told of yet */
  uint8_t frame[FRAME_BYTES];
} zmq_link;

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000L + t.tv_nsec / 1000000;
}

/* A control message is an empty part and a second one; a frame is a single part; an empty part alone is the end. */
static int link_control(zmq_link *l, const uint8_t *data, size_t size) {
  return zmq_send(l->socket, "", 0, ZMQ_SNDMORE) < 0 || zmq_send(l->socket, data, size, 0) < 0 ? -1 : 0;
}

static int link_send(zmq_link *l, const uint8_t *frame, size_t size) {
  return zmq_send(l->socket, frame, size, 0) < 0 ? -1 : 0;
}

/* The next frame, in l->frame; its size, or -1: there is none to come, or none came in `wait_ms`.  Control messages are
 * seen to on the way. */
static long link_receive(zmq_link *l, long wait_ms, int *welcomed) {
  const uint8_t ping = TSLT_LINK_PING;
  for (long start = now_ms(); now_ms() - start < wait_ms;) {
    zmq_pollitem_t item = {l->socket, 0, ZMQ_POLLIN, 0};
    if (zmq_poll(&item, 1, SILENCE_MS) == 0) {
      if (link_control(l, &ping, 1))
        return -1;
      continue;
    }
    int size = zmq_recv(l->socket, l->frame, sizeof l->frame, 0), more = 0;
    size_t length = sizeof more;
    zmq_getsockopt(l->socket, ZMQ_RCVMORE, &more, &length);
    if (size < 0 || (size_t)size > sizeof l->frame || (size == 0 && !more))
      return -1;
    if (!more) {
      if (++l->taken * 2 >= WINDOW) {
        uint8_t told[TSLT_LINK_BYTES];
        link_control(l, told, tslt_link_consumed((uint32_t)l->taken, told));
        l->taken = 0;
      }
      return size;
    }
    tslt_link_control control;
    size = zmq_recv(l->socket, l->frame, sizeof l->frame, 0);
    if (size < 0 || (size_t)size > sizeof l->frame || tslt_link_read(l->frame, (size_t)size, &control))
      return -1;
    if (control.type == TSLT_LINK_WELCOME) {
      *welcomed = 1;
      return 0;
    }
    if (control.type == TSLT_LINK_REFUSE || control.type == TSLT_LINK_LOST) {
      fprintf(stderr, "the edge says: %.*s\n", (int)control.reason.size, (const char *)control.reason.at);
      return -1;
    }
  }
  return -1;
}

/* `edge_key`, `public_key` and `secret_key`: 40 letters of Z85 each, or NULL: a link without keys. */
static int link_open(zmq_link *l, const char *address, const char *edge_key, const char *public_key, const char *secret_key) {
  const tslt_link_limits limits = {FRAME_BYTES, WINDOW, 1 << 23, PEER_TIMEOUT_MS};
  uint8_t hello[TSLT_LINK_BYTES];
  int linger = 500, patience = OPEN_MS, welcomed = 0;
  memset(l, 0, sizeof *l);
  l->context = zmq_ctx_new();
  l->socket = zmq_socket(l->context, ZMQ_DEALER);
  zmq_setsockopt(l->socket, ZMQ_LINGER, &linger, sizeof linger);
  zmq_setsockopt(l->socket, ZMQ_SNDTIMEO, &patience, sizeof patience); /* an edge that turns a key away takes nothing */
  if (edge_key && (zmq_setsockopt(l->socket, ZMQ_CURVE_SERVERKEY, edge_key, 41) ||
                   zmq_setsockopt(l->socket, ZMQ_CURVE_PUBLICKEY, public_key, 41) ||
                   zmq_setsockopt(l->socket, ZMQ_CURVE_SECRETKEY, secret_key, 41)))
    return -1;
  if (zmq_connect(l->socket, address) || link_control(l, hello, tslt_link_hello(&limits, hello)))
    return -1;
  if (link_receive(l, OPEN_MS, &welcomed) == 0 && welcomed)
    return 0;
  fprintf(stderr, "no edge answers at %s: is it there, and does it know this key?\n", address);
  return -1;
}

static void link_close(zmq_link *l) {
  zmq_send(l->socket, "", 0, 0);
  zmq_close(l->socket);
  zmq_ctx_term(l->context);
}

#endif
