/* Bit fields, varints and the checksum: spec sections 3.2 to 3.4. */
#include "bits.h"

void tslt_put_bits(bit_writer *w, uint32_t value, unsigned width) {
  w->pending |= (uint64_t)value << w->pending_bits;
  w->pending_bits += width;
  while (w->pending_bits >= 8) {
    if (w->size < w->capacity)
      w->out[w->size++] = (uint8_t)w->pending;
    else
      w->error = TSLT_NO_SPACE;
    w->pending >>= 8;
    w->pending_bits -= 8;
  }
}

void tslt_put_varint(bit_writer *w, uint32_t value) {
  for (; value > 0x7F; value >>= 7)
    tslt_put_bits(w, (value & 0x7F) | 0x80, 8);
  tslt_put_bits(w, value, 8);
}

void tslt_put_array(bit_writer *w, const uint32_t *values, size_t count, unsigned width) {
  for (size_t i = 0; i < count; i++)
    tslt_put_bits(w, values[i], width);
}

void tslt_put_align(bit_writer *w) {
  if (w->pending_bits)
    tslt_put_bits(w, 0, 8 - w->pending_bits);
}

static int reader_error(bit_reader *r, int error) {
  if (!r->error)
    r->error = error;
  r->at = r->end;
  return r->error;
}

/* 57 bits or more from bit `at` on; 0 behind the end. */
static inline uint64_t window(const bit_reader *r, uint64_t at) {
  uint64_t byte = at >> 3, bytes = (r->end + 7) >> 3;
  if (byte + 8 <= bytes)
    return load_le64(r->data + byte) >> (at & 7);
  uint64_t value = 0;
  for (unsigned i = 0; byte + i < bytes; i++)
    value |= (uint64_t)r->data[byte + i] << 8 * i;
  return value >> (at & 7);
}

uint32_t tslt_get_bits(bit_reader *r, unsigned width) {
  if (width > bits_left(r)) {
    reader_error(r, TSLT_TRUNCATED);
    return 0;
  }
  uint64_t value = window(r, r->at) & (((uint64_t)1 << width) - 1);
  r->at += width;
  return (uint32_t)value;
}

uint32_t tslt_get_varint(bit_reader *r) {
  uint64_t value = 0;
  for (unsigned i = 0; i < 5; i++) {
    uint32_t group = tslt_get_bits(r, 8);
    if (r->error)
      return 0;
    value |= (uint64_t)(group & 0x7F) << 7 * i;
    if (!(group & 0x80)) {
      if (i && !group)
        return (uint32_t)(reader_error(r, TSLT_NON_CANONICAL), 0);
      if (value > UINT32_MAX)
        break;
      return (uint32_t)value;
    }
  }
  reader_error(r, TSLT_OUT_OF_RANGE);
  return 0;
}

int tslt_get_array(bit_reader *r, uint32_t *values, size_t count, unsigned width) {
  if ((uint64_t)count * width > bits_left(r))
    return reader_error(r, TSLT_TRUNCATED);
  uint64_t mask = ((uint64_t)1 << width) - 1, at = r->at;
  for (size_t i = 0; i < count; i++, at += width)
    values[i] = (uint32_t)(window(r, at) & mask);
  r->at = at;
  return r->error;
}

int tslt_get_align(bit_reader *r) {
  /* A field like any other: its bits are there, because content is whole bytes. */
  if (tslt_get_bits(r, (unsigned)(-r->at & 7)))
    return reader_error(r, TSLT_RESERVED_BITS);
  return r->error;
}

int tslt_get_finish(bit_reader *r) {
  if (bits_left(r) >= 8)
    return TSLT_TRAILING_BYTES;
  return tslt_get_bits(r, (unsigned)bits_left(r)) ? TSLT_RESERVED_BITS : TSLT_OK;
}

const extension_rule tslt_draft_extensions[] = {
    {EXT_CHOICE, 1, 1, EXT_ANY}, {EXT_FLIGHT, 1, 5, EXT_IN_FLIGHT}, {EXT_PADDING, 0, UINT32_MAX, EXT_ZEROS}, {0}};

