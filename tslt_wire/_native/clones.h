/* Functions in several versions, for the instruction sets of one kind of machine; the quickest is chosen at load time.
 * All give the same bits: none is compiled with contraction, and sums have a fixed order of lanes. */
#ifndef TSLT_CLONES_H
#define TSLT_CLONES_H

#include <string.h> /* and __GLIBC__: other C libraries do not load functions that are chosen as they are loaded */

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define TSLT_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#define TSLT_GATHERS
#else
#define TSLT_CLONES
#endif

#endif
