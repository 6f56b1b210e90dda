/* Shared random numbers: spec section 6.5. */
#include "philox.h"
#include "tslt_wire.h"

void tslt_uniforms(const uint8_t key[8], uint32_t epoch, uint32_t position, const int32_t *ids, size_t count,
                   double *numbers) {
  uint32_t k0, k1;
  tslt_philox_key(key, &k0, &k1);
  philox_block last = {{0}};
  for (size_t i = 0; i < count; i++) {
    uint32_t half = (uint32_t)ids[i] >> 1;
    /* Neighbours share a block. */
    if (i == 0 || half != (uint32_t)ids[i - 1] >> 1)
      last = tslt_philox((philox_block){{half, position, epoch, 0}}, k0, k1);
    const uint32_t *pair = last.word + 2 * (ids[i] & 1);
    numbers[i] = tslt_number(pair[0], pair[1]);
  }
}
