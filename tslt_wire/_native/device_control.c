/* Control maps: spec section 7.1. */
#include "device_control.h"

enum { MOST_DEPTH = 4, FALSE_TAG = 0xC2, TRUE_TAG = 0xC3, NUMBER_TAG = 0xCB };

/* What a first byte says: the type, how many bytes of a length or a number follow it, and what it holds itself. */
typedef struct {
  int type;
  unsigned bytes, held;
  bool negative; /* a signed integer */
} control_tag;

static control_tag tag_of(uint8_t tag) {
  if (tag < 0x80)
    return (control_tag){CONTROL_INTEGER, 0, tag, false};
  if (tag >= 0xE0)
    return (control_tag){CONTROL_INTEGER, 0, tag, true};
  if (tag < 0x90)
    return (control_tag){CONTROL_MAP, 0, tag & 0x0Fu, false};
  if (tag < 0xA0)
    return (control_tag){CONTROL_ARRAY, 0, tag & 0x0Fu, false};
  if (tag < 0xC0)
    return (control_tag){CONTROL_STRING, 0, tag & 0x1Fu, false};
  switch (tag) {
  case 0xC0:
    return (control_tag){CONTROL_NIL, 0, 0, false};
  case FALSE_TAG:
  case TRUE_TAG:
    return (control_tag){CONTROL_BOOLEAN, 0, tag & 1u, false};
  case 0xC4:
  case 0xC5:
  case 0xC6:
    return (control_tag){CONTROL_BINARY, 1u << (tag - 0xC4), 0, false};
  case NUMBER_TAG:
    return (control_tag){CONTROL_NUMBER, 8, 0, false};
  case 0xD9:
  case 0xDA:
  case 0xDB:
    return (control_tag){CONTROL_STRING, 1u << (tag - 0xD9), 0, false};
  case 0xDC:
  case 0xDD:
    return (control_tag){CONTROL_ARRAY, 2u << (tag - 0xDC), 0, false};
  case 0xDE:
  case 0xDF:
    return (control_tag){CONTROL_MAP, 2u << (tag - 0xDE), 0, false};
  default:
    if (tag >= 0xCC && tag <= 0xCF)
      return (control_tag){CONTROL_INTEGER, 1u << (tag - 0xCC), 0, false};
    if (tag >= 0xD0 && tag <= 0xD3)
      return (control_tag){CONTROL_INTEGER, 1u << (tag - 0xD0), 0, true};
    return (control_tag){-1, 0, 0, false};
  }
}

static uint64_t big_endian(const uint8_t *at, unsigned bytes) {
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes; i++)
    value = value << 8 | at[i];
  return value;
}

control_value tslt_read_control(const uint8_t *at) {
  control_tag tag = tag_of(*at++);
  control_value found = {.type = tag.type, .negative = tag.negative, .next = at + tag.bytes};
  found.number = tag.bytes ? big_endian(at, tag.bytes) : tag.held;
  if (tag.negative) /* sign-extended */
    found.number |= tag.bytes < 8 ? ~(uint64_t)0 << (tag.bytes ? 8 * tag.bytes - 1 : 5) : 0;
  if (tag.type == CONTROL_NUMBER)
    memcpy(&found.real, &found.number, sizeof found.real);
  if (tag.type == CONTROL_STRING || tag.type == CONTROL_BINARY) {
    found.bytes = (tslt_bytes){found.next, (size_t)found.number};
    found.next += found.number;
  }
  return found;
}

/* --------------------------------------------------------------------------------------------------------- checking */

typedef struct {
  const uint8_t *at, *end;
  bool not_finite, not_canonical;
} control_check;

static size_t bytes_left(const control_check *c) { return (size_t)(c->end - c->at); }

bool tslt_is_utf8(const uint8_t *at, size_t size) {
  for (const uint8_t *end = at + size; at < end;) {
    uint8_t lead = *at++;
    unsigned more = lead < 0x80 ? 0 : lead >= 0xC2 && lead < 0xE0 ? 1 : lead >= 0xE0 && lead < 0xF0 ? 2 : lead >= 0xF0 && lead < 0xF5 ? 3 : 4;
    if (more == 4 || (size_t)(end - at) < more)
      return false;
    /* The second byte alone can make it too long, a surrogate, or too large. */
    uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    for (; more; more--, low = 0x80, high = 0xBF, at++)
      if (*at < low || *at > high)
        return false;
  }
  return true;
}

