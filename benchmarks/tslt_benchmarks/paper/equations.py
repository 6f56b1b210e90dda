"""The paper's equations: as they follow from its own premises, and as they are printed where that is another thing.

"Fast Collaborative Inference via Distributed Speculative Decoding", Zheng et al., 2025.  Times are seconds, sizes bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tslt_wire.coding.bits import id_bits

PROB_BITS = 16
"""``b_prob`` of Table 1: FP16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What the models take; the paper prints neither."""

    draft_s: float
    """``T_SLM``, a level of the draft."""
    target_s: float
    """``T_LLM``, a pass of the target."""
    node_s: float = 0.0
    """What a pass takes longer for each drafted token; the paper has no such thing."""


def list_bits(k: int, vocab_size: int) -> int:
    """``D_V`` of eq. (3) for ``k`` entries: ids of ceil(log2 V) bits and FP16."""
    return k * (PROB_BITS + id_bits(vocab_size))


def list_bits_table(k: int) -> int:
    """``D_V`` as Table 1 counts it: 0.5 Mbit for 32,000 entries, without ids."""
    return k * PROB_BITS


def tokens_a_call(alpha: float, length: int) -> float:
    """Eq. (8): (1 - a^(L+1)) / (1 - a)."""
    return float(length + 1) if alpha == 1 else (1 - alpha ** (length + 1)) / (1 - alpha)


def lists_of(expansion: Sequence[int]) -> int:
    """Eq. (27): distributions that a tree sends, 1 + k_1 + k_1 k_2 + ..., without those of its leaves."""
    return sum(math.prod(expansion[:level]) for level in range(len(expansion)))


def call_seconds(expansion: Sequence[int], times: Times, list_s: float) -> float:
    """Eq. (5) and (26): L T_SLM + \\|Q\\| T_V + T_LLM."""
    return len(expansion) * times.draft_s + lists_of(expansion) * list_s + times.target_s


def speedup(alpha: float, expansion: Sequence[int], times: Times, list_s: float) -> float:
    """Definition 2.2 with eq. (8) and (26): tokens a call over its seconds, times T_LLM.

    ``alpha``: of a level, all siblings together (eq. 39); ``list_s``: ``T_V``, what a list takes on the uplink.
    """
    return tokens_a_call(alpha, len(expansion)) * times.target_s / call_seconds(expansion, times, list_s)


def speedup_printed_9(alpha: float, length: int, times: Times, list_s: float) -> float:
    """Eq. (9) as printed, over eq. (10): ``1 - a`` multiplies the draft's part of the denominator alone."""
    denominator = (1 - alpha) * length * (times.draft_s + list_s) + times.target_s
    return (1 - alpha ** (length + 1)) / denominator * times.target_s


def speedup_printed_28(alpha: float, expansion: Sequence[int], times: Times, list_s: float) -> float:
    """Eq. (28) as printed: never above 1, whatever the link."""
    length = len(expansion)
    more = length * times.draft_s + lists_of(expansion) * list_s
    return 1 / (more / ((length * alpha + 1) * times.target_s) + 1)


# ----------------------------------------------------------------------------------------------- TK-SLT's draft length


def best_length(alpha: float, token_s: float, target_s: float) -> float:
    """The real L at which (1 - a^(L+1)) / ((1 - a)(L c + T)) is largest, c = T_SLM + T_V and T = T_LLM; at least 0.

    TK-SLT (arXiv 2509.04576) has such a formula, of which its abstract tells no more; this one is derived here.  With
    b = -ln a the derivative is 0 where w e^-w = e^(-1 + b - b T / c) for w = 1 + b (L + T / c): Lambert's W, its branch
    -1.  ValueError for an acceptance that is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"an acceptance between 0 and 1 is needed, got {alpha}")
    b, ratio = -math.log(alpha), target_s / token_s
    exponent = -1 + b - b * ratio
    if exponent >= -1:  # T <= c: a drafted token costs what the target takes, and the first one is the best
        return 0.0
    return max(0.0, (_lower_branch(exponent) - 1) / b - ratio)


def _lower_branch(exponent: float) -> float:
    """The w > 1 with w e^-w = e^exponent, for an exponent below -1: Newton's method on w - ln w = -exponent."""
    w = -exponent + math.log(-exponent) + 1e-9
    for _ in range(60):
        step = (w - math.log(w) + exponent) / (1 - 1 / w)
        w = max(1 + 1e-12, w - step)
        if abs(step) < 1e-13 * w:
            break
    return w


def best_length_by_trying(alpha: float, token_s: float, target_s: float, most: int = 512) -> int:
    """The whole L up to ``most`` with the most tokens a second."""
    return max(range(most + 1), key=lambda n: tokens_a_call(alpha, n) / (n * token_s + target_s))
