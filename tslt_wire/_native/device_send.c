/* What a device says: HELLO, PROMPT, drafts, and what comes between a draft and the end of its round. */
#include "device_session.h"
#include "grid.h"
#include "trees.h"
#include "weights.h"

enum { CODE_BITS = 12 };

/* ------------------------------------------------------------------------------------------------------- the text */

uint32_t tslt_prefix_crc(uint32_t start, const int32_t *tokens, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t id = (uint32_t)tokens[i];
    const uint8_t bytes[4] = {(uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16), (uint8_t)(id >> 24)};
    start = tslt_crc32(start, bytes, sizeof bytes);
  }
  return start;
}

void tslt_grow_prefix(tslt_device *d, const int32_t *tokens, size_t count) {
  memmove(d->prefix + d->length, tokens, count * sizeof *tokens);
  d->length += (uint32_t)count;
  d->crc = tslt_prefix_crc(d->crc, tokens, count);
}

void tslt_drop_following(tslt_device *d) {
  d->flight = 1;
  d->round = d->drafts[0].round + 1;
}

void tslt_end_round(tslt_device *d) {
  d->flight = d->proposal_count = 0;
  d->waiting_round = d->round;
  d->waiting_batch = 0;
}

bool tslt_ends_text(const tslt_device *d, int32_t token) {
  for (uint32_t i = 0; i < d->welcome.eos_count; i++)
    if (d->eos[i] == token)
      return true;
  return false;
}

/* --------------------------------------------------------------------------------------------------------- the links */

int tslt_say_hello(tslt_device *d) {
  size_t capacity;
  uint8_t *room = tslt_queue_room(d, &capacity, false);
  bit_writer w = tslt_frame_start(room, capacity, TSLT_HELLO, NULL);
  tslt_agreed agreed = {.evidence = d->evidence, .precisions = d->precisions, .evidence_count = d->evidence_count,
                        .precision_count = d->precision_count, .entropy = d->welcome.profile.entropy,
                        .sampling = {d->sampling, d->sampling_size}, .resume = {d->token, d->welcome.resume_size}};
  if (d->resuming)
    agreed.prior = d->prior->name;
  tslt_write_hello(&w, d->hello, d->resuming ? &agreed : NULL);
  int error = tslt_finish_frame(d, &w, TSLT_HELLO, TSLT_HELLO);
  if (error)
    return error;
  tslt_sha256_start(&d->greeted);
  tslt_sha256_add(&d->greeted, room, w.size);
  return TSLT_OK;
}

int tslt_device_reconnect(tslt_device *d) {
  if (d->called || d->proposal_count) /* no state that a caller sees forbids it */
    return TSLT_WRONG_STATE;
  const int state = d->state;
  const bool resuming = d->resuming;
  const tslt_all_limits peer = d->peer;
  d->queue_first = d->queue_end = 0;
  d->peer = d->hello->limits;
  tslt_move(d, TSLT_ACT_RECONNECT);
  d->resuming = d->agreed && d->length;
  int error = tslt_say_hello(d);
  if (error) {
    d->state = state;
    d->peer = peer;
    d->resuming = resuming;
  }
  return error;
}

/* A draft in flight as it is sent over another link, one of `sent`: [FLIGHT-10]. */
static device_draft resumed(const tslt_device *d, uint32_t i, uint32_t sent) {
  device_draft again = d->drafts[i];
  again.follows = i > 0;
  again.goes_on = again.goes_on && d->welcome.window > 1 && (i + 1 < sent || sent == d->flight);
  again.choice = -1;
  return again;
}

