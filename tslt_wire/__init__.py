"""tslt-wire: a wire format and protocol for speculative decoding split between a device and an edge.

The core: codec, verification and sans-IO sessions.  Needs numpy, opens no sockets, reads no clock, draws from no global
randomness.  ``spec/tslt-wire.md`` is the format.
"""

from tslt_wire.backends import backend, decode, decode_list, encode, encode_list, sparsify, sparsify_batch
from tslt_wire.coupling import Coupling
from tslt_wire.defaults import DEFAULTS
from tslt_wire.device_session import DeviceSession
from tslt_wire.distribution import SparseDistribution
from tslt_wire.edge_session import EdgeSession
from tslt_wire.errors import (
    DecodeError,
    ErrorCode,
    LocalProtocolError,
    MissingPackage,
    ProtocolError,
    RemoteProtocolError,
    TsltError,
)
from tslt_wire.events import (
    DraftReceived,
    Event,
    PeerClosed,
    PeerFailed,
    PromptReceived,
    SessionOpened,
    VerdictReceived,
    Welcomed,
)
from tslt_wire.limits import DecodeLimits
from tslt_wire.messages import (
    SPEC_VERSION,
    Bye,
    CoupledEvidence,
    Draft,
    Error,
    Evidence,
    Extension,
    Hello,
    ListEvidence,
    MatchEvidence,
    Message,
    Prompt,
    Verdict,
    Welcome,
    prefix_hash,
)
from tslt_wire.negotiation import EdgeSettings
from tslt_wire.precision import Precision
from tslt_wire.prior import Prior, table_from_bytes, train_table
from tslt_wire.profile import Profile
from tslt_wire.sampling import Sampling
from tslt_wire.session_states import State
from tslt_wire.siblings import sample_children
from tslt_wire.tail_scale import TailScale
from tslt_wire.tree import TokenTree
from tslt_wire.truncation import MinProb, TopK, TopP
from tslt_wire.verify import verify

__version__ = "0.1.0"

__all__ = [
    "DEFAULTS",
    "SPEC_VERSION",
    "Bye",
    "CoupledEvidence",
    "Coupling",
    "DecodeError",
    "DecodeLimits",
    "DeviceSession",
    "Draft",
    "DraftReceived",
    "EdgeSession",
    "EdgeSettings",
    "Error",
    "ErrorCode",
    "Event",
    "Evidence",
    "Extension",
    "Hello",
    "ListEvidence",
    "LocalProtocolError",
    "MatchEvidence",
    "Message",
    "MinProb",
    "MissingPackage",
    "PeerClosed",
    "PeerFailed",
    "Precision",
    "Prior",
    "Profile",
    "Prompt",
    "PromptReceived",
    "ProtocolError",
    "RemoteProtocolError",
    "Sampling",
    "SessionOpened",
    "SparseDistribution",
    "State",
    "TailScale",
    "TokenTree",
    "TopK",
    "TopP",
    "TsltError",
    "Verdict",
    "VerdictReceived",
    "Welcome",
    "Welcomed",
    "backend",
    "decode",
    "decode_list",
    "encode",
    "encode_list",
    "prefix_hash",
    "sample_children",
    "sparsify",
    "sparsify_batch",
    "table_from_bytes",
    "train_table",
    "verify",
]
