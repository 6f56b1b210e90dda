/* A link to an edge over ZeroMQ: libzmq moves the bytes, CURVE proves both ends; docs/links.md says what travels.
 *
 * libzmq would connect again behind our back, and frames could be missing: it is told not to, and its monitor says when the
 * connection is gone.  Another link is the caller's to open.
 */
#ifndef LINK_H
#define LINK_H

#include <time.h>

#include "words.h"

enum { FRAME_BYTES = 1 << 20, WINDOW = 64, SILENCE_MS = 2000, OPEN_MS = 5000, ANSWER_MS = 60000, PEER_TIMEOUT_MS = 10000 };
enum { NEVER_MS = 86400000, MOST_TEXT = 600 /* of a peer, in bytes */ };

/* What comes of a call, beside 0: this link is lost, and another one may do; no link will do.  `why` says why. */
enum { LINK_LOST = -1, LINK_REFUSED = -2, LINK_CONTROL = -3 /* that was no frame */ };

typedef struct {
  void *context, *socket, *monitor;
  int keys, welcomed;
  int taken; /* frames that the edge was not told of yet */
  long heard_ms;
  char why[MOST_TEXT + 64];
  uint8_t frame[FRAME_BYTES];
} zmq_link;

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000L + t.tv_nsec / 1000000;
}

static int link_lose(zmq_link *l, int how, const char *format, ...) {
  va_list rest;
  va_start(rest, format);
  vsnprintf(l->why, sizeof l->why, format, rest);
  va_end(rest);
  return how;
}

/* Text of a peer, less what a terminal would obey. */
static const char *printable(const void *text, size_t size) {
  static char shown[MOST_TEXT + 1];
  const uint8_t *at = text;
  size_t count = size < sizeof shown - 1 ? size : sizeof shown - 1;
  for (size_t i = 0; i < count; i++)
    shown[i] = (char)(at[i] < ' ' || at[i] >= 127 ? '?' : at[i]);
  shown[count] = 0;
  return shown;
}

/* A control message is an empty part and a second one; a frame is a single part; an empty part alone is the end. */
static int link_control(zmq_link *l, const uint8_t *data, size_t size) {
  int failed = zmq_send(l->socket, "", 0, ZMQ_SNDMORE) < 0 || zmq_send(l->socket, data, size, 0) < 0;
  return failed ? link_lose(l, LINK_LOST, "the edge takes nothing: %s", zmq_strerror(zmq_errno())) : 0;
}

static int link_send(zmq_link *l, const uint8_t *frame, size_t size) {
  int failed = zmq_send(l->socket, frame, size, 0) < 0;
  return failed ? link_lose(l, LINK_LOST, "the edge takes nothing: %s", zmq_strerror(zmq_errno())) : 0;
}