int tslt_say_resume(tslt_device *d, uint32_t *kept) {
  const device_draft *draft = d->drafts;
  const tslt_welcome *w = &d->welcome;
  bool open = d->flight > 0;
  uint32_t length = open ? draft->prefix_length : d->length, sent = d->flight < w->window ? d->flight : w->window;
  bool known = w->held <= length && tslt_prefix_crc(0, d->prefix, w->held) == w->held_hash;
  rejection said = open ? d->rejected : (rejection){false, 0, 0};
  *kept = known ? w->held : 0;
  /* What was taken is part of the prefix that is sent: there is nothing left to choose for the edge. */
  d->choice = -1;
  d->asked = false;
  if (length > w->context)
    return TSLT_BAD_ARGUMENT;
  int error = TSLT_OK;
  for (uint32_t i = 0; i < sent && !error; i++) {
    device_draft again = resumed(d, i, sent);
    error = tslt_check_draft(d, &again);
  }
  if (error)
    return error;
  size_t capacity;
  uint8_t *room = tslt_queue_room(d, &capacity, false);
  bit_writer out = tslt_frame_start(room, capacity, TSLT_RESUME, NULL);
  tslt_put_raw(&out, d->transcript, TRANSCRIPT_BYTES);
  tslt_put_bits(&out, tslt_prefix_crc(0, d->prefix, length), 32);
  tslt_put_varint(&out, d->epoch);
  tslt_put_varint(&out, open ? draft->round : d->round);
  tslt_put_varint(&out, d->prompt_length);
  tslt_put_varint(&out, said.heard ? (uint32_t)(said.node + 2) : 0);
  tslt_put_varint(&out, said.heard ? said.batch : 0);
  tslt_put_varint(&out, *kept);
  tslt_put_varint(&out, length - *kept);
  tslt_put_ids(&out, d->prefix + *kept, length - *kept, w->vocab_size);
  tslt_put_bits(&out, d->ended, 1);
  error = tslt_finish_frame(d, &out, TSLT_RESUME, d->ended ? TSLT_ACT_RESUME_END : TSLT_RESUME);
  for (uint32_t i = 0; i < sent && !error; i++) {
    device_draft again = resumed(d, i, sent);
    error = tslt_say_draft(d, &again, i ? TSLT_ACT_FOLLOW : TSLT_DRAFT_LIST + again.evidence);
  }
  if (error || !open)
    return error;
  for (uint32_t i = 0; i < sent; i++) {
    device_draft again = resumed(d, i, sent);
    d->drafts[i] = again;
  }
  d->flight = sent;
  d->round = d->drafts[sent - 1].round + 1;
  return TSLT_OK;
}

/* --------------------------------------------------------------------------------------------------------- prompts */

int tslt_device_prompt(tslt_device *d, const int32_t *tokens, size_t count, size_t keep, int new_text) {
  const tslt_welcome *w = &d->welcome;
  if (d->called || !tslt_allowed(d, TSLT_PROMPT) || (d->proposal_count && !new_text))
    return TSLT_WRONG_STATE;
  if (keep > d->length || keep + count == 0 || count > w->limits.max_prompt_tokens || keep + count > w->context ||
      keep + count > d->room.most_tokens)
    return TSLT_BAD_ARGUMENT;
  for (size_t i = 0; i < count; i++)
    if (tokens[i] < 0 || (uint32_t)tokens[i] >= w->vocab_size)
      return TSLT_BAD_ARGUMENT;
  /* A choice that no draft has named is not the edge's yet: it is sent again if it is kept. */
  size_t known = d->length - (d->choice >= 0), capacity;
  known = keep < known ? keep : known;
  if (keep - known + count > w->limits.max_prompt_tokens)
    return TSLT_BAD_ARGUMENT;
  uint8_t *room = tslt_queue_room(d, &capacity, false);
  bit_writer out = tslt_frame_start(room, capacity, TSLT_PROMPT, NULL);
  tslt_put_raw(&out, d->transcript, TRANSCRIPT_BYTES);
  tslt_put_varint(&out, d->epoch + 1);
  tslt_put_varint(&out, (uint32_t)known);
  tslt_put_varint(&out, (uint32_t)(keep - known + count));
  tslt_put_ids(&out, d->prefix + known, keep - known, w->vocab_size);
  tslt_put_ids(&out, tokens, count, w->vocab_size);
  int error = tslt_finish_frame(d, &out, TSLT_PROMPT, TSLT_PROMPT);
  if (error)
    return error;
  if (count) /* else they may be NULL */
    memmove(d->prefix + keep, tokens, count * sizeof *tokens);
  d->length = d->prompt_length = (uint32_t)(keep + count);
  d->crc = tslt_prefix_crc(0, d->prefix, d->length);
  d->epoch++;
  d->choice = -1;
  d->ended = false;
  tslt_end_round(d);
  return TSLT_OK;
}

