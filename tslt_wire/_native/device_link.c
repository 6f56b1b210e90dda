/* Control messages of transports, and the proof of a device's key: docs/links.md. */
#include <string.h>

#include "device_hash.h"
#include "tslt_device.h"

enum { VERSION = 1, VARINT_BYTES = 5, LIMITS = 4, NONCE = 32, KEY = 32, SIGNATURE = 64, DIGEST = 32 };
static const char LABEL[] = "tslt-key-1 device on quic"; /* with the 0 behind it */

static size_t put_varint(uint8_t *out, uint64_t value) {
  size_t size = 0;
  for (; value > 0x7F; value >>= 7)
    out[size++] = (uint8_t)(value | 0x80);
  out[size++] = (uint8_t)value;
  return size;
}

size_t tslt_link_hello(const tslt_link_limits *limits, uint8_t *out) {
  size_t size = 0;
  out[size++] = TSLT_LINK_HELLO;
  out[size++] = VERSION;
  const uint64_t all[LIMITS] = {limits->max_frame_bytes, limits->queue_frames, limits->queue_bytes, limits->peer_timeout_ms};
  for (unsigned i = 0; i < LIMITS; i++)
    size += put_varint(out + size, all[i] < UINT32_MAX ? all[i] : UINT32_MAX);
  return size;
}

size_t tslt_link_consumed(uint32_t count, uint8_t *out) {
  out[0] = TSLT_LINK_CONSUMED;
  return 1 + put_varint(out + 1, count);
}

/* A varint at `at`, in its shortest form; 0 for none that is good, which no field may be. */
static uint64_t get_varint(const uint8_t *data, size_t size, size_t *at) {
  uint64_t value = 0;
  for (unsigned i = 0; i < VARINT_BYTES && *at < size; i++) {
    uint8_t byte = data[(*at)++];
    value |= (uint64_t)(byte & 0x7F) << 7 * i;
    if (byte < 0x80)
      return i && !byte ? 0 : value;
  }
  return 0;
}

static int read_limits(const uint8_t *data, size_t size, tslt_link_limits *limits, size_t *end) {
  uint64_t *const all[LIMITS] = {&limits->max_frame_bytes, &limits->queue_frames, &limits->queue_bytes, &limits->peer_timeout_ms};
  size_t at = 1;
  uint64_t version = get_varint(data, size, &at);
  if (version != VERSION) /* it alone has a fixed place in every version to come */
    return version ? TSLT_VERSION_MISMATCH : TSLT_BAD_CONTROL;
  for (unsigned i = 0; i < LIMITS; i++)
    if (!(*all[i] = get_varint(data, size, &at)))
      return TSLT_BAD_CONTROL;
  *end = at;
  return TSLT_OK;
}

int tslt_link_read(const uint8_t *data, size_t size, tslt_link_control *control) {
  size_t end = 1;
  memset(control, 0, sizeof *control);
  if (!size || size > TSLT_LINK_BYTES)
    return TSLT_BAD_CONTROL;
  control->type = data[0];
  switch (data[0]) {
  case TSLT_LINK_WELCOME: /* more bytes may follow: room for later versions */
    return read_limits(data, size, &control->limits, &end);
  case TSLT_LINK_CHALLENGE: {
    int error = read_limits(data, size, &control->limits, &end);
    return error ? error : size - end == NONCE ? TSLT_OK : TSLT_BAD_CONTROL;
  }
  case TSLT_LINK_REFUSE:
  case TSLT_LINK_LOST:
    control->reason = (tslt_bytes){data + 1, size - 1};
    return TSLT_OK;
  case TSLT_LINK_PING:
    return size == 1 ? TSLT_OK : TSLT_BAD_CONTROL;
  case TSLT_LINK_CONSUMED:
    control->count = get_varint(data, size, &end);
    return control->count && end == size ? TSLT_OK : TSLT_BAD_CONTROL;
  default: /* an edge says nothing else */
    return TSLT_BAD_CONTROL;
  }
}

int tslt_link_proof(tslt_bytes certificate, tslt_bytes hello, tslt_bytes challenge, const uint8_t key[32], tslt_sign sign,
                    void *state, uint8_t *out, size_t *size) {
  const tslt_bytes *const parts[] = {&certificate, &hello, &challenge};
  uint8_t said[sizeof LABEL + 3 * DIGEST];
  memcpy(said, LABEL, sizeof LABEL);
  for (unsigned i = 0; i < 3; i++)
    tslt_sha256(parts[i]->at, parts[i]->size, said + sizeof LABEL + i * DIGEST);
  out[0] = TSLT_LINK_PROOF;
  memcpy(out + 1, key, KEY);
  if (sign(state, said, sizeof said, out + 1 + KEY))
    return TSLT_CALLBACK_FAILED;
  *size = 1 + KEY + SIGNATURE;
  return TSLT_OK;
}
