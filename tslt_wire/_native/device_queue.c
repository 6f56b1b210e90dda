/* Frames that wait to be sent, and what every frame goes through: spec section 7.7. */
#include "device_session.h"

enum { SIZE_BYTES = 4 };

/* Bytes that padding to multiples of this many can add: the extension's head takes 3, and a length of 128 or 16,384 bytes
 * is one that no extension has. */
size_t tslt_most_padding(const tslt_hello *hello) { return hello->padding ? 2 * (size_t)hello->padding + 4 : 0; }

uint8_t *tslt_queue_room(tslt_device *d, size_t *capacity, bool last) {
  size_t kept = last ? 0 : ERROR_ROOM + tslt_most_padding(d->hello);
  if (d->queue_first == d->queue_end)
    d->queue_first = d->queue_end = 0;
  if (d->queue_first) { /* all room is behind what waits */
    memmove(d->queue, d->queue + d->queue_first, d->queue_end - d->queue_first);
    d->queue_end -= d->queue_first;
    d->queue_first = 0;
  }
  size_t left = d->queue_size - d->queue_end;
  *capacity = left > kept + SIZE_BYTES ? left - kept - SIZE_BYTES : 0;
  return d->queue + d->queue_end + (*capacity ? SIZE_BYTES : 0);
}

void tslt_queue_add(tslt_device *d, size_t size) {
  uint32_t bytes = (uint32_t)size;
  memcpy(d->queue + d->queue_end, &bytes, SIZE_BYTES);
  d->queue_end += SIZE_BYTES + size;
}

const uint8_t *tslt_device_next(tslt_device *d, size_t *size) {
  uint32_t bytes;
  if (d->called || d->queue_first == d->queue_end) {
    *size = 0;
    return NULL;
  }
  memcpy(&bytes, d->queue + d->queue_first, SIZE_BYTES);
  const uint8_t *frame = d->queue + d->queue_first + SIZE_BYTES;
  d->queue_first += SIZE_BYTES + bytes;
  *size = bytes;
  return frame;
}

static unsigned varint_bytes(size_t value) { return value < 1u << 7 ? 1 : value < 1u << 14 ? 2 : 3; }

/* Bytes of the varint where padding has `rest` bytes for it and its zeros; 0: no length has as many. */
static unsigned length_bytes(size_t rest) {
  for (unsigned bytes = 1; bytes <= 3; bytes++)
    if (varint_bytes(rest - bytes) == bytes)
      return bytes;
  return 0;
}

/* The frame with an extension of zeros that brings it to the next multiple it can be brought to, or as it is where the
 * edge's limits leave no room: spec [PAD-1].  Types and sizes of a device's extensions take a byte each (tslt_say_draft).
 * TSLT_NO_SPACE. */
static int pad(const tslt_device *d, uint8_t *frame, size_t capacity, size_t *size) {
  size_t multiple = d->hello->padding, extended = frame[0] & EXTENSION_FLAG ? 1 : 0, count = extended ? frame[1] : 0;
  size_t block = 0;
  for (size_t i = 0; i < count; i++)
    block += 2 + (size_t)frame[2 + block + 1];
  size_t body = 1 + extended + block, front = 1 + 1 + block + 1, after = *size - body;
  if (!multiple || *size % multiple == 0 || count >= d->peer.frame.max_extensions)
    return TSLT_OK;
  for (size_t wanted = *size + multiple - *size % multiple; wanted <= d->peer.frame.max_frame_bytes; wanted += multiple) {
    unsigned bytes = wanted > front + after ? length_bytes(wanted - front - after) : 0;
    if (!bytes)
      continue;
    if (wanted > capacity)
      return TSLT_NO_SPACE;
    size_t zeros = wanted - front - after - bytes;
    memmove(frame + wanted - after, frame + body, after - CRC_LENGTH);
    frame[0] |= EXTENSION_FLAG;
    frame[1] = (uint8_t)(count + 1);
    bit_writer w = {.out = frame, .capacity = wanted, .size = front - 1};
    tslt_put_varint(&w, EXT_PADDING);
    tslt_put_varint(&w, (uint32_t)zeros);
    memset(frame + w.size, 0, zeros);
    w.size = wanted - CRC_LENGTH;
    return tslt_frame_end(&w, size);
  }
  return TSLT_OK;
}

bool tslt_allowed(const tslt_device *d, int kind) { return tslt_may_send(d->state, kind, 0, d->request); }

void tslt_move(tslt_device *d, int what) {
  d->state = tslt_state_after(d->state, what);
  if (what == TSLT_HELLO || (what >= TSLT_DRAFT_LIST && what <= TSLT_LIST))
    d->request = what;
}

int tslt_queue_frame(tslt_device *d, size_t *size, int kind, int what) {
  if (*size > d->peer.frame.max_frame_bytes)
    return TSLT_BAD_ARGUMENT;
  size_t capacity;
  uint8_t *frame = tslt_queue_room(d, &capacity, kind == TSLT_BYE);
  int error = pad(d, frame, capacity, size);
  if (error)
    return error;
  tslt_queue_add(d, *size);
  if (what != AGAIN)
    tslt_move(d, what);
  return TSLT_OK;
}

int tslt_finish_frame(tslt_device *d, bit_writer *w, int kind, int what) {
  int error = tslt_frame_end(w, &w->size);
  return error ? error : tslt_queue_frame(d, &w->size, kind, what);
}

void tslt_fail_session(tslt_device *d, int code, const char *text) {
  size_t capacity, size;
  uint8_t *room = tslt_queue_room(d, &capacity, true);
  size_t length = text ? strlen(text) : 0;
  tslt_move(d, TSLT_ACT_FAIL);
  for (unsigned tries = 0; tries < 2; tries++, length = 0) { /* less text where there is less room */
    bit_writer w = tslt_frame_start(room, capacity, TSLT_ERROR, NULL);
    tslt_put_pairs(&w, 2);
    tslt_put_string(&w, "code", 4);
    tslt_put_integer(&w, (uint64_t)code);
    tslt_put_string(&w, "message", 7);
    tslt_put_string(&w, text, length);
    if (!tslt_frame_end(&w, &size) && size <= d->peer.frame.max_frame_bytes && !pad(d, room, capacity, &size)) {
      tslt_queue_add(d, size);
      return;
    }
  }
}

int tslt_device_fail(tslt_device *d, int code, const char *text) {
  if (d->called)
    return TSLT_WRONG_STATE;
  if (code < 0 || code > 0xFFFF || (text && !tslt_is_utf8((const uint8_t *)text, strlen(text))))
    return TSLT_BAD_ARGUMENT;
  if (d->state != TSLT_CLOSED && d->state != TSLT_FAILED)
    tslt_fail_session(d, code, text);
  return TSLT_OK;
}

int tslt_device_close(tslt_device *d) {
  size_t capacity;
  if (!d)
    return TSLT_OK;
  if (d->called)
    return TSLT_WRONG_STATE;
  if (d->state == TSLT_CLOSED || d->state == TSLT_FAILED)
    return TSLT_OK;
  uint8_t *room = tslt_queue_room(d, &capacity, true);
  bit_writer w = tslt_frame_start(room, capacity, TSLT_BYE, NULL);
  if (tslt_finish_frame(d, &w, TSLT_BYE, TSLT_BYE)) /* the edge takes no frame as long as this */
    tslt_move(d, TSLT_BYE);
  return TSLT_OK;
}
