/* Bits and bytes: fields, varints, where the bits of a number are.  Nothing here knows a context. */
#ifndef TSLT_BITS_H
#define TSLT_BITS_H

#include <stdbool.h>
#include <string.h>

#include "tslt_wire.h"

static inline unsigned bit_length(uint64_t value) {
#if defined(__GNUC__) || defined(__clang__)
  return value ? 64u - (unsigned)__builtin_clzll(value) : 0;
#else
  unsigned bits = 0;
  for (; value; value >>= 1)
    bits++;
  return bits;
#endif
}

/* The place of the lowest 1 bit; there is one. */
static inline unsigned lowest_bit(uint64_t bits) {
#if defined(__GNUC__) || defined(__clang__)
  return (unsigned)__builtin_ctzll(bits);
#else
  return bit_length(bits & (0u - bits)) - 1;
#endif
}

/* How many of `count` ascending ids are below `token`.  No branch hangs on the ids: which way it went could not be
 * guessed, and a wrong guess costs more than all of this. */
static inline uint32_t count_below(const int32_t *ids, uint32_t count, int64_t token) {
  const int32_t *at = ids;
  while (count > 1) {
    uint32_t half = count / 2;
    at += half & (0u - (uint32_t)(at[half - 1] < token));
    count -= half;
  }
  return (uint32_t)(at - ids) + (count && *at < token);
}

/* Bits of one id: spec, bitlen(V - 1). */
static inline unsigned id_bits(uint32_t vocab_size) { return bit_length(vocab_size - 1); }

/* Eight bytes as a number.  Compilers that are told so make one instruction of it. */
#if defined(__GNUC__) && defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static inline uint64_t load_le64(const uint8_t *p) {
  uint64_t value;
  memcpy(&value, p, sizeof value);
  return value;
}

static inline uint64_t load_be64(const uint8_t *p) { return __builtin_bswap64(load_le64(p)); }

static inline void store_le64(uint8_t *p, uint64_t value) { memcpy(p, &value, sizeof value); }
static inline void store_be64(uint8_t *p, uint64_t value) { store_le64(p, __builtin_bswap64(value)); }
#else
static inline uint64_t load_le64(const uint8_t *p) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; i--)
    value = value << 8 | p[i];
  return value;
}

static inline void store_le64(uint8_t *p, uint64_t value) {
  for (int i = 0; i < 8; i++, value >>= 8)
    p[i] = (uint8_t)value;
}

static inline uint64_t load_be64(const uint8_t *p) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++)
    value = value << 8 | p[i];
  return value;
}

static inline void store_be64(uint8_t *p, uint64_t value) {
  for (int i = 7; i >= 0; i--, value >>= 8)
    p[i] = (uint8_t)value;
}
#endif

/* Fields are appended to `out`; a full buffer is found out by the caller, who looks at `error` at the end. */
typedef struct {
  uint8_t *out;
  size_t capacity, size; /* whole bytes that were written */
  uint64_t pending;
  unsigned pending_bits; /* less than 8 */
  int error;
} bit_writer;

void tslt_put_bits(bit_writer *w, uint32_t value, unsigned width);
void tslt_put_varint(bit_writer *w, uint32_t value);
void tslt_put_array(bit_writer *w, const uint32_t *values, size_t count, unsigned width);
void tslt_put_align(bit_writer *w);

/* The first error stays; fields read after it are 0. */
typedef struct {
  const uint8_t *data;
  uint64_t at, end; /* bits */
  int error;
} bit_reader;

static inline uint64_t bits_left(const bit_reader *r) { return r->end - r->at; }

uint32_t tslt_get_bits(bit_reader *r, unsigned width);
uint32_t tslt_get_varint(bit_reader *r);
int tslt_get_array(bit_reader *r, uint32_t *values, size_t count, unsigned width);
int tslt_get_align(bit_reader *r);
int tslt_get_finish(bit_reader *r);

/* Types of extensions that are known, and what their data has to be (spec section 3.4 and registry). */
enum { EXT_CHOICE = 1, EXT_VERIFY_TIME = 2, EXT_FLIGHT = 3, EXT_LOG_PROBS = 4, EXT_RETRY_AFTER = 6, EXT_PADDING = 32 };
typedef enum { EXT_ANY, EXT_PAIRS, EXT_NUMBER, EXT_IN_FLIGHT, EXT_ZEROS } extension_data;
typedef struct {
  uint32_t type, least, most; /* bytes of its data */
  extension_data data;
} extension_rule;

/* The block of extensions: whether it is one, with no more than `max_extensions`, in a frame that knows the types of
 * `rules`, up to one of type 0. */
int tslt_check_extensions(bit_reader *r, uint64_t max_extensions, const extension_rule *rules);
/* Types that drafts know: which proposal the device took (section 6.7), and how the draft stands among those in flight
 * (6.10). */
extern const extension_rule tslt_draft_extensions[];

#endif
