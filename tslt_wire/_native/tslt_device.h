/* tslt-wire: the device's end of a session, as plain C11: HELLO to BYE, drafts and their evidence, resumption.
 *
 * No I/O, no clock, no threads, no state outside of the session: bytes in and events out, then the next frame out.  All
 * memory of a session is in one block of the caller's, and nothing is allocated after tslt_device_new.  One frame in is
 * one message of the transport.  Left out, and so never offered to an edge: entropy `zstd`.
 *
 * What functions that return a code promise.  TSLT_OK is 0.
 *   Positive: bytes that came were refused, with this code of spec section 9.  Of all functions of a session
 *     tslt_device_receive alone returns one.  Then ERROR is queued, and the state is TSLT_FAILED: send what
 *     tslt_device_next gives, and forget the session, or go on over another link by tslt_device_reconnect: the text and
 *     the open round are kept.  tslt_decode_frame and tslt_link_read, which have no session, return such codes, too.
 *   Negative: the caller's.  Nothing was queued, and the session is as before the call (tslt_device_reconnect says what it
 *     drops even then).
 * Each function names its codes, all of them but this: within a callback of a session (its logits, its random numbers) what
 * takes a `tslt_device *` that is not const does nothing; it says TSLT_WRONG_STATE, and tslt_device_next NULL.  A callback
 * returns: no exception, and no longjmp, may leave it.
 *
 * Pointers must be valid, unless it is said that they may be NULL; one beside a count of 0 may be NULL.
 */
#ifndef TSLT_DEVICE_H
#define TSLT_DEVICE_H

#include "tslt_wire.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Codes that tslt_wire.h has not: there are TSLT_OK, the positive ones of frames, and -1 to -4. */
enum {
  TSLT_BAD_CONTROL = 11,
  TSLT_NOT_TSLT = 13,
  TSLT_BAD_COMPRESSION = 14,
  TSLT_VERSION_MISMATCH = 32,
  TSLT_VOCABULARY_MISMATCH = 33,
  TSLT_TOKENIZER_MISMATCH = 34,
  TSLT_UNSUPPORTED = 35,
  TSLT_TRANSCRIPT_MISMATCH = 36,
  TSLT_PROTOCOL_VIOLATION = 37,
  TSLT_UNKNOWN_SESSION = 38,
  TSLT_DESYNCHRONISED = 39,
  TSLT_CONTEXT_FULL = 40,
  TSLT_OVERLOADED = 41,
  TSLT_INTERNAL = 42,
  TSLT_GOING_AWAY = 43,
  TSLT_WRONG_STATE = -5,    /* the session does not allow it now */
  TSLT_CALLBACK_FAILED = -6 /* a function of the caller's returned anything but 0, whatever it was */
};

/* The name of a code of either header: `bad_tree` for TSLT_BAD_TREE; `unknown` for a number that is none, as an edge of a
 * later version may send.  Positive ones are named as in spec/registry.md.  Never NULL. */
const char *tslt_error_name(int code);

/* Frame kinds (spec section 3.4), beside TSLT_DRAFT_LIST. */
enum {
  TSLT_HELLO = 0x01,
  TSLT_WELCOME = 0x02,
  TSLT_PROMPT = 0x03,
  TSLT_ERROR = 0x04,
  TSLT_BYE = 0x05,
  TSLT_RESUME = 0x06,
  TSLT_VERDICT = 0x08,
  TSLT_VERDICT_PROPOSALS = 0x09,
  TSLT_ASK_LIST = 0x0A,
  TSLT_VERDICT_WHOLE = 0x0B,
  TSLT_DRAFT_MATCH = 0x11,
  TSLT_DRAFT_COUPLED = 0x12,
  TSLT_DRAFT_SCALAR = 0x13,
  TSLT_DRAFT_LAZY = 0x14,
  TSLT_MORE = 0x15,
  TSLT_LIST = 0x16
};

