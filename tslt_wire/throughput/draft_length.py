"""The chain length that gives the most tokens a second, in closed form.

TK-SLT (Zheng and Yang, arXiv 2509.04576) derives an optimal draft length by Lambert's W.  Here for a round of

    T(L) = A + B L + R (1 - a^L),      tokens(L) = (1 - a^(L+1)) / (1 - a),

A: what every round costs, B: what each token costs, R: what a rejection costs, all in seconds.  With
l = -ln a the derivative of tokens / T has the sign of  d + l + ln(x) + 1 - x  for x = e^(l (L + 1)) and

    d = l ((A - B) / B - R (1 - a) / (a B)),     so     L = ln(-W_-1(-e^(-1 - d))) / l - 1.

It is positive up to that L and negative after it (for d < 0: negative everywhere), so that the best whole number is
right below or right above.
"""

from __future__ import annotations

import math

from tslt_wire.checks import integer, number
from tslt_wire.throughput.model import chain_tokens

_STEPS = 60
"""Iterations at most, for where rounding keeps the last two alternating."""
_SERIES = 1e-3
"""v below which v - ln(1 + v) is summed as a series of four terms: it and the difference are both exact to 1e-12 of the
value here."""


def lambert_w(z: float, branch: int = 0) -> float:
    """Solve w e^w = z for real w by Halley's iteration: ``branch`` 0 gives w >= -1, branch -1 gives w <= -1.

    Raises ValueError where there is no real solution: z < -1/e, and for branch -1 also z >= 0.
    """
    if branch not in {0, -1}:
        raise ValueError(f"branch must be 0 or -1, got {branch!r}")
    # The nearest float to -1/e may lie below it.
    from_end = math.e * z + 1
    if not -1e-15 <= from_end < math.inf or (branch == -1 and z >= 0):
        raise ValueError(f"Lambert's W has no real value at {z!r} on branch {branch}")
    if from_end <= 0:
        return -1.0
    if z == 0:
        return 0.0
    root = math.sqrt(2 * from_end)
    if branch == 0:
        w = (
            -1 + root - root * root / 3
            if z < 0
            else math.log1p(z) * (1 - math.log1p(math.log1p(z)) / (2 + math.log1p(z)))
        )
    elif from_end < 0.5:
        w = -1 - root - root * root / 3
    else:
        log = math.log(-z)
        w = log - math.log(-log)
    for _ in range(_STEPS):
        # Divided by e^w, which under- and overflows long before z e^-w does.
        error = w - z * math.exp(-w)
        if w == -1:
            break
        step = error / (w + 1 - (w + 2) * error / (2 * (w + 1)))
        w -= step
        if abs(step) <= 1e-16 * abs(w):
            break
    return w


def lambert_w_log(d: float) -> float:
    """-1 - W_-1(-e^(-1 - d)) for d >= 0: the v >= 0 with v - ln(1 + v) = d.

    The same function as ``lambert_w(..., -1)`` where that argument would underflow or lose its last digits.
    """
    if not d >= 0:
        raise ValueError(f"d must be at least 0, got {d!r}")
    if d in {0, math.inf}:
        return d
    v = math.sqrt(2 * d) + d  # above the solution, and the function is convex: Newton comes down to it
    for _ in range(_STEPS):
        # v - log1p(v) would lose its digits.
        small = v < _SERIES
        value = v * v * (1 / 2 - v * (1 / 3 - v * (1 / 4 - v / 5))) if small else v - math.log1p(v)
        step = (value - d) * (1 + v) / v
        v -= step
        if abs(step) <= 1e-15 * v:
            break
    return v


def optimal_length(alpha: float, *, round_s: float, token_s: float, rejection_s: float = 0.0) -> float:
    """Real L >= 0 that maximises tokens a second; ``inf`` if longer is always better.

    ``alpha``: acceptance of a token, 0..1.  ``round_s``: A, T_LLM + RTT + verdict + frame.  ``token_s``: B, T_SLM +
    bytes / R_up.  ``rejection_s``: R.  Seconds; ValueError if one is negative or infinite or alpha outside 0..1,
    TypeError for what is no number.
    """
    alpha = number("alpha", alpha, 0, 1)
    round_s, token_s = number("round_s", round_s, 0, None), number("token_s", token_s, 0, None)
    rejection_s = number("rejection_s", rejection_s, 0, None)
    if alpha == 0:
        return 0.0
    rate = -math.log(alpha)
    gain = round_s - token_s - rejection_s * (1 - alpha) / alpha
    if gain <= 0:
        return 0.0
    if token_s == 0 or rate == 0:
        return math.inf
    d = rate * gain / token_s
    return max(0.0, math.log1p(lambert_w_log(d)) / rate - 1)


def best_length(
    alpha: float, *, round_s: float, token_s: float, rejection_s: float = 0.0, shortest: int = 0, longest: int = 64
) -> int:
    """Whole L in ``shortest``..``longest`` that maximises tokens a second; arguments as in ``optimal_length``.

    Of equals the shorter.
    """
    longest = integer("longest", longest, 0, None)
    shortest = integer("shortest", shortest, 0, longest)
    best = optimal_length(alpha, round_s=round_s, token_s=token_s, rejection_s=rejection_s)
    low = int(min(max(best, shortest), longest))
    high = min(low + 1, longest)

    def seconds_per_token(length: int) -> float:
        seconds = round_s + token_s * length + rejection_s * (1 - alpha**length)
        return seconds / chain_tokens(alpha, length)

    return min((low, high), key=seconds_per_token)
