"""Error codes and exception classes.

Spec section 9.  Local misuse is a ``ValueError`` or a ``LocalProtocolError``; remote misbehaviour is a ``DecodeError``
(bytes that are no message) or a ``RemoteProtocolError`` (a message at the wrong time).  Anything else that escapes from
this package is a bug.
"""

from __future__ import annotations

import enum


class ErrorCode(enum.IntEnum):
    """Registry of error codes (spec/registry.md); they travel in ERROR frames and sit on every remote exception."""

    # A frame that is not a message.
    TRUNCATED = 1  # the frame ends before its content does
    TRAILING_BYTES = 2  # the content ends before the frame does
    BAD_CHECKSUM = 3
    UNKNOWN_KIND = 4
    RESERVED_BITS = 5  # a reserved bit or padding bit is set
    NON_CANONICAL = 6  # a value in another than its one encoding
    LIMIT_EXCEEDED = 7  # more than DecodeLimits allows
    OUT_OF_RANGE = 8  # a value its field does not allow
    BAD_TREE = 9
    BAD_LIST = 10
    BAD_CONTROL = 11  # a control map that is malformed, or lacks or misuses a field
    UNKNOWN_CRITICAL_EXTENSION = 12
    NOT_TSLT = 13  # the magic of a HELLO or WELCOME is missing
    BAD_COMPRESSION = 14  # compressed content that is not one zstd frame of the size it says

    # A conversation that cannot go on.
    VERSION_MISMATCH = 32
    VOCABULARY_MISMATCH = 33
    TOKENIZER_MISMATCH = 34
    UNSUPPORTED = 35  # no evidence mode, precision or entropy coder in common
    TRANSCRIPT_MISMATCH = 36  # the two ends saw different handshakes
    PROTOCOL_VIOLATION = 37  # a message in a state that does not allow it
    UNKNOWN_SESSION = 38  # the edge has no session for this link (it was restarted, or dropped the session)
    DESYNCHRONISED = 39  # prefix length or hash differ
    CONTEXT_FULL = 40  # the target's context window is used up
    OVERLOADED = 41
    INTERNAL = 42
    GOING_AWAY = 43  # the sender ends in good order: come back, or go elsewhere


class TsltError(Exception):
    """Base class of this package's exceptions that are not plain ``ValueError`` / ``TypeError``."""


class DecodeError(TsltError, ValueError):
    """Bytes that are not a message.  ``code`` is the ErrorCode an implementation must report (spec section 9)."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(f"{code.name.lower()}: {message}")
        self.code = code


class MissingPackage(TsltError, ImportError):
    """An optional package is needed here and is not installed; the message says which."""


class ProtocolError(TsltError):
    """Base class of the two kinds of protocol misuse."""


class LocalProtocolError(ProtocolError):
    """The local caller asked for something the session's state does not allow; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer sent a valid message that the session's state or settings do not allow.  ``code`` says which."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(f"{code.name.lower()}: {message}")
        self.code = code
