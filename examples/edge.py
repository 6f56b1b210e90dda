"""The reference edge, on the target model that ships with the repository unless another is named.

python -m examples.edge
python -m examples.edge --model meta-llama/Llama-3.1-8B --torch-device cuda --dtype bfloat16
python -m examples.edge --transport quic --listen 0.0.0.0:5757 --insecure --cert certs/cert.pem --cert-key certs/key.pem
"""

from __future__ import annotations

import sys

from examples import PAIR
from tslt_runtime.commands.edge import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m examples.edge", model=PAIR / "target"))
