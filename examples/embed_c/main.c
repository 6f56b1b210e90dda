/* The kernel in a C program: reads golden vectors and writes them again, without Python.
 *
 *   cc -std=c11 -O3 -ffp-contract=off -I tslt_wire/_native -o embed examples/embed_c/main.c tslt_wire/_native/(all).c
 *   python3 examples/embed_c/vectors.py | ./embed
 *
 * check_list, check_draft and check_shared are the part to look at; lines.h only reads lines. */
#include "lines.h"

static uint8_t *out;
static size_t capacity;

static int same_list(const tslt_list *a, const tslt_list *b) {
  return a->count == b->count && a->tail == b->tail && !memcmp(a->ids, b->ids, a->count * sizeof *a->ids) &&
         !memcmp(a->codes, b->codes, a->count * sizeof *a->codes) &&
         !memcmp(a->weights, b->weights, a->count * sizeof *a->weights);
}

static void reserve(size_t bytes) {
  if (bytes > capacity) {
    free(out);
    out = room(capacity = bytes, 1);
  }
}

static const char *check_list(tslt_context *context, const vector *v) {
  tslt_list list;
  int error = tslt_decode_list(context, &v->profile, &v->limits, v->bytes, v->size, &list);
  if (error != v->error)
    return "another result";
  if (error)
    return NULL;
  if (!same_list(&list, &v->lists[0]))
    return "another list";
  size_t size;
  reserve(tslt_encode_bound(v->profile.vocab_size, v->lists[0].count, 1, 0));
  if (tslt_encode_list(context, &v->profile, &v->lists[0], out, capacity, &size))
    return "it cannot be written";
  return size == v->size && !memcmp(out, v->bytes, size) ? NULL : "other bytes";
}

static const char *check_draft(tslt_context *context, const vector *v) {
  tslt_draft found;
  const tslt_draft *d = &v->draft;
  int error = tslt_decode_draft(context, &v->profile, &v->limits, v->bytes, v->size, &found);
  if (error != v->error)
    return "another result";
  if (error)
    return NULL;
  if (found.round != d->round || found.prefix_length != d->prefix_length || found.prefix_hash != d->prefix_hash ||
      found.precision != d->precision || found.without_replacement != d->without_replacement ||
      found.node_count != d->node_count || found.list_count != d->list_count ||
      found.extensions_size != d->extensions_size)
    return "another draft";
  if (memcmp(found.parents, d->parents, d->node_count * sizeof *d->parents) ||
      memcmp(found.tokens, d->tokens, d->node_count * sizeof *d->tokens))
    return "another tree";
  if (d->extensions_size && memcmp(found.extensions, d->extensions, d->extensions_size))
    return "other extensions";
  uint64_t entries = 0;
  for (uint32_t i = 0; i < d->list_count; entries += d->lists[i++].count)
    if (!same_list(&found.lists[i], &d->lists[i]))
      return "another list";
  size_t size;
  reserve(tslt_encode_bound(v->profile.vocab_size, entries, d->list_count, d->node_count) + d->extensions_size);
  if (tslt_encode_draft(context, &v->profile, d, out, capacity, &size))
    return "it cannot be written";
  return size == v->size && !memcmp(out, v->bytes, size) ? NULL : "other bytes";
}

static const char *check_shared(const shared_numbers *s) {
  double *found = room(s->count, sizeof *found);
  tslt_uniforms(s->key, s->epoch, s->position, s->ids, s->count, found);
  int differ = memcmp(found, s->numbers, s->count * sizeof *found);
  free(found);
  return differ ? "other numbers" : NULL;
}

int main(void) {
  unsigned valid = 0, invalid = 0, wrong = 0;
  tslt_context *context = tslt_context_new();
  for (char *line; context && (line = read_line()) != NULL; free(line)) {
    if (is_shared(line)) {
      shared_numbers s;
      read_shared(&s, line);
      const char *problem = check_shared(&s);
      if (problem) {
        printf("%s: %s\n", s.id, problem);
        wrong++;
      }
      valid++;
      free_shared(&s);
      continue;
    }
    vector v;
    read_vector(&v, line);
    const char *problem = strcmp(v.kind, "list") ? check_draft(context, &v) : check_list(context, &v);
    if (problem) {
      printf("%s: %s\n", v.id, problem);
      wrong++;
    }
    *(v.error ? &invalid : &valid) += 1;
    free_vector(&v);
  }
  tslt_context_free(context);
  free(out);
  printf("embed_c: %u valid and %u invalid vectors, %u wrong\n", valid, invalid, wrong);
  return wrong || !valid || !invalid;
}