/* Evidence; its draft has the kind TSLT_DRAFT_LIST + this.  `full` is a list of everything. */
enum {
  TSLT_EVIDENCE_LIST = 0,
  TSLT_EVIDENCE_MATCH = 1,
  TSLT_EVIDENCE_COUPLED = 2,
  TSLT_EVIDENCE_SCALAR = 3,
  TSLT_EVIDENCE_LAZY = 4
};

/* States (spec section 7.7). */
enum {
  TSLT_START, TSLT_GREETED,  TSLT_READY, TSLT_IDLE,  TSLT_OPEN,
  TSLT_PROPOSED, TSLT_ASKED, TSLT_ENDED, TSLT_CLOSED, TSLT_FAILED,
  TSLT_STATES
};

/* What changes a state and is no frame kind of its own: numbers above those of kinds. */
enum {
  TSLT_ACT_VERDICT_END = 0x40,
  TSLT_ACT_TAKE = 0x41,
  TSLT_ACT_TAKE_END = 0x42,
  TSLT_ACT_RESUME_END = 0x43,
  TSLT_ACT_RECONNECT = 0x44,
  TSLT_ACT_FAIL = 0x45,
  TSLT_ACT_FOLLOW = 0x46,
  TSLT_ACT_NEXT = 0x47
};

/* Where a frame kind or an act leads from a state; -1: it is not allowed there. */
int tslt_state_after(int state, int what);
/* Whether the edge (`from_edge`), or the device, may send `kind` in `state`; `request` is the last frame of the device
 * that is answered, TSLT_HELLO at first. */
int tslt_may_send(int state, int kind, int from_edge, int request);

/* ---------------------------------------------------------------------------------------------------------- HELLO */

/* Spec section 8, all of it. */
typedef struct {
  tslt_limits frame;
  uint64_t max_prompt_tokens, max_control_bytes;
} tslt_all_limits;

tslt_all_limits tslt_default_all_limits(void);

/* Sampling settings that a device asks for (spec section 7.2): those with their bit in `named`; all others are the
 * target's own. */
enum {
  TSLT_TEMPERATURE = 1 << 0,
  TSLT_TOP_K = 1 << 1,
  TSLT_TOP_P = 1 << 2,
  TSLT_MIN_P = 1 << 3,
  TSLT_REPETITION_PENALTY = 1 << 4,
  TSLT_PRESENCE_PENALTY = 1 << 5,
  TSLT_FREQUENCY_PENALTY = 1 << 6,
  TSLT_LOGIT_BIAS = 1 << 7,
  TSLT_SUPPRESS_TOKENS = 1 << 8,
  TSLT_IGNORE_EOS = 1 << 9
};

typedef struct {
  unsigned named;
  double temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  uint64_t top_k;
  size_t biases, suppressed_count; /* both lists of tokens ascend */
  const int32_t *biased, *suppressed;
  const double *bias;
  int ignore_eos;
} tslt_sampling_request;

/* A prior that a device has (spec section 4.4): `none` with NULL, `density` and `uniform`, or a table's name. */
typedef struct {
  const char *name;
  const tslt_prior *prior; /* for the target's vocabulary; must outlive the session */
} tslt_named_prior;

/* A field that HELLO has besides: `value` is written as it is, one value of a control map (spec section 7.1). */
typedef struct {
  const char *name;
  const uint8_t *value;
  size_t size;
} tslt_field;

