"""Any message: what ``encode`` takes and ``decode`` gives.

``decode(encode(m)) == m`` for all of them.  Constructors raise ValueError for values that no frame can carry.
"""

from __future__ import annotations

from tslt_wire.messages.answers import AskList, Proposals, Verdict, Whole
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.endings import Bye, ErrorMessage
from tslt_wire.messages.follow_ups import ListReply, More
from tslt_wire.messages.handshake import Hello, Welcome
from tslt_wire.messages.prompt import Prompt
from tslt_wire.messages.resume import Resume

Message = (
    Hello
    | Welcome
    | Prompt
    | Resume
    | Draft
    | Verdict
    | Whole
    | Proposals
    | More
    | AskList
    | ListReply
    | ErrorMessage
    | Bye
)
