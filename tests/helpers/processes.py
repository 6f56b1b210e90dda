"""What processes that tests start find in their environment."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": f"{ROOT}:{ROOT / 'transports'}:{ROOT / 'benchmarks'}",
    "HF_HUB_OFFLINE": "1",
}
"""This checkout's packages, and no network for models."""