/* What a device has, wants and can.  It, and all that it points to, must outlive the session. */
typedef struct {
  uint32_t vocab_size;
  const uint8_t *tokenizer;            /* fingerprint, 32 bytes */
  const uint8_t *ordinary, *token_map; /* 32 bytes each; NULL: not said */
  const char *model;                   /* for people; NULL: "" */
  const int *evidence;                 /* best first; so all of these */
  size_t evidence_count;
  const int *precisions;
  size_t precision_count;
  const int *entropy;
  size_t entropy_count;
  const tslt_named_prior *priors;
  size_t prior_count;
  tslt_all_limits limits; /* what the device accepts */
  const uint8_t *resume;  /* a token of an earlier WELCOME */
  size_t resume_size;     /* 64 at most */
  uint8_t nonce[16];      /* at random */
  tslt_sampling_request sampling;
  int timing, log_probs; /* whether the edge is asked for them */
  uint32_t padding; /* lengths of frames, both ends', are to be multiples of this many bytes, 65,536 at most; 0: any will do */
  const tslt_field *extra;
  size_t extra_count;
  int min_version, max_version; /* 0: TSLT_SPEC_VERSION */
} tslt_hello;

/* HELLO of a device with all evidence, all precisions, the range coder and no prior. */
tslt_hello tslt_default_hello(uint32_t vocab_size, const uint8_t *tokenizer);

/* --------------------------------------------------------------------------------------------------------- memory */

/* How much a session must hold. */
typedef struct {
  uint32_t vocab_size;   /* of the largest target; 0: that of HELLO */
  uint32_t most_tokens;  /* of a text that a draft continues to, prompt included; the edge's own token may be one more */
  uint32_t most_nodes;   /* of a draft */
  uint32_t most_entries; /* listed tokens of a draft, all lists together */
  uint32_t most_listed;  /* of one list; as many as there are tokens: evidence `full` */
  uint32_t most_window;  /* drafts in flight, at most 16, each with such lists; 0: 1 */
  int dtype;             /* of the draft model's logits: half precision takes 4 bytes a token more */
  int by_probability;    /* lists are cut by probability, or have tails: 8 bytes a token more */
  size_t queue_bytes;    /* frames that wait to be sent; 0: as many as these numbers suggest.  The HELLO of a
                          * reconnect is longer than the first one, by the settings and the token of the session */
} tslt_device_room;

typedef struct tslt_device tslt_device;

/* Bytes of a session; 0 for numbers that fit none, for more bytes than an object can have, and for NULL. */
size_t tslt_device_size(const tslt_hello *hello, const tslt_device_room *room);
/* Make one in `block`, which is aligned as malloc's are; HELLO is queued.  TSLT_BAD_ARGUMENT (a HELLO or a room that no
 * session has, a block that is none, NULL), TSLT_NO_SPACE (too few bytes, or queue_bytes): there is no session then. */
int tslt_device_new(void *block, size_t size, const tslt_hello *hello, const tslt_device_room *room,
                    tslt_device **device);

/* ----------------------------------------------------------------------------------------------- bytes in and out */

enum {
  TSLT_NOTHING,   /* the frame was old, or came after the end: receive the next one */
  TSLT_WELCOMED,  /* the edge accepted the session: tslt_device_prompt may follow */
  TSLT_RESUMED,   /* the text goes on over the new link; what is needed is queued */
  TSLT_ANSWERED,  /* VERDICT: the round is over; draft the next one, or, after `end`, see below */
  TSLT_PROPOSALS, /* a token was rejected, others are proposed: tslt_device_choose, until it gives a token */
  TSLT_LIST_WANTED, /* a token was rejected: tslt_device_list */
  TSLT_PEER_FAILED, /* ERROR: the state is TSLT_FAILED; tslt_device_reconnect may follow */
  TSLT_PEER_CLOSED, /* BYE: the state is TSLT_CLOSED; likewise */
  TSLT_WHOLE        /* VERDICT_WHOLE: the oldest draft is accepted down to where it goes on, and no token is added; the next one in
                     * flight is open, and without one the state is TSLT_IDLE */
};

