"""Replicas whose target is a table of logits: what pools in tests load."""

from __future__ import annotations

import os
from pathlib import Path

from table_engine import TableTarget
from two_ends import FINGERPRINT, tables

from tslt_runtime.verifiers.local import LocalVerifier
from tslt_runtime.verifiers.pool.protocol import Offer
from tslt_runtime.verifiers.pool.replica import Replica


def table_replica() -> Replica:
    """Of the tables that devices of these tests expect."""
    verifier = LocalVerifier(TableTarget(tables()[0]))
    return Replica(verifier, Offer(verifier.facts, FINGERPRINT))


def other_replica() -> Replica:
    """With another vocabulary."""
    verifier = LocalVerifier(TableTarget(tables(9)[0]))
    return Replica(verifier, Offer(verifier.facts, FINGERPRINT))


def counted_replica() -> Replica:
    """A ``table_replica`` that writes its process's number into the folder that ``TSLT_REPLICA_PIDS`` names."""
    (Path(os.environ["TSLT_REPLICA_PIDS"]) / str(os.getpid())).touch()
    return table_replica()
