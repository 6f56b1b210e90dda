"""The CURVE keys of device.c, from those of ``tslt keys``: three settings of its environment, in libzmq's letters.

tslt keys make device.key
export $(python examples/device_c/curve_keys.py device.key "edge tslt-key-1 ...")
./device draft.table tcp://edge:5757 64 list 1,1,1,1 0 670 612 764 1029

The secret of the file is not CURVE's own: docs/decisions/0028-who-may-talk.md says how that follows from it.
"""

from __future__ import annotations

import argparse

from tslt_transports import PublicKey, SecretKey
from zmq.utils import z85


def main() -> None:
    """Print them, one a line; what has the secret is for the device alone."""
    parser = argparse.ArgumentParser(prog="curve_keys.py", description=main.__doc__)
    parser.add_argument("secret", help="the device's file, from `tslt keys make`")
    parser.add_argument("edge", help="the edge's public line, or a file that holds it")
    given = parser.parse_args()
    try:
        own = SecretKey.read(given.secret)
    except (OSError, ValueError) as error:
        parser.error(f"the device's key: {error}")
    try:
        edge = PublicKey.read(given.edge)
    except OSError as error:
        parser.error(
            f"the edge's key is {given.edge[:80]!r}: no line 'NAME tslt-key-1 BASE64', and no file ({error.strerror})"
        )
    except ValueError as error:
        parser.error(f"the edge's key: {error}")
    for name, key in (
        ("TSLT_EDGE_KEY", edge.agreement),
        ("TSLT_PUBLIC_KEY", own.public.agreement),
        ("TSLT_SECRET_KEY", own.agreement_secret),
    ):
        print(f"{name}={z85.encode(key).decode()}")


if __name__ == "__main__":
    main()