/* What a frame meant.  Pointers are into the frame or the session, until either changes. */
typedef struct {
  int kind;
  const int32_t *tokens; /* what the prefix grew by: accepted tokens, and after ANSWERED the target's own; LIST_WANTED: by
                          * what the verdict will let it grow first */
  uint32_t token_count;
  int64_t node;  /* of answers: the last accepted one; -1: none */
  uint32_t round;
  uint32_t batch; /* of proposals */
  int end;        /* ANSWERED: the text has ended, the state is TSLT_ENDED.  No draft may follow, but tslt_device_prompt, with
                   * another text or more of this one, or tslt_device_close */
  uint32_t kept;  /* RESUMED: tokens of the text that the edge held */
  uint32_t code;  /* PEER_FAILED, or a refusal of one's own; and its message in UTF-8, without a 0 */
  const char *text;
  size_t text_size;
  uint64_t verify_us;   /* time that the edge took; 0: not said */
  uint32_t retry_after; /* PEER_FAILED: milliseconds; 0: not said */
  const uint8_t *log_probs; /* codes of 2 bytes (spec section 6.2), little-endian */
  uint32_t log_prob_count;
} tslt_event;

/* Take one frame.  Positive: it was refused with this code, ERROR is queued and the state is TSLT_FAILED; the event is
 * TSLT_NOTHING, with the code and the text that the edge is told.  tslt_device_reconnect may follow.  Negative within a
 * callback alone: the frame was not looked at, give it again. */
int tslt_device_receive(tslt_device *device, const uint8_t *data, size_t size, tslt_event *event);
/* The next frame to send; NULL if there is none.  Its bytes stay until the next call of a function that takes a
 * `tslt_device *` and is not this one: those that take a `const tslt_device *`, and this one, leave them alone. */
const uint8_t *tslt_device_next(tslt_device *device, size_t *size);
/* Queue all that waits for an answer once more: drafts in flight, MORE or LIST; nothing where nothing does.  For a link
 * that may have lost them, or their answers.  TSLT_NO_SPACE: not all of it fits behind what waits: send that first. */
int tslt_device_again(tslt_device *device);

/* -------------------------------------------------------------------------------------------------------- sending */

/* The prefix becomes its first `keep` tokens, then `tokens`.  `new_text`: also where proposals are open, which are
 * given up: what is written next must be another text (spec [PROP-7]).  Also after the end of a text, which then goes on.
 * TSLT_WRONG_STATE, TSLT_BAD_ARGUMENT (no token, one outside the vocabulary, more than the target or the memory holds),
 * TSLT_NO_SPACE. */
int tslt_device_prompt(tslt_device *device, const int32_t *tokens, size_t count, size_t keep, int new_text);

/* A draft.  Lists are those that the tokens were drawn from, in ascending order of their parents, one for each: for
 * `list`, which sends them, `scalar` and `lazy`, which need them if a token is rejected. */
typedef struct {
  int evidence;
  int precision;           /* of all lists */
  int without_replacement; /* `list`: how siblings were drawn */
  int goes_on;             /* spec section 6.10: where it is accepted down to `leaf` the edge adds no token */
  uint32_t leaf;           /* of a tree that goes on: one of its leaves; not read of a chain, which goes on from its end */
  uint32_t node_count;
  const int32_t *parents, *tokens;
  uint32_t list_count;
  const tslt_list *lists;
} tslt_tree;

/* Queue it: the next round; while tslt_device_may_follow, one that follows the last one in flight.  TSLT_WRONG_STATE,
 * TSLT_BAD_ARGUMENT (no tree, no list, a token that its list cannot have given, what was not agreed on, more than the edge
 * takes), TSLT_NO_SPACE.  A draft deeper than tslt_device_depth is the first where the text would outgrow the edge's
 * context, the second where it is deeper than the edge takes, the third where most_tokens is less than both allow. */
int tslt_device_send(tslt_device *device, const tslt_tree *tree);

/* Random numbers that the edge does not know.  They cannot fail: where their source does, end the program. */
typedef struct {
  uint64_t (*below)(void *state, uint64_t size); /* uniform in 0 ... size - 1 */
  double (*uniform)(void *state);                /* uniform in [0, 1), 53 bits */
  void *state;
} tslt_random;

