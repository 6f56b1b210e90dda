/* An edge's decisions in a C program: which drafted tokens are kept, and the token that follows them, without Python.
 *
 *   cc -std=c11 -O3 -ffp-contract=off -I tslt_wire/_native -o edge examples/embed_c/edge.c tslt_wire/_native/(all).c
 *   python examples/embed_c/rounds.py | ./edge
 *
 * by_list and its neighbours are the part to look at: one for each kind of evidence of the specification's section 6.
 * The random numbers come from the lines, so that the answers can be compared with those of tslt_wire; an edge of yours
 * takes them from a generator that no device can foresee (section 11). */
#include "rounds.h"

/* Where no more than this is owed a node is settled (section 6.3). */
#define LEAST_HELD 0.125

typedef struct {
  tslt_context *frames, *rows; /* what was read must stay while rows are made: two contexts */
  edge_round *round;
  const int32_t *parents, *tokens;
} edge;

/* A number that is uniform in [0, 1). */
static double next(edge *e) {
  if (e->round->used == e->round->count) {
    printf("%s: more numbers are used than there are\n", e->round->id);
    exit(1);
  }
  return e->round->numbers[e->round->used++];
}

static double next_of(void *e) { return next(e); }

static void stop_at(int error) {
  if (error) {
    printf("error %d\n", error);
    exit(1);
  }
}

/* The target's distribution after a node; a row that nobody asks for is never made. */
static tslt_row *row_after(edge *e, int32_t node) {
  const raw_row *raw = &e->round->rows[1 + node];
  tslt_row *row;
  stop_at(tslt_row_new(e->rows, raw->logits, raw->dtype, e->round->own.profile.vocab_size, &e->round->sampling,
                       &raw->changes, &row));
  return row;
}

/* The next child of `parent` behind node `after`, -1 if there is none. */
static int32_t child_behind(const edge *e, int32_t parent, int32_t after) {
  for (int32_t node = after + 1; node < (int32_t)e->round->nodes; node++)
    if (e->parents[node] == parent)
      return node;
  return -1;
}

/* A node whose children are tried in turn. */
typedef struct {
  tslt_row *row;
  tslt_residual *left;
  int32_t node, child;
} place;

static void close_places(place *path, uint32_t *depth, uint32_t least) {
  while (*depth > least) {
    tslt_residual_free(path[--*depth].left);
    tslt_row_free(path[*depth].row);
  }
}

/* What is owed where the text goes on from this child, 1 if that is settled; 0 if the child is given up. */
static double try_child(edge *e, const place *at) {
  double share = tslt_residual_share(at->left, (uint32_t)e->tokens[at->child]);
  if (share > LEAST_HELD && child_behind(e, at->child, at->child) >= 0)
    return share;
  return next(e) < share;
}

/* A child was given up, and with the last one perhaps its node: the path then ends at the node that goes on.  Whether that
 * is without its children. */
static int ends_here(edge *e, place *path, uint32_t *depth) {
  for (;; close_places(path, depth, *depth - 1)) {
    place *at = &path[*depth - 1];
    double before = tslt_residual_owed(at->left);
    int32_t child = at->child;
    at->child = child_behind(e, at->node, child);
    if (at->child < 0 && before < 1 && !(next(e) < before))
      continue;
    stop_at(tslt_residual_reject(at->left, (uint32_t)e->tokens[child]));
    if (at->child >= 0)
      return 0;
    if (before == 1 || next(e) < tslt_residual_owed(at->left) / before)
      return 1;
  }
}

/* Section 6.3: down the tree, where little is owed with a coin for each node, and from the leaves up. */
static void by_list(edge *e, answer *found) {
  const vector *own = &e->round->own;
  tslt_draft draft;
  stop_at(tslt_decode_draft(e->frames, &own->profile, &own->limits, own->bytes, own->size, &draft));
  e->round->nodes = draft.node_count;
  e->parents = draft.parents;
  e->tokens = draft.tokens;
  place *path = calloc(1 + draft.node_count, sizeof *path);
  if (!path)
    stop_at(TSLT_NO_MEMORY);
  uint32_t depth = 0;
  int32_t child, ends = 0;
  double owed = 1;
  for (found->node = -1; !ends && (child = child_behind(e, found->node, found->node)) >= 0;) {
    uint32_t list = 0;
    while (draft.list_parents[list] != found->node)
      list++;
    if (owed == 1) /* nothing above is given up any more */
      close_places(path, &depth, 0);
    place *at = &path[depth++];
    *at = (place){row_after(e, found->node), NULL, found->node, child};
    stop_at(tslt_residual_new(at->row, &draft.lists[list], own->profile.prior, draft.without_replacement, owed, &at->left));
    do
      owed = try_child(e, &path[depth - 1]);
    while (owed == 0 && !(ends = ends_here(e, path, &depth)));
    found->node = ends ? path[depth - 1].node : path[depth - 1].child;
  }
  if (ends) {
    found->token = tslt_residual_draw(path[depth - 1].left, next(e));
  } else { /* a leaf: the target's own token */
    tslt_row *row = row_after(e, found->node);
    found->token = tslt_row_draw(row, next(e));
    tslt_row_free(row);
  }
  close_places(path, &depth, 0);
  free(path);
}

