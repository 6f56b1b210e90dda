/* Shared random numbers: spec section 6.5. */
#include "tslt_wire.h"

typedef struct {
  uint32_t word[4];
} block;

/* Philox4x32-10 (Salmon et al. 2011). */
static inline block philox(block c, uint32_t k0, uint32_t k1) {
  for (unsigned i = 0; i < 10; i++) {
    uint64_t p0 = (uint64_t)c.word[0] * 0xD2511F53u, p1 = (uint64_t)c.word[2] * 0xCD9E8D57u;
    c = (block){{(uint32_t)(p1 >> 32) ^ c.word[1] ^ k0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c.word[3] ^ k1,
                 (uint32_t)p0}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

void tslt_uniforms(const uint8_t key[8], uint32_t epoch, uint32_t position, const int32_t *ids, size_t count,
                   double *numbers) {
  uint64_t words = 0;
  for (unsigned i = 8; i-- > 0;)
    words = words << 8 | key[i];
  uint32_t k0 = (uint32_t)words, k1 = (uint32_t)(words >> 32);
  block last = {{0}};
  for (size_t i = 0; i < count; i++) {
    uint32_t half = (uint32_t)ids[i] >> 1;
    /* One block has the numbers of two tokens; neighbours share it. */
    if (i == 0 || half != (uint32_t)ids[i - 1] >> 1)
      last = philox((block){{half, position, epoch, 0}}, k0, k1);
    const uint32_t *pair = last.word + 2 * (ids[i] & 1);
    numbers[i] = (double)(((uint64_t)pair[0] << 21 | pair[1] >> 11) + 1) * 0x1p-53;
  }
}
