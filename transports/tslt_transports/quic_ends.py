"""How a QUIC connection ends: the codes we close with, and an end that came in words.

RFC 9000, section 20.1 (transport errors), RFC 8446, section 6 (TLS alerts, which QUIC adds to ``CRYPTO_ERROR``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode

from tslt_transports.flow_control import NO_EDGE_HINT
from tslt_transports.keys import NOT_ALLOWED_HINT
from tslt_transports.quic_tls import ALPN
from tslt_transports.untrusted import printable

MAX_REASON_CHARACTERS: Final = 200
"""Characters of a reason that are sent or shown: what fits a packet beside its headers."""

_HANDSHAKE_FAILURE: Final = QuicErrorCode.CRYPTO_ERROR + 40
"""What aioquic before 1.3 sends where no protocol is shared, others for ciphers: the reason has the detail."""

_NO_APPLICATION_PROTOCOL: Final = QuicErrorCode.CRYPTO_ERROR + 120

_CERTIFICATE_ALERTS: Final = range(QuicErrorCode.CRYPTO_ERROR + 42, QuicErrorCode.CRYPTO_ERROR + 50)
"""bad_certificate to access_denied: all that TLS says about certificates."""

_CERTIFICATE_HINT: Final = (
    "name the file of its authority (--ca, ClientTls.ca_file), and a host it is for; "
    "or, for an edge that has a key, that (--edge-key, DeviceKeys.edge)"
)


class CloseCode(IntEnum):
    """Application codes of CONNECTION_CLOSE."""

    DONE = 0
    """Both ends of the stream are confirmed."""

    REFUSED = 1
    """The edge does not take this link; the reason says why."""

    LOST = 2
    """The sender gave the link up; the reason says why."""

    ABANDONED = 3
    """The sender closed, and not all it had sent was confirmed within its ``linger_s``."""

    KEY = 4
    """The edge does not know the device's key, or saw no proof of it; the reason says which."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection ended, and what to try where it was not open yet."""

    reason: str
    hint: str = NO_EDGE_HINT


def explain(event: ConnectionTerminated, *, is_overdue: bool) -> Ending:
    """How a connection ended, in words.

    ``is_overdue``: whether the peer was silent for too long.  aioquic's idle timeout has no code of its own (it is an
    ``INTERNAL_ERROR`` that nobody sent), so silence is what tells it from an error of the peer's.
    """
    reason = printable(event.reason_phrase[:MAX_REASON_CHARACTERS])
    if event.frame_type is None:
        hint = NOT_ALLOWED_HINT if event.error_code == CloseCode.KEY else NO_EDGE_HINT
        return Ending(_explain_close(event.error_code, reason), hint=hint)
    if event.error_code == _NO_APPLICATION_PROTOCOL:
        return Ending(f"the edge does not speak {ALPN} (ALPN: {reason or 'no common protocol'})")
    if event.error_code == _HANDSHAKE_FAILURE:
        return Ending(
            f"the TLS handshake failed, perhaps since the edge does not speak {ALPN} ({reason or 'no detail'})"
        )
    if event.error_code in _CERTIFICATE_ALERTS:
        return Ending(f"the certificate was not accepted ({reason or 'no detail'})", hint=_CERTIFICATE_HINT)
    if event.error_code == QuicErrorCode.INTERNAL_ERROR and is_overdue:
        return Ending("nothing heard for peer_timeout_s (QUIC idle timeout)")
    return Ending(f"QUIC error {event.error_code:#x} ({reason or 'no detail'})")


def _explain_close(code: int, reason: str) -> str:
    """An end that the peer's application chose."""
    match code:
        case CloseCode.REFUSED | CloseCode.KEY:
            return f"the edge refused: {reason}"
        case CloseCode.DONE:
            return "the peer closed the connection without ending the stream"
        case _:
            return f"the peer gave it up: {reason or code}"