/* Why the connection is gone, or never was, by what libzmq's monitor reports: an event's number and value. */
static int link_gone(zmq_link *l) {
  uint8_t report[6] = {0}, address[256];
  uint16_t event;
  uint32_t value;
  zmq_recv(l->monitor, report, sizeof report, 0);
  zmq_recv(l->monitor, address, sizeof address, 0);
  memcpy(&event, report, sizeof event);
  memcpy(&value, report + sizeof event, sizeof value);
  if (l->welcomed)
    return link_lose(l, LINK_LOST, "the connection to the edge is gone");
  switch (event) {
  case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
    return link_lose(l, LINK_REFUSED, "the edge refuses this device's key: it is not on its list");
  case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    if (value != ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
      return link_lose(l, LINK_REFUSED, "something answers that does not speak ZeroMQ properly");
    return link_lose(l, LINK_REFUSED, l->keys ? "the edge has no keys, expected one of TSLT_EDGE_KEY"
                                              : "the edge demands a key, expected TSLT_EDGE_KEY and two more (curve_keys.py)");
  case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
  case ZMQ_EVENT_DISCONNECTED:
    if (l->keys)
      return link_lose(l, LINK_REFUSED, "something answers and hangs up: it has not the key of TSLT_EDGE_KEY");
    return link_lose(l, LINK_LOST, "something answers and hangs up, expected an edge over ZeroMQ");
  default:
    return link_lose(l, LINK_LOST, "nobody answers there; an edge that is up says that it listens");
  }
}

/* What has arrived: the size of a frame in l->frame, LINK_CONTROL for what was seen to, or another of LINK_. */
static long link_take(zmq_link *l) {
  int size = zmq_recv(l->socket, l->frame, sizeof l->frame, 0), more = 0;
  size_t length = sizeof more;
  zmq_getsockopt(l->socket, ZMQ_RCVMORE, &more, &length);
  l->heard_ms = now_ms();
  if (size == 0 && !more)
    return link_lose(l, LINK_LOST, "the edge has closed the link");
  if (size < 0 || (size_t)size > sizeof l->frame || (size > 0 && more))
    return link_lose(l, LINK_LOST, "the edge sent what is no frame");
  if (!more) {
    if (++l->taken * 2 < WINDOW)
      return size;
    uint8_t told[TSLT_LINK_BYTES];
    int taken = l->taken;
    l->taken = 0;
    return link_control(l, told, tslt_link_consumed((uint32_t)taken, told)) ? LINK_LOST : size;
  }
  tslt_link_control control;
  size = zmq_recv(l->socket, l->frame, sizeof l->frame, 0);
  zmq_getsockopt(l->socket, ZMQ_RCVMORE, &more, &length);
  int error = size < 0 || (size_t)size > sizeof l->frame || more ? TSLT_BAD_CONTROL : tslt_link_read(l->frame, (size_t)size, &control);
  if (error)
    return link_lose(l, LINK_LOST, "the edge sent a control message that is none: %s", tslt_error_name(error));
  if (control.type == TSLT_LINK_REFUSE || control.type == TSLT_LINK_LOST)
    return link_lose(l, LINK_LOST, "the edge says: %s", printable(control.reason.at, control.reason.size));
  l->welcomed |= control.type == TSLT_LINK_WELCOME;
  return LINK_CONTROL;
}

/* The next frame, in l->frame: its size, or one of LINK_.  Until the edge has welcomed the link, that is what is awaited: 0. */
static long link_receive(zmq_link *l, long wait_ms) {
  const uint8_t ping = TSLT_LINK_PING;
  const int opening = !l->welcomed;
  const long end = now_ms() + wait_ms;
  for (long left; (left = end - now_ms()) > 0;) {
    zmq_pollitem_t items[] = {{l->socket, 0, ZMQ_POLLIN, 0}, {l->monitor, 0, ZMQ_POLLIN, 0}};
    int ready = zmq_poll(items, 2, left < SILENCE_MS ? left : SILENCE_MS);
    if (ready > 0 && !items[0].revents)
      zmq_poll(items, 1, 0); /* what arrived before the connection went comes first: it may say why */
    if (items[0].revents) {
      long found = link_take(l);
      if (found != LINK_CONTROL)
        return found;
      if (opening && l->welcomed)
        return 0;
    } else if (ready > 0) {
      return link_gone(l);
    } else if (now_ms() - l->heard_ms > PEER_TIMEOUT_MS) {
      return link_lose(l, LINK_LOST, "the edge has said nothing for %d s", PEER_TIMEOUT_MS / 1000);
    } else if (!opening && link_control(l, &ping, 1)) {
      return LINK_LOST;
    }
  }
  return link_lose(l, LINK_LOST, "no answer in %ld s", wait_ms / 1000);
}

static void link_close(zmq_link *l) {
  if (l->socket && l->welcomed)
    zmq_send(l->socket, "", 0, ZMQ_DONTWAIT);
  if (l->monitor)
    zmq_close(l->monitor);
  if (l->socket)
    zmq_close(l->socket);
  if (l->context)
    zmq_ctx_term(l->context);
  l->context = l->socket = l->monitor = NULL;
}

static int set_number(zmq_link *l, int option, int value) { return zmq_setsockopt(l->socket, option, &value, sizeof value); }

/* 0, LINK_LOST or LINK_REFUSED; what did not open is to be closed, too. */
static int link_open(zmq_link *l, const settings *s) {
  static const char WATCH[] = "inproc://monitor";
  const int events = ZMQ_EVENT_CLOSED | ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
  const tslt_link_limits limits = {FRAME_BYTES, WINDOW, 1 << 23, PEER_TIMEOUT_MS};
  uint8_t hello[TSLT_LINK_BYTES];
  memset(l, 0, sizeof *l);
  l->keys = s->edge_key != NULL;
  l->heard_ms = now_ms();
  l->context = zmq_ctx_new();
  l->socket = l->context ? zmq_socket(l->context, ZMQ_DEALER) : NULL;
  l->monitor = l->context ? zmq_socket(l->context, ZMQ_PAIR) : NULL;
  if (!l->socket || !l->monitor || set_number(l, ZMQ_LINGER, 500) || set_number(l, ZMQ_RECONNECT_IVL, NEVER_MS) ||
      set_number(l, ZMQ_SNDTIMEO, OPEN_MS) || zmq_socket_monitor(l->socket, WATCH, events) || zmq_connect(l->monitor, WATCH) ||
      (l->keys && (zmq_setsockopt(l->socket, ZMQ_CURVE_SERVERKEY, s->edge_key, 41) ||
                   zmq_setsockopt(l->socket, ZMQ_CURVE_PUBLICKEY, s->public_key, 41) ||
                   zmq_setsockopt(l->socket, ZMQ_CURVE_SECRETKEY, s->secret_key, 41))))
    return link_lose(l, LINK_REFUSED, "libzmq gives no socket: %s", zmq_strerror(zmq_errno()));
  if (zmq_connect(l->socket, s->address))
    return link_lose(l, LINK_REFUSED, "no address (%s), expected one like tcp://127.0.0.1:5757", zmq_strerror(zmq_errno()));
  if (link_control(l, hello, tslt_link_hello(&limits, hello)))
    return LINK_LOST;
  return (int)link_receive(l, OPEN_MS);
}

#endif
