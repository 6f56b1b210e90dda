"""The reference device, on the draft model that ships with the repository unless another is named.

python -m examples.device --prompt "The old house stood"
python -m examples.device --model meta-llama/Llama-3.2-1B --edge tcp://edge.example:5757 --tokens 256
python -m examples.device --transport quic --edge edge.example:5757 --ca certs/ca.pem --expansion 2,2,2
"""

from __future__ import annotations

import sys

from examples import PAIR
from tslt_runtime.commands.device import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m examples.device", model=PAIR / "draft"))
