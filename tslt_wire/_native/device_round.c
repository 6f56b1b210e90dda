/* Between a draft and the end of its round: proposals (spec section 6.7) and the list that is asked for (6.8). */
#include "device_session.h"
#include "grid.h"
#include "lists.h"
#include "trees.h"

enum { TAIL_PARTS = 32 };

const tslt_list *tslt_list_after(const device_draft *t, int64_t node) {
  uint32_t i = 0;
  while (i + 1 < t->lists && t->list_after[i] != node)
    i++;
  return &t->list[i];
}

double tslt_list_prob(const tslt_list *list, const tslt_prior *prior, uint32_t vocab_size, int64_t token) {
  int64_t rank = tslt_rank(list, token), total = 0, outside = 0;
  if (rank >= 0) {
    for (uint32_t i = 0; i < list->count; i++)
      total += list->weights[i];
    return (double)(list->weights[rank] * (int64_t)(TAIL_PARTS - list->tail)) / (double)(TAIL_PARTS * total);
  }
  if (!list->tail)
    return 0;
  outside = prior->tail[vocab_size];
  for (uint32_t i = 0; i < list->count; i++)
    outside -= prior->tail[list->ids[i] + 1] - prior->tail[list->ids[i]];
  return (double)((prior->tail[token + 1] - prior->tail[token]) * (int64_t)list->tail) / (double)(TAIL_PARTS * outside);
}

int tslt_device_take(tslt_device *d, uint32_t index, int32_t *token) {
  if (d->called || !d->proposal_count)
    return TSLT_WRONG_STATE;
  if (index >= d->proposal_count)
    return TSLT_BAD_ARGUMENT;
  *token = (int32_t)d->proposals[index].token;
  bool ends = tslt_ends_text(d, *token);
  tslt_grow_prefix(d, token, 1);
  if (d->state == TSLT_PROPOSED) /* where the edge gave up meanwhile the text goes on over another link */
    tslt_move(d, ends ? TSLT_ACT_TAKE_END : TSLT_ACT_TAKE);
  d->choice = (int)index;
  d->ended = ends;
  tslt_end_round(d);
  return TSLT_OK;
}

int tslt_say_more(tslt_device *d, uint32_t batch, int what) {
  size_t capacity;
  uint8_t *room = tslt_queue_room(d, &capacity, false);
  bit_writer w = tslt_frame_start(room, capacity, TSLT_MORE, NULL);
  tslt_put_varint(&w, d->drafts[0].round);
  tslt_put_varint(&w, batch - 1);
  return tslt_finish_frame(d, &w, TSLT_MORE, what);
}

int tslt_device_more(tslt_device *d) {
  if (d->called || !d->proposal_count)
    return TSLT_WRONG_STATE;
  int error = d->state == TSLT_PROPOSED ? tslt_say_more(d, d->waiting_batch, TSLT_MORE) : TSLT_OK;
  if (error)
    return error;
  d->rejected = (rejection){true, d->proposed_after, d->waiting_batch};
  d->proposal_count = 0;
  return TSLT_OK;
}

/* Spec section 6.7: what a device keeps a proposal with, to whose token it gives q. */
static double keep_probability(const tslt_proposal *made, double q) {
  if (made->code == GRID_BELOW)
    return 1;
  double share = tslt_grid(made->code) / tslt_grid(tslt_grid_up(q)), accepted = q * (share < 1 ? share : 1);
  return 1 - accepted / tslt_grid(made->code - (uint32_t)(made->up != 0));
}

int tslt_device_choose(tslt_device *d, const tslt_random *random, int32_t *token) {
  if (d->called || !d->proposal_count)
    return TSLT_WRONG_STATE;
  const tslt_list *list = tslt_list_after(d->drafts, d->proposed_after);
  *token = -1;
  for (uint32_t i = 0; i < d->proposal_count; i++) {
    const tslt_proposal *made = &d->proposals[i];
    double q = tslt_list_prob(list, d->welcome.profile.prior, d->welcome.vocab_size, made->token);
    d->called = true;
    double drawn = random->uniform(random->state);
    d->called = false;
    if (drawn < keep_probability(made, q))
      return tslt_device_take(d, i, token);
  }
  return tslt_device_more(d);
}

int tslt_device_list(tslt_device *d) {
  return !d->called && d->asked && tslt_allowed(d, TSLT_LIST) ? tslt_say_list(d, TSLT_LIST) : TSLT_WRONG_STATE;
}

int tslt_say_list(tslt_device *d, int what) {
  const device_draft *t = d->drafts;
  const tslt_profile *p = &d->welcome.profile;
  size_t capacity, size = 0;
  const tslt_list *list = tslt_list_after(t, d->rejected.node);
  uint8_t *room = tslt_queue_room(d, &capacity, false);
  bit_writer w = tslt_frame_start(room, capacity, TSLT_LIST, NULL);
  tslt_put_varint(&w, t->round);
  tslt_put_bits(&w, (uint32_t)t->precision | (uint32_t)p->entropy << 4, 8);
  if (p->entropy == TSLT_ENTROPY_NONE) {
    tslt_write_plain_list(&w, p, t->precision, list);
    return tslt_finish_frame(d, &w, TSLT_LIST, what);
  }
  range_coder c;
  list_model model;
  tslt_list copy = *list;
  tslt_range_write_start(&c, w.out + w.size, w.capacity - w.size);
  tslt_list_model_start(&model, &d->context, &c, p, t->precision);
  int error = tslt_list_model_code(&model, &copy, list->count, true);
  if (!error)
    error = tslt_range_write_finish(&c, &size);
  w.size += size;
  return error ? error : tslt_finish_frame(d, &w, TSLT_LIST, what);
}

/* ---------------------------------------------------------------------------------------------------------- once more */

int tslt_device_again(tslt_device *d) {
  if (d->called)
    return TSLT_WRONG_STATE;
  if (d->state != TSLT_OPEN)
    return TSLT_OK;
  if (d->request == TSLT_MORE)
    return tslt_say_more(d, d->rejected.batch, AGAIN);
  if (d->request == TSLT_LIST)
    return tslt_say_list(d, AGAIN);
  size_t capacity;
  tslt_queue_room(d, &capacity, false); /* what waits is at the front from now on */
  size_t waiting = d->queue_end;
  for (uint32_t i = 0; i < d->flight; i++) {
    int error = tslt_say_draft(d, &d->drafts[i], AGAIN);
    if (error) { /* all of them, or none */
      d->queue_end = waiting;
      return error;
    }
  }
  return TSLT_OK;
}
