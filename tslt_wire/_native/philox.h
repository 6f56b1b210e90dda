/* Philox4x32-10 (Salmon et al. 2011), as spec section 6.5 uses it: one block has the numbers of two tokens. */
#ifndef TSLT_PHILOX_H
#define TSLT_PHILOX_H

#include <stdint.h>

typedef struct {
  uint32_t word[4];
} philox_block;

static inline philox_block tslt_philox(philox_block c, uint32_t k0, uint32_t k1) {
  for (unsigned i = 0; i < 10; i++) {
    uint64_t p0 = (uint64_t)c.word[0] * 0xD2511F53u, p1 = (uint64_t)c.word[2] * 0xCD9E8D57u;
    c = (philox_block){{(uint32_t)(p1 >> 32) ^ c.word[1] ^ k0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c.word[3] ^ k1,
                        (uint32_t)p0}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/* Spec [RACE-1]: the two halves of a key of 8 bytes, each little-endian. */
static inline void tslt_philox_key(const uint8_t key[8], uint32_t *k0, uint32_t *k1) {
  *k0 = (uint32_t)key[0] | (uint32_t)key[1] << 8 | (uint32_t)key[2] << 16 | (uint32_t)key[3] << 24;
  *k1 = (uint32_t)key[4] | (uint32_t)key[5] << 8 | (uint32_t)key[6] << 16 | (uint32_t)key[7] << 24;
}

/* Spec [RACE-1]: a token's number of two words, in (0, 1]. */
static inline double tslt_number(uint32_t high, uint32_t low) {
  return (double)(((uint64_t)high << 21 | low >> 11) + 1) * 0x1p-53;
}

#endif
