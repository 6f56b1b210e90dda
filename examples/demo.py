"""The demo, on the pair of models that ships with the repository unless another is named.

python -m examples.demo [arguments of examples.device]
"""

from __future__ import annotations

import sys

from examples import PAIR
from tslt_runtime.commands.demo import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m examples.demo", pair=PAIR))