/* ----------------------------------------------------------------------------------------------------------- drafts */

device_draft *tslt_drawn(const tslt_device *d) { return &d->drafts[d->flight]; }

static void write_ids(tslt_device *d, bit_writer *w, const device_draft *t) {
  uint32_t lists;
  tslt_find_inner(&d->context, t->parents, t->nodes, &lists); /* there is memory for the most nodes */
  tslt_write_shape(&d->context, w, t->parents, t->nodes);
  tslt_put_ids(w, t->tokens, t->nodes, d->welcome.vocab_size);
}

static void write_codes(const tslt_device *d, bit_writer *w, const device_draft *t) {
  tslt_put_varint(w, t->nodes);
  tslt_put_ids(w, t->tokens, t->nodes, d->welcome.vocab_size);
  for (uint32_t i = 0; i < t->nodes; i++)
    tslt_put_bits(w, t->codes[i], CODE_BITS);
}

int tslt_say_draft(tslt_device *d, const device_draft *t, int what) {
  int kind = TSLT_DRAFT_LIST + t->evidence;
  uint8_t block[11] = {0};
  size_t capacity, size, used = 1;
  if (t->choice >= 0) {
    memcpy(block + used, (const uint8_t[]){EXT_CHOICE, 1, (uint8_t)t->choice}, 3);
    used += 3;
  }
  block[0] = (uint8_t)(used / 3);
  if (t->follows || t->goes_on) {
    uint8_t *flight = block + used, leaf_bytes = 0;
    flight[0] = EXT_FLIGHT;
    flight[2] = (uint8_t)(t->follows | t->goes_on << 1 | t->run << 2);
    for (uint32_t leaf = t->leaf; t->goes_on && t->forks && (leaf || !leaf_bytes); leaf >>= 8)
      flight[3 + leaf_bytes++] = (uint8_t)leaf;
    flight[1] = (uint8_t)(1 + leaf_bytes);
    used += 3U + leaf_bytes;
    block[0]++;
  }
  const tslt_bytes extensions = {block, used > 1 ? used : 0};
  uint8_t *room = tslt_queue_room(d, &capacity, false);
  if (t->evidence == TSLT_EVIDENCE_LIST) {
    tslt_draft draft = {.round = t->round, .prefix_length = t->prefix_length, .prefix_hash = t->prefix_hash,
                        .precision = t->nodes ? t->precision : 0, .without_replacement = t->without_replacement,
                        .node_count = t->nodes, .parents = t->parents, .tokens = t->tokens, .list_count = t->lists,
                        .lists = t->list, .extensions = extensions.at, .extensions_size = extensions.size};
    int error = tslt_encode_draft(&d->context, &d->welcome.profile, &draft, room, capacity, &size);
    return error ? error : tslt_queue_frame(d, &size, kind, what);
  }
  bit_writer w = tslt_frame_start(room, capacity, kind, &extensions);
  tslt_put_head(&w, t->round, t->prefix_length, t->prefix_hash);
  if (t->evidence >= TSLT_EVIDENCE_SCALAR)
    write_codes(d, &w, t);
  else
    write_ids(d, &w, t);
  return tslt_finish_frame(d, &w, kind, what);
}

static uint32_t depth_of(const device_draft *t, uint32_t *leaves) {
  uint32_t deepest = 0;
  *leaves = 0;
  for (uint32_t i = 0; i < t->nodes; i++) {
    uint32_t depth = 1;
    bool leaf = true;
    for (int32_t node = t->parents[i]; node >= 0; node = t->parents[node])
      depth++;
    for (uint32_t j = i + 1; j < t->nodes && leaf; j++)
      leaf = t->parents[j] != (int32_t)i;
    deepest = depth > deepest ? depth : deepest;
    *leaves += leaf;
  }
  return deepest;
}

