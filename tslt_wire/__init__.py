"""tslt-wire: a wire format and protocol for speculative decoding split between a device and an edge.

The core: codec, verification and sans-IO sessions.  Needs numpy, opens no sockets, reads no clock, draws from no global
randomness.  ``spec/tslt-wire.md`` is the format.
"""

from tslt_wire._native import backend
from tslt_wire.errors import (
    DecodeError,
    ErrorCode,
    LocalProtocolError,
    MissingPackage,
    ProtocolError,
    RemoteProtocolError,
    TsltError,
)
from tslt_wire.frames.codec import decode, encode
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.defaults import DEFAULTS
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.list_codec import decode_list, encode_list
from tslt_wire.lists.precision import Precision
from tslt_wire.lists.prior import Prior, table_from_bytes, train_table
from tslt_wire.lists.profile import Profile
from tslt_wire.lists.sparsify import sparsify, sparsify_batch
from tslt_wire.lists.truncation import MinProb, TopK, TopP
from tslt_wire.messages.answers import Answer, AskList, Proposal, Proposals, Verdict, Whole
from tslt_wire.messages.draft import Draft, prefix_hash
from tslt_wire.messages.endings import Bye, ErrorMessage
from tslt_wire.messages.evidence import (
    CoupledEvidence,
    Evidence,
    LazyEvidence,
    ListEvidence,
    MatchEvidence,
    ScalarEvidence,
)
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.flight import Flight
from tslt_wire.messages.follow_ups import ListReply, More
from tslt_wire.messages.handshake import SPEC_VERSION, Hello, Welcome
from tslt_wire.messages.log_probs import log_probs_of
from tslt_wire.messages.message import Message
from tslt_wire.messages.prompt import Prompt
from tslt_wire.messages.resume import Rejection, Resume
from tslt_wire.messages.sampling import Sampling, SamplingRequest
from tslt_wire.messages.token_tree import TokenTree
from tslt_wire.messages.tree_sampler import TreeSampler
from tslt_wire.session.device import DeviceSession
from tslt_wire.session.edge import EdgeSession
from tslt_wire.session.events import (
    DraftReceived,
    Event,
    ListAsked,
    ListReceived,
    MoreAsked,
    PeerClosed,
    PeerFailed,
    PromptReceived,
    ProposalsReceived,
    Resumed,
    SessionOpened,
    TextResumed,
    VerdictReceived,
    Welcomed,
    WholeReceived,
)
from tslt_wire.session.negotiation import EdgeSettings
from tslt_wire.session.resumption import Opening, SessionKeys
from tslt_wire.session.states import State
from tslt_wire.session.vocabularies import Fit
from tslt_wire.verification.adjustments import SampledText
from tslt_wire.verification.answer_log_probs import with_log_probs
from tslt_wire.verification.coupling import Coupling
from tslt_wire.verification.lazy_rule import verify_list
from tslt_wire.verification.logits_rows import target_probs, target_rows
from tslt_wire.verification.proposals import choose, propose
from tslt_wire.verification.randomness import EdgeRandomness
from tslt_wire.verification.tail_scale import TailScale
from tslt_wire.verification.target_rows import DenseRow, TargetRow
from tslt_wire.verification.verdicts import verify

__version__ = "0.1.0"

__all__ = [
    "DEFAULTS",
    "SPEC_VERSION",
    "Answer",
    "AskList",
    "Bye",
    "CoupledEvidence",
    "Coupling",
    "DecodeError",
    "DecodeLimits",
    "DenseRow",
    "DeviceSession",
    "Draft",
    "DraftReceived",
    "EdgeRandomness",
    "EdgeSession",
    "EdgeSettings",
    "ErrorCode",
    "ErrorMessage",
    "Event",
    "Evidence",
    "Extension",
    "Fit",
    "Flight",
    "Hello",
    "LazyEvidence",
    "ListAsked",
    "ListEvidence",
    "ListReceived",
    "ListReply",
    "LocalProtocolError",
    "MatchEvidence",
    "Message",
    "MinProb",
    "MissingPackage",
    "More",
    "MoreAsked",
    "Opening",
    "PeerClosed",
    "PeerFailed",
    "Precision",
    "Prior",
    "Profile",
    "Prompt",
    "PromptReceived",
    "Proposal",
    "Proposals",
    "ProposalsReceived",
    "ProtocolError",
    "Rejection",
    "RemoteProtocolError",
    "Resume",
    "Resumed",
    "SampledText",
    "Sampling",
    "SamplingRequest",
    "ScalarEvidence",
    "SessionKeys",
    "SessionOpened",
    "SparseDistribution",
    "State",
    "TailScale",
    "TargetRow",
    "TextResumed",
    "TokenTree",
    "TopK",
    "TopP",
    "TreeSampler",
    "TsltError",
    "Verdict",
    "VerdictReceived",
    "Welcome",
    "Welcomed",
    "Whole",
    "WholeReceived",
    "backend",
    "choose",
    "decode",
    "decode_list",
    "encode",
    "encode_list",
    "log_probs_of",
    "prefix_hash",
    "propose",
    "sparsify",
    "sparsify_batch",
    "table_from_bytes",
    "target_probs",
    "target_rows",
    "train_table",
    "verify",
    "verify_list",
    "with_log_probs",
]
