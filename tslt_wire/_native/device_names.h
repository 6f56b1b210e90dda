/* Names of the registry, by number; and what a control map's array of names says. */
#ifndef TSLT_DEVICE_NAMES_H
#define TSLT_DEVICE_NAMES_H

#include "device_control.h"

enum { EVIDENCES = 5, PRECISIONS = 8, ENTROPIES = 2, SETTINGS = 10 };

extern const char *const tslt_evidence_names[EVIDENCES], *const tslt_precision_names[PRECISIONS],
    *const tslt_entropy_names[ENTROPIES];
/* Fields of the handshake and settings of its sampling. */
extern const char *const tslt_field_names[TSLT_FIELDS], *const tslt_setting_names[SETTINGS];

/* Whether `text` is `name`. */
bool tslt_is_name(tslt_bytes text, const char *name);
/* The number of a name among `count`; -1: it has none. */
int tslt_number_of(tslt_bytes text, const char *const *names, int count);

#endif
