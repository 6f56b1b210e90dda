"""A target row of which a server has told a part, and tells more when it is asked.

Spec section 6.3.  Nothing here is an approximation: what the server has not told is asked for before it matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

import tslt_wire as tw
from tslt_runtime.verifiers.servers.protocol import Drawn, InferenceServer, Listed, ServerGone
from tslt_wire.verification.choices import Choices

Floats = npt.NDArray[np.float64]

SEEDS = 1 << 31
"""Seeds that servers take: below this."""
CALLS = 4
"""Times that a server is asked for draws, each for twice as many; then for its whole row."""
LEAST_LEFT = 1e-6
"""Below this what no listed token has is rounding of float32."""


class ServerRow:
    """A ``tw.TargetRow`` of a server's."""

    def __init__(
        self,
        server: InferenceServer,
        prompt: Sequence[int],
        sampling: tw.Sampling,
        listed: Listed,
        *,
        vocab_size: int,
        draws: int,
    ) -> None:
        """``draws``: tokens that are asked for at a time."""
        self.vocab_size = vocab_size
        self._server, self._prompt, self._sampling = server, prompt, sampling
        self._listed = listed
        self._check(listed.probs)
        self._known = np.fromiter(listed.probs.keys(), np.int64), np.fromiter(listed.probs.values(), np.float64)
        self._told = dict(listed.probs)
        self._waiting: list[int] = []
        self._hold(listed.drawn)
        self._draws, self._calls = draws, 0
        self._row: Floats | None = None

    def prob(self, token: int) -> float:
        """See ``tw.TargetRow.prob``."""
        if self._row is not None:
            return float(self._row[token])
        if token not in self._told and not self._listed.whole:
            return float(self._whole()[token])
        return self._told.get(token, 0.0)

    def draw(self, choices: Choices) -> int:
        """See ``tw.TargetRow.draw``.

        A token that is listed with its probability, and otherwise one of the others: the first that the server draws
        and that is not listed.
        """
        tokens, probs = self._known
        if self._row is not None:
            return choices.draw(self._row)
        if self._listed.whole:
            return int(tokens[choices.draw(probs)])
        below = np.cumsum(probs)
        at = choices.uniform()
        if len(below) and at < below[-1]:
            return int(tokens[np.searchsorted(below, at, side="right")])
        return self._other(choices)

    def dense(self) -> Floats:
        """All probabilities, float64 (V,)."""
        if not self._listed.whole:
            return self._whole()
        return self._array(self._listed.probs)

    def _check(self, tokens: Iterable[int]) -> None:
        """Raise ServerGone for a token that the model has not."""
        if wrong := [token for token in tokens if not 0 <= token < self.vocab_size]:
            raise ServerGone(f"token {wrong[0]}, and the model has {self.vocab_size}")

    def _hold(self, drawn: Sequence[Drawn]) -> None:
        self._check(each.token for each in drawn)
        self._told.update((each.token, each.prob) for each in drawn)
        self._waiting += [each.token for each in drawn]

    def _whole(self) -> Floats:
        if self._row is None:
            self._row = self._array(self._server.row(self._prompt, self._sampling))
        return self._row

    def _array(self, probs: Mapping[int, float]) -> Floats:
        self._check(probs)
        found = np.zeros(self.vocab_size)
        found[list(probs)] = list(probs.values())
        return found

    def _other(self, choices: Choices) -> int:
        """Draw a token that is not listed."""
        listed = self._listed.probs
        while True:
            while self._waiting:
                token = self._waiting.pop(0)
                if token not in listed:
                    return token
            if self._calls == CALLS:
                break
            count, self._calls = self._draws << self._calls, self._calls + 1
            drawn = self._server.drawn(self._prompt, self._sampling, count, int(choices.uniform() * SEEDS))
            if not drawn:
                break
            self._hold(drawn)
        rest = self._whole().copy()
        rest[self._known[0]] = 0.0
        if rest.sum() < LEAST_LEFT:  # the listed ones have all there is, but for rounding
            return int(self._known[0][choices.draw(self._known[1])])
        return choices.draw(rest)