/* Whether fewer bytes could say it. */
static bool is_longer(const control_tag *tag, uint64_t number) {
  if (!tag->bytes || tag->type == CONTROL_NUMBER)
    return false;
  if (tag->type == CONTROL_INTEGER && tag->negative) {
    int64_t value = (int64_t)number;
    int64_t least = tag->bytes == 1 ? -32 : -((int64_t)1 << (4 * tag->bytes - 1));
    return value >= least;
  }
  uint64_t least = (uint64_t)1 << 4 * tag->bytes;
  if (tag->bytes == 1)
    least = tag->type == CONTROL_INTEGER ? 128 : tag->type == CONTROL_STRING ? 32 : 0;
  else if (tag->bytes == 2 && (tag->type == CONTROL_ARRAY || tag->type == CONTROL_MAP))
    least = 16;
  return number < least;
}

static int check_text(control_check *c, uint64_t size, bool is_text) {
  if (size > bytes_left(c))
    return TSLT_TRUNCATED;
  if (is_text && !tslt_is_utf8(c->at, (size_t)size))
    return TSLT_BAD_CONTROL;
  c->at += size;
  return TSLT_OK;
}

static int check_value(control_check *c, unsigned depth);

/* The head of a value: its tag, and its number or how much is in it. */
static int check_head(control_check *c, control_tag *tag, uint64_t *number) {
  if (!bytes_left(c))
    return TSLT_TRUNCATED;
  const uint8_t *start = c->at;
  *tag = tag_of(*c->at++);
  if (tag->type < 0)
    return TSLT_BAD_CONTROL;
  if (bytes_left(c) < tag->bytes)
    return TSLT_TRUNCATED;
  c->at += tag->bytes;
  *number = tag->bytes ? big_endian(start + 1, tag->bytes) : tag->held;
  if (tag->negative && tag->bytes && tag->bytes < 8 && *number >> (8 * tag->bytes - 1))
    *number |= ~(uint64_t)0 << 8 * tag->bytes;
  c->not_canonical |= is_longer(tag, *number);
  return TSLT_OK;
}

static int check_pairs(control_check *c, uint64_t count, unsigned depth) {
  tslt_bytes last = {NULL, 0};
  for (uint64_t i = 0; i < count; i++) {
    control_tag tag;
    uint64_t size;
    if (!bytes_left(c))
      return TSLT_TRUNCATED;
    if (tag_of(*c->at).type != CONTROL_STRING)
      return TSLT_BAD_CONTROL;
    int error = check_head(c, &tag, &size);
    const uint8_t *key = c->at;
    if (!error)
      error = check_text(c, size, true);
    if (error)
      return error;
    if (i) {
      size_t both = last.size < size ? last.size : (size_t)size;
      int order = memcmp(last.at, key, both);
      c->not_canonical |= order > 0 || (order == 0 && last.size >= size);
    }
    last = (tslt_bytes){key, (size_t)size};
    error = check_value(c, depth + 1);
    if (error)
      return error;
  }
  return TSLT_OK;
}

static int check_value(control_check *c, unsigned depth) {
  control_tag tag;
  uint64_t number;
  if (depth > MOST_DEPTH)
    return TSLT_BAD_CONTROL;
  int error = check_head(c, &tag, &number);
  if (error)
    return error;
  double real;
  memcpy(&real, &number, sizeof real);
  switch (tag.type) {
  case CONTROL_NUMBER:
    c->not_finite |= real - real != 0;
    c->not_canonical |= number == (uint64_t)1 << 63;
    return TSLT_OK;
  case CONTROL_STRING:
  case CONTROL_BINARY:
    return check_text(c, number, tag.type == CONTROL_STRING);
  case CONTROL_ARRAY:
    if (number > bytes_left(c))
      return TSLT_TRUNCATED;
    for (uint64_t i = 0; i < number && !error; i++)
      error = check_value(c, depth + 1);
    return error;
  case CONTROL_MAP:
    return number > bytes_left(c) ? TSLT_TRUNCATED : check_pairs(c, number, depth);
  default:
    return TSLT_OK;
  }
}

