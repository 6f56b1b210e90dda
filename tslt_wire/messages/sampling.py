"""The target's sampling settings: they define the distribution the output must have.

Spec section 7.2.  The device asks for them in HELLO, the edge applies them to the target's logits (``target_rows``).
The order is the one users know from ``generate()``: temperature, then top-k, then top-p over what top-k left.
"""

from __future__ import annotations

from dataclasses import dataclass

from tslt_wire.checks import integer, number


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the target's logits become the distribution that is to be sampled (spec section 7.2).

    TypeError for a setting that is no number (a bool is none), ValueError for one that is out of range.
    """

    temperature: float = 1.0
    """Divides the logits; 0 is greedy decoding (all mass on the most probable token, the lowest id of equals)."""
    top_k: int = 0
    """Keep the ``top_k`` most probable tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep the smallest set of most probable tokens whose mass reaches ``top_p``, above 0; 1 keeps all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", number("temperature", self.temperature, 0, None))
        object.__setattr__(self, "top_k", integer("top_k", self.top_k, 0, None))
        object.__setattr__(self, "top_p", number("top_p", self.top_p, 0, 1, above_low=True))
