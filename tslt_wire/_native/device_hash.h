/* SHA-256 (FIPS 180-4), piece by piece.  It names handshakes; no secret goes through it. */
#ifndef TSLT_DEVICE_HASH_H
#define TSLT_DEVICE_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint32_t state[8];
  uint64_t size;
  uint8_t block[64];
} sha256;

void tslt_sha256_start(sha256 *h);
void tslt_sha256_add(sha256 *h, const uint8_t *data, size_t size);
void tslt_sha256_end(sha256 *h, uint8_t digest[32]);

#endif