int tslt_check_control(const uint8_t *data, size_t size) {
  control_check c = {data, data + size, false, false};
  int error = check_value(&c, 0);
  if (error)
    return error;
  if (bytes_left(&c))
    return TSLT_TRAILING_BYTES;
  if (tag_of(*data).type != CONTROL_MAP || c.not_finite)
    return TSLT_BAD_CONTROL;
  return c.not_canonical ? TSLT_NON_CANONICAL : TSLT_OK;
}

/* -------------------------------------------------------------------------------------------------------- looking in */

const uint8_t *tslt_skip_control(const uint8_t *at) {
  control_value found = tslt_read_control(at);
  uint64_t inside = found.type == CONTROL_ARRAY ? found.number : found.type == CONTROL_MAP ? 2 * found.number : 0;
  at = found.next;
  for (uint64_t i = 0; i < inside; i++)
    at = tslt_skip_control(at);
  return at;
}

tslt_bytes tslt_find_control(const uint8_t *map, const char *key) {
  control_value found = tslt_read_control(map);
  const uint8_t *at = found.next;
  size_t size = strlen(key);
  for (uint64_t i = 0; i < found.number; i++) {
    control_value name = tslt_read_control(at);
    const uint8_t *end = tslt_skip_control(name.next);
    if (name.bytes.size == size && !memcmp(name.bytes.at, key, size))
      return (tslt_bytes){name.next, (size_t)(end - name.next)};
    at = end;
  }
  return (tslt_bytes){NULL, 0};
}

/* ---------------------------------------------------------------------------------------------------------- writing */

void tslt_put_raw(bit_writer *w, const void *data, size_t size) {
  const uint8_t *bytes = data;
  for (size_t i = 0; i < size; i++)
    tslt_put_bits(w, bytes[i], 8);
}

static void put_big_endian(bit_writer *w, uint64_t value, unsigned bytes) {
  while (bytes--)
    tslt_put_bits(w, (uint8_t)(value >> 8 * bytes), 8);
}

/* A head: `held` with the value where that is below `most`, else one of the tags for lengths of 1, 2 and 4 bytes. */
static void put_head(bit_writer *w, size_t size, unsigned held, size_t most, unsigned one, unsigned two) {
  if (size < most) {
    tslt_put_bits(w, held | (unsigned)size, 8);
    return;
  }
  unsigned bytes = one && size < 256 ? 1 : size < 65536 ? 2 : 4;
  tslt_put_bits(w, bytes == 1 ? one : bytes == 2 ? two : two + 1, 8);
  put_big_endian(w, size, bytes);
}

void tslt_put_integer(bit_writer *w, uint64_t value) {
  if (value < 128) {
    tslt_put_bits(w, (uint32_t)value, 8);
    return;
  }
  unsigned size = value < 256 ? 0 : value < 65536 ? 1 : value <= UINT32_MAX ? 2 : 3;
  tslt_put_bits(w, 0xCC + size, 8);
  put_big_endian(w, value, 1u << size);
}

void tslt_put_number(bit_writer *w, double value) {
  uint64_t bits;
  value += 0.0; /* no -0.0 */
  memcpy(&bits, &value, sizeof bits);
  tslt_put_bits(w, NUMBER_TAG, 8);
  put_big_endian(w, bits, 8);
}

void tslt_put_string(bit_writer *w, const char *text, size_t size) {
  put_head(w, size, 0xA0, 32, 0xD9, 0xDA);
  tslt_put_raw(w, text, size);
}

void tslt_put_binary(bit_writer *w, const uint8_t *data, size_t size) {
  put_head(w, size, 0, 0, 0xC4, 0xC5);
  tslt_put_raw(w, data, size);
}

void tslt_put_items(bit_writer *w, size_t count) { put_head(w, count, 0x90, 16, 0, 0xDC); }
void tslt_put_pairs(bit_writer *w, size_t count) { put_head(w, count, 0x80, 16, 0, 0xDE); }
