/* Frames of all kinds, read; and those of a device, written. */
#ifndef TSLT_DEVICE_FRAMES_H
#define TSLT_DEVICE_FRAMES_H

#include "bits.h"
#include "device_handshake.h"

enum { CRC_LENGTH = 4, EXTENSION_FLAG = 0x40, COMPRESSED_FLAG = 0x80, KIND_BITS = 0x3F };

/* The data of the extension of a type in a block that was checked; empty if there is none. */
tslt_bytes tslt_extension(tslt_bytes block, uint32_t type);
/* A number of few bytes, little-endian. */
uint64_t tslt_little_endian(tslt_bytes data);

/* A writer of a frame: its kind byte is there, and its block of extensions, if it has one. */
bit_writer tslt_frame_start(uint8_t *out, size_t capacity, int kind, const tslt_bytes *extensions);
/* The checksum; how many bytes in all to `size`.  TSLT_NO_SPACE. */
int tslt_frame_end(bit_writer *w, size_t *size);

void tslt_put_ids(bit_writer *w, const int32_t *ids, size_t count, uint32_t vocab_size);
/* Round and prefix of a draft. */
void tslt_put_head(bit_writer *w, uint32_t round, uint32_t prefix_length, uint32_t prefix_hash);

#endif