/* Take one of the open proposals, as the law of the text demands; its token, or -1: none fitted, and MORE is queued.
 * Where the token ends the text the state is TSLT_ENDED, as after `end`.  TSLT_WRONG_STATE: none are open.
 * TSLT_NO_SPACE: none fitted, and MORE does not fit behind what waits: send that, then call tslt_device_more; to choose
 * once more would bias the text. */
int tslt_device_choose(tslt_device *device, const tslt_random *random, int32_t *token);
/* Take proposal `index`, if another function chose it; or ask for others.  TSLT_WRONG_STATE: none are open.
 * TSLT_BAD_ARGUMENT: there is no such one.  TSLT_NO_SPACE (tslt_device_more). */
int tslt_device_take(tslt_device *device, uint32_t index, int32_t *token);
int tslt_device_more(tslt_device *device);
/* Send the list that was asked for.  TSLT_WRONG_STATE: none was.  TSLT_NO_SPACE; TSLT_BAD_ARGUMENT: it is longer than the
 * edge takes. */
int tslt_device_list(tslt_device *device);
/* Say BYE, if the edge takes as long a frame; nothing if the session is over, or NULL.  TSLT_OK. */
int tslt_device_close(tslt_device *device);
/* Give up, and tell the edge why: `code` is one of spec section 9, `text` is UTF-8 or NULL; nothing if the session is over.
 * TSLT_BAD_ARGUMENT: a code outside 0 to 65,535, or a text that is not UTF-8. */
int tslt_device_fail(tslt_device *device, int code, const char *text);
/* Begin anew on another link, also after a positive code of tslt_device_receive, TSLT_PEER_FAILED, TSLT_PEER_CLOSED,
 * tslt_device_fail and tslt_device_close: HELLO is queued, and what was queued is dropped.  WELCOME is TSLT_RESUMED then,
 * which queues what was open; TSLT_WELCOMED if there is no text yet.  TSLT_WRONG_STATE while proposals are open: take one,
 * or ask for more.  TSLT_NO_SPACE, TSLT_BAD_ARGUMENT: HELLO, longer by what was agreed on, does not fit queue_bytes, or
 * the device's own max_frame_bytes; what was queued is dropped, all else is as before. */
int tslt_device_reconnect(tslt_device *device);

/* ------------------------------------------------------------------------------------------------------- drafting */

/* How a tree is drawn. */
typedef struct {
  int evidence;
  const uint32_t *expansion; /* children of a node at each level; all 1: a chain */
  uint32_t levels;
  int dtype; /* of the rows: the room's */
  double temperature;
  int truncate;               /* 0: all tokens are listed */
  tslt_truncation truncation; /* 0 of top_k, of top_p (here, not in tslt_sparsify) and of min_prob: that one is off */
  int precision; /* of lists that travel */
  int without_replacement;
  double tail_scale; /* with a prior: part of what is left out that tails have */
  int goes_on;       /* as in tslt_tree, from the leaf below each level's first node */
} tslt_drafting;

/* The tree so far; the nodes from `first` on, `count` in all, are new.  At first there are none: the row after the prefix
 * is wanted. */
typedef struct {
  uint32_t first, count;
  const int32_t *parents, *tokens;
} tslt_nodes;

/* Give the raw logits after each new node, one row after another, `row_bytes` apart, for as long as nothing else is
 * asked for: HELLO's vocab_size numbers each.  -inf for a token that must not be drafted.  Anything but 0, or no rows: it
 * has failed.  `row_bytes` is not read of one row; of more it is at least a row, a multiple of a number's bytes, and
 * all of them fit PTRDIFF_MAX. */
typedef int (*tslt_logits)(void *state, const tslt_nodes *nodes, const void **rows, size_t *row_bytes);

