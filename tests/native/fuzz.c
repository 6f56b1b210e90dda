/* Changes vectors at random and reads them: bytes that are taken must be the one encoding of what they mean, and
 * nothing may touch memory that is not its own (this is built with sanitizers; see `make sanitize`).
 *
 *   python3 examples/embed_c/vectors.py | ./fuzz SEED CHANGES */
#include "../../examples/embed_c/lines.h"

static uint64_t state;

static uint32_t below(uint32_t count) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(((state >> 32) * count) >> 32);
}

static uint8_t *changed(const vector *v, size_t *size) {
  uint32_t grown = below(4) ? 0 : below(9), kept = (uint32_t)v->size;
  if (!below(4))
    kept = below(kept + 1);
  *size = kept + grown;
  uint8_t *bytes = room(*size, 1);
  memcpy(bytes, v->bytes, kept);
  for (uint32_t i = 0; i < grown; i++)
    bytes[kept + i] = (uint8_t)(below(3) ? below(256) : 0);
  for (uint32_t i = below(4); i > 0 && *size; i--)
    bytes[below((uint32_t)*size)] ^= (uint8_t)(1u << below(8));
  if (*size > 4 && below(8)) {
    uint32_t crc = tslt_crc32(0, bytes, *size - 4);
    for (int i = 0; i < 4 && strcmp(v->kind, "list"); i++)
      bytes[*size - 4 + (size_t)i] = (uint8_t)(crc >> 8 * i);
  }
  return bytes;
}

/* Whether bytes that were read are written again as they were. */
static int same_again(tslt_context *context, const vector *v, const tslt_list *list, const tslt_draft *draft,
                      const uint8_t *bytes, size_t size) {
  uint64_t entries = 0;
  for (uint32_t i = 0; i < draft->list_count; i++)
    entries += draft->lists[i].count;
  size_t capacity = tslt_encode_bound(v->profile.vocab_size, entries + list->count, draft->list_count + 1,
                                      draft->node_count) + draft->extensions_size, written = 0;
  uint8_t *out = room(capacity, 1);
  int error = list->count ? tslt_encode_list(context, &v->profile, list, out, capacity, &written)
                          : tslt_encode_draft(context, &v->profile, draft, out, capacity, &written);
  int same = !error && written == size && !memcmp(out, bytes, size);
  /* A buffer that is too small is an error, and not a byte behind it is written. */
  if (same && size) {
    uint8_t *tight = room(size - 1, 1);
    error = list->count ? tslt_encode_list(context, &v->profile, list, tight, size - 1, &written)
                        : tslt_encode_draft(context, &v->profile, draft, tight, size - 1, &written);
    same = error == TSLT_NO_SPACE;
    free(tight);
  }
  free(out);
  return same;
}

static void fuzz_logits(tslt_context *context, unsigned times) {
  static const double TEMPERATURES[] = {0, 1e-30, 0.3, 1, 2.5, 1e41};
  for (unsigned i = 0; i < times; i++) {
    uint32_t size = 1 + below(i % 8 ? 300 : 5000);
    int dtype = (int)below(4);
    size_t item = dtype == TSLT_FLOAT64 ? 8 : dtype == TSLT_FLOAT32 ? 4 : 2;
    uint8_t *logits = room(size, item);
    for (size_t j = 0; j < size * item; j++)
      logits[j] = (uint8_t)(below(5) ? below(256) & (j % item == item - 1 ? 0xBF : 0xFF) : 0);
    tslt_sparsify_options options = {.temperature = TEMPERATURES[below(6)],
                                     .precision = (int)below(8),
                                     .truncate = below(4) != 0,
                                     .truncation = {below(2) * below(400), below(2) ? 1 : 0.001 * (1 + below(999)),
                                                    below(2) ? 0 : 0.0001 * below(1000)},
                                     .tail_scale = 0.75,
                                     .least_tail = 0.25,
                                     .has_prior = (int)below(2)};
    tslt_list list;
    int error = tslt_sparsify(context, logits, dtype, size, 1, size * item, &options, &list);
    if (error && error != TSLT_BAD_LOGITS)
      exit(4);
    free(logits);
  }
}

int main(int argc, char **argv) {
  state = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
  unsigned changes = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 50, taken = 0, refused = 0, wrong = 0;
  tslt_context *context = tslt_context_new(), *other = tslt_context_new();
  fuzz_logits(context, 40 * changes);
  for (char *line; (line = read_line()) != NULL; free(line)) {
    if (is_shared(line))
      continue;
    vector v;
    read_vector(&v, line);
    /* Long vectors are few and slow. */
    for (unsigned i = 0; i < (v.size > 20000 ? 1 + changes / 50 : changes); i++) {
      size_t size;
      uint8_t *bytes = changed(&v, &size);
      tslt_list list = {0};
      tslt_draft draft = {0};
      int error = strcmp(v.kind, "list") ? tslt_decode_draft(context, &v.profile, &v.limits, bytes, size, &draft)
                                         : tslt_decode_list(context, &v.profile, &v.limits, bytes, size, &list);
      if (error == TSLT_OK && !same_again(other, &v, &list, &draft, bytes, size)) {
        printf("%s: change %u is taken, and is not written again\n", v.id, i);
        wrong++;
      }
      *(error ? &refused : &taken) += 1;
      free(bytes);
    }
    free_vector(&v);
  }
  tslt_context_free(context);
  tslt_context_free(other);
  printf("fuzz: %u changed vectors refused, %u taken, %u wrong\n", refused, taken, wrong);
  return wrong || !taken || !refused;
}
