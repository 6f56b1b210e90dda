/* The state machine of spec section 7.7.  A test compares it with tslt_wire/session/states.py, entry by entry. */
#include "tslt_device.h"

enum { ACTS = 8, COLUMNS = 0x17 + ACTS };

/* A state, less 1 in no entry: 0 is "not allowed". */
#define TO(state) (TSLT_##state + 1)
#define DRAFTS(state)                                                                                                  \
  [TSLT_DRAFT_LIST] = TO(state), [TSLT_DRAFT_MATCH] = TO(state), [TSLT_DRAFT_COUPLED] = TO(state),                     \
  [TSLT_DRAFT_SCALAR] = TO(state), [TSLT_DRAFT_LAZY] = TO(state)
#define ACT(act) [0x17 + TSLT_ACT_##act - TSLT_ACT_VERDICT_END]
#define ENDINGS [TSLT_BYE] = TO(CLOSED), [TSLT_ERROR] = TO(FAILED), ACT(FAIL) = TO(FAILED)
#define ANEW ACT(RECONNECT) = TO(START)

static const unsigned char NEXT[TSLT_STATES][COLUMNS] = {
    [TSLT_START] = {[TSLT_HELLO] = TO(GREETED), ENDINGS},
    [TSLT_GREETED] = {[TSLT_WELCOME] = TO(READY), ENDINGS, ANEW},
    [TSLT_READY] = {[TSLT_PROMPT] = TO(IDLE), [TSLT_RESUME] = TO(IDLE), ACT(RESUME_END) = TO(ENDED), ENDINGS, ANEW},
    [TSLT_IDLE] = {[TSLT_PROMPT] = TO(IDLE), DRAFTS(OPEN), ACT(NEXT) = TO(OPEN), ENDINGS, ANEW},
    [TSLT_OPEN] = {[TSLT_VERDICT] = TO(IDLE), ACT(VERDICT_END) = TO(ENDED), [TSLT_VERDICT_PROPOSALS] = TO(PROPOSED),
                   [TSLT_ASK_LIST] = TO(ASKED), [TSLT_VERDICT_WHOLE] = TO(IDLE), ACT(FOLLOW) = TO(OPEN), ENDINGS, ANEW},
    [TSLT_PROPOSED] = {[TSLT_PROMPT] = TO(IDLE), DRAFTS(OPEN), [TSLT_MORE] = TO(OPEN), ACT(TAKE) = TO(IDLE),
                       ACT(TAKE_END) = TO(ENDED), ENDINGS},
    [TSLT_ASKED] = {[TSLT_LIST] = TO(OPEN), ENDINGS, ANEW},
    [TSLT_ENDED] = {[TSLT_PROMPT] = TO(IDLE), ENDINGS, ANEW},
    [TSLT_CLOSED] = {ANEW},
    [TSLT_FAILED] = {ANEW},
};

int tslt_state_after(int state, int what) {
  int column = what >= TSLT_ACT_VERDICT_END ? 0x17 + what - TSLT_ACT_VERDICT_END : what;
  if (state < 0 || state >= TSLT_STATES || column < 0 || column >= COLUMNS || (what > TSLT_LIST && what < TSLT_ACT_VERDICT_END))
    return -1;
  return NEXT[state][column] - 1;
}

/* Which answers may follow what a device sent. */
static int answers(int request, int kind) {
  int draft = request >= TSLT_DRAFT_LIST && request <= TSLT_DRAFT_LAZY;
  switch (kind) {
  case TSLT_WELCOME:
    return request == TSLT_HELLO;
  case TSLT_VERDICT:
    return draft || request == TSLT_LIST;
  case TSLT_VERDICT_WHOLE:
    return draft;
  case TSLT_VERDICT_PROPOSALS:
    return request == TSLT_DRAFT_SCALAR || request == TSLT_MORE;
  case TSLT_ASK_LIST:
    return request == TSLT_DRAFT_LAZY;
  default:
    return 1;
  }
}

int tslt_may_send(int state, int kind, int from_edge, int request) {
  int of_edge = kind == TSLT_WELCOME || (kind >= TSLT_VERDICT && kind <= TSLT_VERDICT_WHOLE);
  int of_both = kind == TSLT_ERROR || kind == TSLT_BYE;
  if (kind > TSLT_LIST || (!of_both && of_edge != (from_edge != 0)) || !answers(request, kind))
    return 0;
  return tslt_state_after(state, kind) >= 0;
}