/* Sections 6.4 and 6.5: the target's own tokens, drawn or first in a race, and the children that have them. */
static void by_match(edge *e, answer *found) {
  const edge_round *r = e->round;
  uint32_t depth = 0;
  for (found->node = -1;; depth++) {
    tslt_row *row = row_after(e, found->node);
    found->token = r->evidence == BY_MATCH
                       ? tslt_row_draw(row, next(e))
                       : tslt_row_race(row, r->key, r->epoch, r->prefix_length + depth);
    tslt_row_free(row);
    int32_t child = child_behind(e, found->node, found->node);
    while (child >= 0 && (uint32_t)e->tokens[child] != found->token)
      child = child_behind(e, found->node, child);
    if (child < 0)
      return;
    found->node = child;
  }
}

/* Section 6.6: a chain, a probability for each token.  A rejection of `scalar` brings proposals, one of `lazy` asks for
 * the list, of which there was no more than a code so far (section 6.8). */
static void by_code(edge *e, answer *found) {
  edge_round *r = e->round;
  const vector *own = &r->own;
  uint32_t child = 0;
  tslt_row *row = row_after(e, -1);
  for (; child < r->nodes; child++) {
    double prob = tslt_row_prob(row, (uint32_t)e->tokens[child]);
    if (r->evidence == BY_SCALAR)
      prob = tslt_grid(tslt_grid_down(prob));
    if (!(next(e) < prob / tslt_grid(r->codes[child])))
      break;
    tslt_row_free(row);
    row = row_after(e, (int32_t)child);
  }
  found->node = (int32_t)child - 1;
  if (child == r->nodes) {
    found->token = tslt_row_draw(row, next(e));
  } else if (r->evidence == BY_SCALAR) {
    found->count = r->proposals;
    tslt_row_propose(row, next_of, e, found->count, found->proposals);
  } else {
    tslt_list list;
    tslt_residual *left;
    stop_at(tslt_decode_list(e->frames, &own->profile, &own->limits, own->bytes, own->size, &list));
    stop_at(tslt_residual_lazy(row, &list, own->profile.prior, &left));
    found->token = tslt_residual_draw(left, next(e));
    tslt_residual_free(left);
  }
  tslt_row_free(row);
}

static const char *check(edge *e) {
  static void (*const rules[])(edge *, answer *) = {by_list, by_match, by_match, by_code, by_code};
  const answer *expected = &e->round->expected;
  static answer found;
  memset(&found, 0, sizeof found);
  e->parents = e->round->parents;
  e->tokens = e->round->tokens;
  uint32_t nodes = e->round->nodes;
  rules[e->round->evidence](e, &found);
  if (e->round->nodes != nodes)
    return "another tree";
  if (found.node != expected->node)
    return "another node";
  if (found.token != expected->token)
    return "another token";
  if (found.count != expected->count ||
      memcmp(found.proposals, expected->proposals, found.count * sizeof *found.proposals))
    return "other proposals";
  return e->round->used == e->round->count ? NULL : "numbers are left over";
}

int main(void) {
  unsigned rounds = 0, wrong = 0, ends[BY_LAZY + 1][2] = {{0}};
  edge e = {.frames = tslt_context_new(), .rows = tslt_context_new()};
  for (char *line; e.frames && e.rows && (line = read_line()) != NULL; free(line)) {
    edge_round round;
    read_round(&round, line);
    e.round = &round;
    const char *problem = check(&e);
    if (problem) {
      printf("%s: %s\n", round.id, problem);
      wrong++;
    }
    rounds++;
    ends[round.evidence][child_behind(&e, round.expected.node, round.expected.node) >= 0]++;
    free_round(&round);
  }
  tslt_context_free(e.frames);
  tslt_context_free(e.rows);
  for (int i = 0; i <= BY_LAZY; i++)
    printf("%s: %u at a leaf, %u before\n", KINDS[i], ends[i][0], ends[i][1]);
  printf("embed_c: %u rounds of an edge, %u wrong\n", rounds, wrong);
  return wrong || !rounds;
}
