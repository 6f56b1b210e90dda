/* What the lists of a frame remember of each other's ids: spec [RLIST-5] and [RLIST-8].
 *
 * Whether an id is listed again is as good as random, so nothing here branches on it. */
#include "seen.h"

#include "levels.h"

/* Facts of a token: class (2 bits), whether it was in the last list, in how many lists less 1 (2 bits). */
enum { CLASS = 3, RECENT = 4, ONCE_MORE = 8, TIMES = 24 };
/* Looks at a kind of token: how many it starts with, what one counts, above how many both numbers are halved. */
enum { HIT_PRIOR_LOOKS = 32, HIT_STEP = 8, HIT_LOOKS = 256 };

#define PRIOR(h) {{h, HIT_PRIOR_LOOKS}, {h, HIT_PRIOR_LOOKS}, {h, HIT_PRIOR_LOOKS}}
#define PRIORS(a, b, c, d, e, f) PRIOR(a), PRIOR(b), PRIOR(c), PRIOR(1), PRIOR(d), PRIOR(e), PRIOR(f), PRIOR(1)
static const uint16_t HITS[FACTS][3][2] = {PRIORS(4, 3, 3, 10, 10, 9), PRIORS(5, 4, 3, 15, 13, 10),
                                           PRIORS(7, 4, 3, 14, 15, 15), PRIORS(13, 5, 4, 21, 23, 20)};

void tslt_seen_start(list_model *m) {
  m->seen = 0;
  m->context->seen[0].count = 0;
}

static void mark(uint64_t *marks, const int32_t *ids, uint32_t size) {
  for (uint32_t i = 0; i < size; i++)
    marks[ids[i] >> 6] |= (uint64_t)1 << (ids[i] & 63);
}

static inline uint32_t walk(list_model *m, uint32_t size, bool reads) {
  tslt_context *context = m->context;
  const seen_ids *seen = &context->seen[m->seen];
  range_coder c = *m->coder;
  uint64_t *marks = context->marks;
  uint32_t old = 0, lists = (m->lists < 3 ? m->lists : 3) - 1;
  c.reads = reads;
  for (uint32_t i = 0; i < seen->count && old < size && !c.error; i++) {
    if (size - old >= m->vocab_size - i) {
      /* All free ids, and all that are left here, are listed. */
      for (; i < seen->count; i++)
        context->old[old++] = seen->ids[i];
      break;
    }
    int32_t token = seen->ids[i];
    uint16_t *count = m->hits[seen->facts[i]][lists];
    bool listed = !reads && (marks[token >> 6] >> (token & 63) & 1);
    listed = code_chance(&c, listed, count[0], count[1]);
    context->old[old] = token;
    old += listed;
    count[0] = (uint16_t)(count[0] + HIT_STEP * listed);
    count[1] = (uint16_t)(count[1] + HIT_STEP);
    if (count[1] > HIT_LOOKS) {
      count[0] = (uint16_t)((count[0] + 1) >> 1);
      count[1] = (uint16_t)((count[1] >> 1) + 1);
    }
  }
  *m->coder = c;
  return old;
}

uint32_t tslt_seen_write(list_model *m, const int32_t *ids, uint32_t size, int32_t *fresh) {
  tslt_context *context = m->context;
  uint64_t *marks = context->marks;
  mark(marks, ids, size);
  uint32_t old = walk(m, size, false), n = 0;
  for (uint32_t i = 0; i < old; i++)
    marks[context->old[i] >> 6] &= ~((uint64_t)1 << (context->old[i] & 63));
  for (uint32_t i = 0; i < size; i++) {
    fresh[n] = ids[i];
    n += marks[ids[i] >> 6] >> (ids[i] & 63) & 1;
  }
  for (uint32_t i = 0; i < n; i++)
    marks[fresh[i] >> 6] = 0;
  return n;
}

uint32_t tslt_seen_read(list_model *m, uint32_t size) { return size - walk(m, size, true); }

void tslt_seen_merge(const list_model *m, const int32_t *fresh, uint32_t count, int32_t *ids, uint32_t size) {
  const int32_t *old = m->context->old;
  uint32_t i = 0, j = 0, n = 0, olds = size - count;
  for (; i < olds && j < count; n++) {
    bool first = old[i] < fresh[j];
    ids[n] = first ? old[i] : fresh[j];
    i += first;
    j += !first;
  }
  memcpy(ids + n, i < olds ? old + i : fresh + j, (size - n) * sizeof *ids);
}

void tslt_seen_learn(list_model *m, const int32_t *ids, const uint32_t *codes, uint32_t size) {
  tslt_context *context = m->context;
  seen_ids *seen = &context->seen[m->seen], *merged = &context->seen[!m->seen];
  if (!m->lists++)
    memcpy(m->hits, HITS, sizeof HITS);
  if (size > SHARED) {
    for (uint32_t i = 0; i < seen->count; i++)
      seen->facts[i] &= (uint8_t)~RECENT;
    return;
  }
  if (seen->count + size > MAX_SEEN)
    seen->count = 0;
  uint32_t eighth = tslt_nth_code(codes, size, size / 8), half = tslt_nth_code(codes, size, size / 2);
  uint32_t i = 0, j = 0, n = 0;
  for (; i < seen->count && j < size; n++) {
    int32_t a = seen->ids[i], b = ids[j];
    bool is_old = a <= b, is_new = b <= a;
    unsigned facts = seen->facts[i], class = (codes[j] > eighth) + (codes[j] > half);
    unsigned least = (facts & CLASS) < class ? facts & CLASS : class;
    unsigned again = ((facts & TIMES) + ((facts & TIMES) < TIMES ? ONCE_MORE : 0)) | RECENT | least;
    unsigned then = is_new ? again : facts & ~(unsigned)RECENT;
    merged->ids[n] = is_old ? a : b;
    merged->facts[n] = (uint8_t)(is_old ? then : RECENT | class);
    i += is_old;
    j += is_new;
  }
  for (; i < seen->count; i++, n++) {
    merged->ids[n] = seen->ids[i];
    merged->facts[n] = seen->facts[i] & (uint8_t)~RECENT;
  }
  for (; j < size; j++, n++) {
    merged->ids[n] = ids[j];
    merged->facts[n] = (uint8_t)(RECENT | ((codes[j] > eighth) + (codes[j] > half)));
  }
  merged->count = n;
  m->seen = !m->seen;
}