/* Of a draft in flight one of these bits is 1; behind them there may be a leaf of one that goes on. */
enum { FOLLOWS = 1, GOES_ON = 2 };

static int check_data(const uint8_t *data, uint64_t size, extension_data what) {
  if (what == EXT_NUMBER && size > 1 && !data[size - 1])
    return TSLT_NON_CANONICAL;
  if (what == EXT_IN_FLIGHT && size > 2 && !data[size - 1])
    return TSLT_NON_CANONICAL;
  if (what == EXT_IN_FLIGHT && !(data[0] & (size > 1 ? GOES_ON : FOLLOWS | GOES_ON)))
    return TSLT_OUT_OF_RANGE;
  for (uint64_t i = 0; what == EXT_ZEROS && i < size; i++)
    if (data[i])
      return TSLT_RESERVED_BITS;
  return TSLT_OK;
}

int tslt_check_extensions(bit_reader *r, uint64_t max_extensions, const extension_rule *rules) {
  uint32_t count = tslt_get_varint(r), last = 0;
  if (r->error)
    return r->error;
  if (count > max_extensions)
    return reader_error(r, TSLT_LIMIT_EXCEEDED);
  if (count == 0)
    return reader_error(r, TSLT_NON_CANONICAL);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t type = tslt_get_varint(r);
    uint64_t size = tslt_get_varint(r);
    const extension_rule *rule = rules;
    if (r->error)
      return r->error;
    while (rule->type && rule->type != type)
      rule++;
    bool known = type && rule->type == type;
    if (type & 1 && !known)
      return reader_error(r, TSLT_UNKNOWN_CRITICAL_EXTENSION);
    if (i && type <= last)
      return reader_error(r, TSLT_NON_CANONICAL);
    if (known && (size < rule->least || size > rule->most || (rule->data == EXT_PAIRS && size & 1)))
      return reader_error(r, TSLT_OUT_OF_RANGE);
    if (8 * size > bits_left(r))
      return reader_error(r, TSLT_TRUNCATED);
    int error = known ? check_data(r->data + r->at / 8, size, rule->data) : TSLT_OK;
    if (error)
      return reader_error(r, error);
    r->at += 8 * size;
    last = type;
  }
  return TSLT_OK;
}

/* CRC-32, four bits at a time from a table of 16 for the short and eight tables made of it for the long. */
static const uint32_t CRC_NIBBLE[16] = {0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
                                        0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
                                        0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};

static uint32_t crc_bytewise(uint32_t crc, const uint8_t *data, size_t size) {
  for (size_t i = 0; i < size; i++) {
    crc ^= data[i];
    crc = crc >> 4 ^ CRC_NIBBLE[crc & 15];
    crc = crc >> 4 ^ CRC_NIBBLE[crc & 15];
  }
  return crc;
}

static uint32_t crc_sliced(uint32_t crc, const uint8_t *data, size_t size) {
  /* Made anew for each long frame: 2,048 steps, less than such a frame costs otherwise, and nothing is shared. */
  uint32_t table[8][256];
  for (unsigned i = 0; i < 256; i++) {
    uint32_t value = i >> 4 ^ CRC_NIBBLE[i & 15];
    table[0][i] = value >> 4 ^ CRC_NIBBLE[value & 15];
  }
  for (unsigned k = 1; k < 8; k++)
    for (unsigned i = 0; i < 256; i++)
      table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
  for (; size >= 8; size -= 8, data += 8) {
    uint64_t word = load_le64(data) ^ crc;
    crc = 0;
    for (unsigned k = 0; k < 8; k++)
      crc ^= table[7 - k][word >> 8 * k & 255];
  }
  return crc_bytewise(crc, data, size);
}

uint32_t tslt_crc32(uint32_t start, const uint8_t *data, size_t size) {
  return ~(size < 4096 ? crc_bytewise(~start, data, size) : crc_sliced(~start, data, size));
}