/* Draw a tree and send it.  Codes as tslt_device_send (TSLT_BAD_ARGUMENT also: no expansion, such `row_bytes`);
 * TSLT_CALLBACK_FAILED: `logits` has; TSLT_BAD_LOGITS: NaN, +inf, or nothing finite.  The session is then as before, but
 * random numbers may have been drawn. */
int tslt_device_draft(tslt_device *device, const tslt_drafting *how, tslt_logits logits, void *state,
                      const tslt_random *random);

/* ------------------------------------------------------------------------------------------------- what it knows */

/* WELCOME, once it is there. */
typedef struct {
  uint32_t vocab_size, context; /* context: most tokens of a text, as most_tokens */
  uint32_t window;              /* drafts that the edge takes before it has answered the first of them */
  tslt_profile profile;
  tslt_all_limits limits;
  unsigned evidence, precisions; /* a bit for each that was agreed on */
  const int32_t *eos_tokens;
  uint32_t eos_count;
  const uint8_t *coupling; /* 8 bytes; NULL without evidence `coupled` */
  const uint8_t *resume;
  size_t resume_size;
  int resumed;
  uint32_t held, held_hash;
} tslt_welcome;

int tslt_device_state(const tslt_device *device);
const int32_t *tslt_device_prefix(const tslt_device *device, size_t *count);
/* The same, and behind it the tokens of drafts in flight: what the next draft continues.  The callback of
 * tslt_device_draft goes by this one. */
const int32_t *tslt_device_ahead(const tslt_device *device, size_t *count);
size_t tslt_device_prompt_length(const tslt_device *device);
uint32_t tslt_device_round(const tslt_device *device); /* the next draft's */
/* Whether a draft may be sent before the open one is answered: the last one in flight goes on, and the edge and the
 * memory take one more. */
int tslt_device_may_follow(const tslt_device *device);
/* Depth that the next draft may have, once there was WELCOME; 0: the edge's own token alone is to come; -1: the text is
 * full. */
int64_t tslt_device_depth(const tslt_device *device);
/* NULL before WELCOME. */
const tslt_welcome *tslt_device_welcome(const tslt_device *device);
/* The open proposals; `count` 0: there are none. */
const tslt_proposal *tslt_device_proposals(const tslt_device *device, uint32_t *count);

/* --------------------------------------------------------------------------------------------------------- frames */

/* A slice of a frame. */
typedef struct {
  const uint8_t *at;
  size_t size;
} tslt_bytes;

/* Fields of HELLO and WELCOME, in this order. */
enum {
  TSLT_FIELD_VOCAB_SIZE,
  TSLT_FIELD_TOKENIZER,
  TSLT_FIELD_TRANSCRIPT,
  TSLT_FIELD_MODEL,
  TSLT_FIELD_SAMPLING,
  TSLT_FIELD_EVIDENCE,
  TSLT_FIELD_PRECISIONS,
  TSLT_FIELD_ENTROPY,
  TSLT_FIELD_PRIOR,
  TSLT_FIELD_LIMITS,
  TSLT_FIELD_CONTEXT,
  TSLT_FIELD_EOS_TOKENS,
  TSLT_FIELD_COUPLING,
  TSLT_FIELD_RESUME,
  TSLT_FIELD_RESUMED,
  TSLT_FIELD_HELD,
  TSLT_FIELD_HELD_HASH,
  TSLT_FIELD_NONCE,
  TSLT_FIELD_ORDINARY,
  TSLT_FIELD_TOKEN_MAP,
  TSLT_FIELD_BEGINS,
  TSLT_FIELDS
};

