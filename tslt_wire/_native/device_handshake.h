/* The control maps of HELLO, WELCOME and ERROR: read with every check of spec section 7, and HELLO written. */
#ifndef TSLT_DEVICE_HANDSHAKE_H
#define TSLT_DEVICE_HANDSHAKE_H

#include "device_names.h"

enum { MAGIC_BYTES = 4, FINGERPRINT_BYTES = 32, NONCE_BYTES = 16, MOST_TOKEN_BYTES = 64, KEY_BYTES = 8, MOST_PADDING = 1 << 16 };

/* Bodies of `size` bytes. */
int tslt_read_hello(const tslt_all_limits *limits, const uint8_t *data, size_t size, tslt_message *message);
int tslt_read_welcome(const tslt_all_limits *limits, const uint8_t *data, size_t size, tslt_message *message);
int tslt_read_error(const tslt_all_limits *limits, const uint8_t *data, size_t size, tslt_message *message);
/* Limits as a field has them, which was checked. */
tslt_all_limits tslt_limits_of(tslt_bytes field);

/* What a HELLO after the first one asks for: what was agreed on. */
typedef struct {
  const uint8_t *evidence, *precisions;
  unsigned evidence_count, precision_count;
  int entropy;
  const char *prior;
  tslt_bytes sampling, resume; /* WELCOME's map */
} tslt_agreed;

/* Whether a device can say such a HELLO. */
bool tslt_hello_ok(const tslt_hello *hello);
/* The body; `agreed` may be NULL. */
void tslt_write_hello(bit_writer *w, const tslt_hello *hello, const tslt_agreed *agreed);
/* Whether a WELCOME's sampling has the values that `request` names. */
bool tslt_request_kept(const tslt_sampling_request *request, tslt_bytes sampling);

#endif
