"""Train a table of priors, for the draft model that ships with the repository unless another is named.

python -m examples.train_prior --draft examples/pair/draft --text novels.txt.xz --out prior.table
"""

from __future__ import annotations

import sys

from examples import PAIR
from tslt_runtime.commands.train_prior import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m examples.train_prior", model=PAIR / "draft"))
