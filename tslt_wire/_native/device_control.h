/* Control maps, the subset of MessagePack of spec section 7.1: checked as a whole, then looked into; and written. */
#ifndef TSLT_DEVICE_CONTROL_H
#define TSLT_DEVICE_CONTROL_H

#include "bits.h"
#include "tslt_device.h"

enum { CONTROL_NIL, CONTROL_BOOLEAN, CONTROL_INTEGER, CONTROL_NUMBER, CONTROL_STRING, CONTROL_BINARY, CONTROL_ARRAY, CONTROL_MAP };

/* A value of bytes that tslt_check_control has found good. */
typedef struct {
  int type;
  bool negative;       /* an integer; `number` is then its two's complement */
  uint64_t number;     /* an integer, a boolean, how many items or pairs */
  double real;         /* a number */
  tslt_bytes bytes;    /* a string or binary */
  const uint8_t *next; /* behind it; of an array or map its first item */
} control_value;

/* Whether the bytes are a control map, less the check of their size: TSLT_OK or the code of [CTRL-3]. */
int tslt_check_control(const uint8_t *data, size_t size);
control_value tslt_read_control(const uint8_t *at);
/* Behind a value and all that is in it. */
const uint8_t *tslt_skip_control(const uint8_t *at);
/* The value of a key in a map, itself a value; empty if there is none. */
tslt_bytes tslt_find_control(const uint8_t *map, const char *key);

bool tslt_is_utf8(const uint8_t *at, size_t size);

void tslt_put_raw(bit_writer *w, const void *data, size_t size);
void tslt_put_integer(bit_writer *w, uint64_t value);
void tslt_put_number(bit_writer *w, double value);
void tslt_put_string(bit_writer *w, const char *text, size_t size);
void tslt_put_binary(bit_writer *w, const uint8_t *data, size_t size);
/* The heads of an array or a map; what is in it follows. */
void tslt_put_items(bit_writer *w, size_t count);
void tslt_put_pairs(bit_writer *w, size_t count);

#endif
