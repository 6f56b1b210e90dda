"""Without the extras ``bench`` and ``transformers`` there is nothing here to test."""

from __future__ import annotations

from importlib.util import find_spec

NEEDED = ("torch", "transformers", "msgpack", "cbor2", "zstandard", "google", "rich", "matplotlib", "aioquic", "zmq")
collect_ignore_glob = [] if all(find_spec(name) for name in NEEDED) else ["test_*.py"]