int tslt_check_draft(const tslt_device *d, const device_draft *t) {
  const tslt_welcome *w = &d->welcome;
  uint32_t leaves, depth = depth_of(t, &leaves);
  bool sends = t->evidence == TSLT_EVIDENCE_LIST, may = sends || t->evidence == TSLT_EVIDENCE_LAZY;
  uint64_t entries = 0;
  if (!(w->evidence >> t->evidence & 1) || t->nodes > w->limits.frame.max_nodes || leaves > w->limits.frame.max_leaves ||
      depth > w->limits.frame.max_depth || (may && t->lists && !(w->precisions >> t->precision & 1)))
    return TSLT_BAD_ARGUMENT;
  if ((t->follows || t->goes_on) && w->window == 1)
    return TSLT_BAD_ARGUMENT;
  if (t->goes_on && (t->leaf >= t->nodes || tslt_has_child(t, t->leaf)))
    return TSLT_BAD_ARGUMENT;
  for (uint32_t i = 0; i < t->lists && may; i++) {
    entries = sends ? entries + t->list[i].count : t->list[i].count;
    if (entries > w->limits.frame.max_entries)
      return TSLT_BAD_ARGUMENT;
  }
  if ((uint64_t)t->prefix_length + depth > d->room.most_tokens)
    return TSLT_NO_SPACE;
  return (uint64_t)t->prefix_length + depth > w->context ? TSLT_WRONG_STATE : TSLT_OK;
}

/* A tree of the caller's as the draft; its lists are copied.  What no draft can be is refused. */
static int take_tree(tslt_device *d, const tslt_tree *tree) {
  device_draft *t = tslt_drawn(d);
  bool coded = tree->evidence >= TSLT_EVIDENCE_SCALAR, listed = coded || tree->evidence == TSLT_EVIDENCE_LIST;
  if (tree->evidence < 0 || tree->evidence >= EVIDENCES || tree->precision < TSLT_F32 || tree->precision > TSLT_LOG2_4)
    return TSLT_BAD_ARGUMENT;
  if (tree->node_count > d->room.most_nodes)
    return TSLT_NO_SPACE;
  for (uint32_t i = 0; i < tree->node_count; i++) {
    bool chain = tree->parents[i] == (int32_t)i - 1;
    if (tree->parents[i] < PREFIX || tree->parents[i] >= (int64_t)i || (coded && !chain))
      return TSLT_BAD_ARGUMENT;
    if (tree->tokens[i] < 0 || (uint32_t)tree->tokens[i] >= d->welcome.vocab_size)
      return TSLT_BAD_ARGUMENT;
  }
  t->nodes = tree->node_count;
  t->evidence = tree->evidence;
  t->precision = tree->precision;
  t->without_replacement = tree->without_replacement && !coded;
  t->goes_on = tree->goes_on != 0;
  t->leaf = tree->leaf;
  if (t->nodes) { /* else both may be NULL */
    memcpy(t->tokens, tree->tokens, t->nodes * sizeof *t->tokens);
    memcpy(t->parents, tree->parents, t->nodes * sizeof *t->parents);
  }
  t->lists = t->entries = 0;
  if (!listed)
    return TSLT_OK;
  uint32_t inner;
  tslt_find_inner(&d->context, t->parents, t->nodes, &inner);
  if (inner != tree->list_count)
    return TSLT_BAD_ARGUMENT;
  for (uint32_t i = 0; i < inner; i++) {
    if (!tslt_list_ok(d->welcome.vocab_size, t->precision, &tree->lists[i], d->welcome.profile.prior != NULL))
      return TSLT_BAD_ARGUMENT;
    int error = tslt_keep_list(d, &tree->lists[i], ((const int32_t *)d->context.list_parents.at)[i]);
    if (error)
      return error;
  }
  return TSLT_OK;
}