/* A frame of any kind.  What its kind has not is 0; pointers are into the frame, or the context until its next call. */
typedef struct {
  int kind;
  tslt_bytes extensions; /* the block of spec section 3.4 from its count on */
  uint32_t round, batch;
  int64_t node; /* VERDICT, VERDICT_PROPOSALS, ASK_LIST; RESUME: the rejected one, -2 for none */
  int32_t token;
  int end; /* VERDICT, RESUME */
  uint32_t epoch, keep, prefix_crc, prompt_length;
  const uint8_t *transcript; /* PROMPT, RESUME: 8 bytes */
  uint32_t count;            /* of tokens of PROMPT and RESUME, of proposals, of codes */
  const int32_t *tokens;
  const uint32_t *codes; /* DRAFT_SCALAR, DRAFT_LAZY */
  tslt_proposal proposals[256];
  tslt_draft draft; /* drafts; lists of DRAFT_LIST alone */
  int precision;    /* LIST */
  tslt_list list;
  uint32_t code; /* ERROR */
  tslt_bytes text;
  int min_version, max_version;   /* HELLO; WELCOME: both its version */
  tslt_bytes fields[TSLT_FIELDS]; /* HELLO and WELCOME: values as they are on the wire, empty where one is missing */
} tslt_message;

/* Read a frame of any kind.  The codes of spec section 9; TSLT_BAD_ARGUMENT: a profile that no frame has, entropy `zstd`
 * among them; TSLT_NO_MEMORY. */
int tslt_decode_frame(tslt_context *context, const tslt_profile *profile, const tslt_all_limits *limits,
                      const uint8_t *data, size_t size, tslt_message *message);

/* ---------------------------------------------------------------------------------------------------------- links */

/* Control messages of the transports, which travel beside frames (docs/links.md).  A link opens with the device's HELLO
 * and the edge's WELCOME, these, not the session's. */
enum {
  TSLT_LINK_HELLO = 1,
  TSLT_LINK_WELCOME = 2,
  TSLT_LINK_REFUSE = 3,
  TSLT_LINK_PING = 4,
  TSLT_LINK_CONSUMED = 5,
  TSLT_LINK_LOST = 6,
  TSLT_LINK_CHALLENGE = 7,
  TSLT_LINK_PROOF = 8
};
#define TSLT_LINK_BYTES 255 /* of one of them, at most */

/* What an end takes; none is 0. */
typedef struct {
  uint64_t max_frame_bytes, queue_frames, queue_bytes, peer_timeout_ms;
} tslt_link_limits;

typedef struct {
  int type;
  tslt_link_limits limits; /* WELCOME, CHALLENGE */
  uint64_t count;          /* CONSUMED */
  tslt_bytes reason;       /* REFUSE, LOST: UTF-8, not checked */
} tslt_link_control;

/* HELLO; its bytes are returned.  `out` has TSLT_LINK_BYTES. */
size_t tslt_link_hello(const tslt_link_limits *limits, uint8_t *out);
/* CONSUMED: `count` more frames were taken, in order. */
size_t tslt_link_consumed(uint32_t count, uint8_t *out);
/* Read one from the edge.  TSLT_BAD_CONTROL, TSLT_VERSION_MISMATCH: the link is of no use. */
int tslt_link_read(const uint8_t *data, size_t size, tslt_link_control *control);
/* Sign `size` bytes with the device's Ed25519 key; anything but 0: it could not. */
typedef int (*tslt_sign)(void *state, const uint8_t *data, size_t size, uint8_t signature[64]);
/* PROOF, the answer to a CHALLENGE (QUIC): of the `key` that `sign` signs with.  `certificate` is the edge's, in DER, as
 * TLS has proven it; `hello` and `challenge` are the two control messages, as they were sent; `out` has TSLT_LINK_BYTES.
 * TSLT_CALLBACK_FAILED: `sign` has, and there is no proof. */
int tslt_link_proof(tslt_bytes certificate, tslt_bytes hello, tslt_bytes challenge, const uint8_t key[32], tslt_sign sign,
                    void *state, uint8_t *out, size_t *size);

/* SHA-256: for transcripts, and for names of tables. */
void tslt_sha256(const uint8_t *data, size_t size, uint8_t digest[32]);

#ifdef __cplusplus
}
#endif

#endif
