/* SHA-256 (FIPS 180-4). */
#include "device_hash.h"

#include <string.h>

#include "tslt_device.h"

static const uint32_t ROUNDS[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t turned(uint32_t x, unsigned by) { return x >> by | x << (32 - by); }

static void mix(sha256 *h, const uint8_t *block) {
  uint32_t w[64], s[8];
  for (unsigned i = 0; i < 16; i++, block += 4)
    w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
  for (unsigned i = 16; i < 64; i++) {
    uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + w[i - 7] + (turned(a, 7) ^ turned(a, 18) ^ a >> 3) + (turned(b, 17) ^ turned(b, 19) ^ b >> 10);
  }
  memcpy(s, h->state, sizeof s);
  for (unsigned i = 0; i < 64; i++) {
    uint32_t a = s[0], e = s[4];
    uint32_t first = s[7] + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + ROUNDS[i] + w[i];
    uint32_t second = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof *s);
    s[4] += first;
    s[0] = first + second;
  }
  for (unsigned i = 0; i < 8; i++)
    h->state[i] += s[i];
}

void tslt_sha256_start(sha256 *h) {
  *h = (sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void tslt_sha256_add(sha256 *h, const uint8_t *data, size_t size) {
  for (size_t i = 0; i < size; i++) {
    h->block[h->size++ & 63] = data[i];
    if (!(h->size & 63))
      mix(h, h->block);
  }
}

void tslt_sha256_end(sha256 *h, uint8_t digest[32]) {
  static const uint8_t ZEROS[64] = {0x80};
  uint64_t bits = 8 * h->size;
  uint8_t length[8];
  for (unsigned i = 0; i < 8; i++)
    length[i] = (uint8_t)(bits >> (56 - 8 * i));
  tslt_sha256_add(h, ZEROS, 1 + ((119 - (h->size & 63)) & 63));
  tslt_sha256_add(h, length, sizeof length);
  for (unsigned i = 0; i < 32; i++)
    digest[i] = (uint8_t)(h->state[i / 4] >> (24 - 8 * (i & 3)));
}

void tslt_sha256(const uint8_t *data, size_t size, uint8_t digest[32]) {
  sha256 h;
  tslt_sha256_start(&h);
  tslt_sha256_add(&h, data, size);
  tslt_sha256_end(&h, digest);
}