int tslt_keep_list(tslt_device *d, const tslt_list *list, int32_t parent) {
  device_draft *t = tslt_drawn(d);
  if (list->count > d->room.most_entries - t->entries || list->count > d->room.most_listed)
    return TSLT_NO_SPACE;
  t->list_after[t->lists] = parent;
  tslt_list *kept = &t->list[t->lists++];
  *kept = *list;
  kept->ids = memcpy(t->ids + t->entries, list->ids, list->count * sizeof *t->ids);
  kept->codes = memcpy(t->list_codes + t->entries, list->codes, list->count * sizeof *t->list_codes);
  kept->weights = t->weights + t->entries;
  tslt_weigh(t->precision, kept->codes, list->count, t->weights + t->entries);
  t->entries += list->count;
  return TSLT_OK;
}

/* What goes with the tokens: codes; and that each can have been drawn. */
static int find_evidence(tslt_device *d) {
  device_draft *t = tslt_drawn(d);
  bool distinct = t->evidence == TSLT_EVIDENCE_MATCH || t->evidence == TSLT_EVIDENCE_COUPLED || t->without_replacement;
  for (uint32_t i = 0; i < t->nodes && distinct; i++)
    for (uint32_t j = 0; j < i; j++)
      if (t->parents[i] == t->parents[j] && t->tokens[i] == t->tokens[j])
        return TSLT_BAD_ARGUMENT;
  if (t->evidence == TSLT_EVIDENCE_MATCH || t->evidence == TSLT_EVIDENCE_COUPLED)
    return TSLT_OK;
  for (uint32_t i = 0; i < t->nodes; i++) {
    const tslt_list *list = tslt_list_after(t, t->parents[i]);
    double prob = tslt_list_prob(list, d->welcome.profile.prior, d->welcome.vocab_size, t->tokens[i]);
    if (!(prob > 0))
      return TSLT_BAD_ARGUMENT;
    t->codes[i] = (uint16_t)tslt_grid_up(prob);
  }
  return TSLT_OK;
}

int tslt_open_round(tslt_device *d) {
  device_draft *t = tslt_drawn(d);
  bool follows = d->flight > 0;
  uint32_t leaves;
  size_t length;
  const int32_t *ahead = tslt_device_ahead(d, &length);
  t->follows = follows;
  t->run = (uint8_t)(follows || !t->goes_on ? d->run : (d->run + 1) % RUNS);
  t->choice = d->choice;
  t->round = d->round;
  t->prefix_length = (uint32_t)length;
  t->prefix_hash = tslt_prefix_crc(d->crc, ahead + d->length, length - d->length) & 0xFFFF;
  depth_of(t, &leaves);
  t->forks = leaves > 1;
  if (!t->forks)
    t->leaf = t->nodes - 1;
  int error = find_evidence(d);
  if (!error)
    error = tslt_check_draft(d, t);
  if (!error)
    error = tslt_say_draft(d, t, follows ? TSLT_ACT_FOLLOW : TSLT_DRAFT_LIST + t->evidence);
  if (error)
    return error;
  if (t->goes_on) /* what follows it continues it */
    tslt_path(t, t->leaf, d->prefix + length);
  d->flight++;
  d->run = t->run;
  d->round++;
  if (follows)
    return TSLT_OK;
  d->choice = -1;
  d->asked = false;
  d->rejected.heard = false;
  d->waiting_round = t->round;
  d->waiting_batch = 0;
  return TSLT_OK;
}

int tslt_device_may_follow(const tslt_device *d) {
  uint32_t window = d->welcome.window < d->room.most_window ? d->welcome.window : d->room.most_window;
  return d->state == TSLT_OPEN && !d->rejected.heard && d->drafts[d->flight - 1].goes_on && d->flight < window;
}

int tslt_may_draft(const tslt_device *d) {
  bool may = !d->called && !d->proposal_count && (d->state == TSLT_IDLE || tslt_device_may_follow(d));
  return may ? TSLT_OK : TSLT_WRONG_STATE;
}

int tslt_device_send(tslt_device *d, const tslt_tree *tree) {
  int error = tslt_may_draft(d);
  if (!error)
    error = take_tree(d, tree);
  return error ? error : tslt_open_round(d);
}
