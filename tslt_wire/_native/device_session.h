/* What a session holds, all of it in one block. */
#ifndef TSLT_DEVICE_SESSION_H
#define TSLT_DEVICE_SESSION_H

#include "context.h"
#include "device_frames.h"
#include "device_hash.h"

enum { TRANSCRIPT_BYTES = 8, MOST_EOS = 64, MOST_PROPOSALS = 256, ERROR_ROOM = 160, PREFIX = -1, MOST_WINDOW = 16, RUNS = 64 };

/* A draft that waits for its answer, or is drawn.  Every list of it is in the three arrays. */
typedef struct {
  int evidence, precision, without_replacement;
  bool follows, goes_on, forks; /* spec section 6.10; `forks`: it has more leaves than one */
  uint8_t run;
  uint32_t leaf; /* of one that goes on: where */
  int choice; /* which proposal it names; -1: none */
  uint32_t round, prefix_length, prefix_hash;
  uint32_t nodes, lists, entries;
  int32_t *tokens, *parents;
  uint16_t *codes;         /* of evidence `scalar` and `lazy` */
  tslt_list *list;         /* one for each parent that has children, ascending */
  int32_t *list_after;     /* that parent */
  int32_t *ids;
  uint32_t *list_codes;
  int64_t *weights;
} device_draft;

/* What a device has heard of its open round: a token after `node` was rejected. */
typedef struct {
  bool heard;
  int64_t node;
  uint32_t batch;
} rejection;

struct tslt_device {
  tslt_context context;
  const tslt_hello *hello;
  tslt_device_room room;
  bool called; /* a callback runs: until it returns, nothing that changes the session is done */
  int state, request;
  /* HELLO and WELCOME. */
  sha256 greeted; /* the HELLO of this link */
  bool agreed;    /* whether there was a WELCOME, on any link */
  bool resuming;  /* HELLO was of what was agreed on */
  tslt_welcome welcome;
  uint8_t evidence[EVIDENCES], precisions[PRECISIONS]; /* in the edge's order */
  unsigned evidence_count, precision_count;
  const tslt_named_prior *prior;
  uint8_t tokenizer[FINGERPRINT_BYTES], ordinary[FINGERPRINT_BYTES], coupling[KEY_BYTES], token[MOST_TOKEN_BYTES];
  bool has_ordinary;
  int32_t eos[MOST_EOS];
  uint8_t *sampling; /* WELCOME's map */
  size_t sampling_size, sampling_room;
  uint8_t transcript[TRANSCRIPT_BYTES];
  tslt_all_limits peer; /* what the edge takes: before WELCOME the device's own */
  /* The text. */
  int32_t *prefix;
  uint32_t length, prompt_length, crc, epoch;
  bool ended;
  int choice; /* what the next draft has to name: -1 for nothing */
  /* The rounds: drafts in flight, the open one first, and behind them, if there is room, the one that is drawn. */
  uint32_t round;
  device_draft *drafts;
  uint32_t flight;
  uint8_t run; /* of the last draft in flight */
  rejection rejected;
  bool asked;
  uint32_t asked_crc; /* of that ASK_LIST, whose repetitions are old news */
  uint32_t waiting_round, waiting_batch;
  uint32_t proposal_count;
  int64_t proposed_after;
  tslt_proposal proposals[MOST_PROPOSALS];
  /* Frames that wait, one after another, each behind its size. */
  uint8_t *queue;
  size_t queue_size, queue_first, queue_end;
  int64_t *left; /* weights that siblings have left: drafting */
};

/* Room for a frame behind those that wait; how much to `capacity`.  `last`: ERROR and BYE, for which some is kept. */
uint8_t *tslt_queue_room(tslt_device *d, size_t *capacity, bool last);
void tslt_queue_add(tslt_device *d, size_t size);

/* Queue a frame that was written, which the state allows, if the edge's limit does, padded, and go where `what` leads, a kind or
 * an act; AGAIN: nowhere, as it was sent before.  Its size is then that of `w`. */
enum { AGAIN = -1 };
int tslt_finish_frame(tslt_device *d, bit_writer *w, int kind, int what);
/* The same where its size is known, which padding makes more. */
int tslt_queue_frame(tslt_device *d, size_t *size, int kind, int what);
/* How much longer padding makes a frame at most. */
size_t tslt_most_padding(const tslt_hello *hello);
bool tslt_allowed(const tslt_device *d, int kind);
void tslt_move(tslt_device *d, int what);
/* HELLO of a new link; RESUME and the draft of the open round, after WELCOME: 0 or an error of tslt_wire.h. */
int tslt_say_hello(tslt_device *d);
int tslt_say_resume(tslt_device *d, uint32_t *kept);
/* Queue a draft; MORE, of a batch; the list after a node.  `what` as in tslt_finish_frame. */
int tslt_say_draft(tslt_device *d, const device_draft *draft, int what);
int tslt_say_more(tslt_device *d, uint32_t batch, int what);
int tslt_say_list(tslt_device *d, int what);
/* ERROR, if it fits the edge's limit, and the session has failed. */
void tslt_fail_session(tslt_device *d, int code, const char *text);

void tslt_grow_prefix(tslt_device *d, const int32_t *tokens, size_t count);
void tslt_end_round(tslt_device *d);
/* The drafts that follow the open one are dropped: it was not accepted whole. */
void tslt_drop_following(tslt_device *d);
uint32_t tslt_prefix_crc(uint32_t start, const int32_t *tokens, size_t count);
bool tslt_ends_text(const tslt_device *d, int32_t token);
/* The list of a node in a draft that has lists: one that has children. */
const tslt_list *tslt_list_after(const device_draft *draft, int64_t node);
/* A path from the prefix to `node`: its tokens, top down, to `tokens`; how many. */
uint32_t tslt_path(const device_draft *draft, int64_t node, int32_t *tokens);
uint32_t tslt_path_length(const device_draft *draft, int64_t node);
bool tslt_has_child(const device_draft *draft, int64_t node);
/* The draft that is drawn. */
device_draft *tslt_drawn(const tslt_device *d);
/* Copy a list into it.  TSLT_NO_SPACE. */
int tslt_keep_list(tslt_device *d, const tslt_list *list, int32_t parent);
/* Whether a draft may be made now; and the one that was made goes out, checked, as the next round. */
int tslt_may_draft(const tslt_device *d);
int tslt_open_round(tslt_device *d);
/* Whether a draft fits what the edge takes. */
int tslt_check_draft(const tslt_device *d, const device_draft *draft);
/* A list's probability of a token, rounded once: as Python's prob_of. */
double tslt_list_prob(const tslt_list *list, const tslt_prior *prior, uint32_t vocab_size, int64_t token);

#endif
