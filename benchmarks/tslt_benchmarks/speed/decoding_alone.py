"""What the same engine does for the same users without devices: all texts in each pass, a token or a draft each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import tslt_wire as tw
from tslt_runtime.drafting import Drafted, DraftSettings, Drawing, commit, draw_tree
from tslt_runtime.engines.protocol import DraftEngine, TargetEngine, Work
from tslt_runtime.evidence import kind_of_evidence

EMPTY = Drafted(tw.TokenTree([], []), {}, 0)


class Users:
    """Texts that one engine writes in step, each pass for all of them; they start over at ``tokens`` tokens."""

    def __init__(
        self,
        target: TargetEngine,
        draft: DraftEngine | None,
        prompts: Sequence[Sequence[int]],
        *,
        tokens: int,
        sampling: tw.Sampling,
        settings: DraftSettings,
    ) -> None:
        """``draft``: makes drafts here, as ``settings`` say; None: no speculation."""
        self._target, self._sampling, self._settings, self._tokens = target, sampling, settings, tokens
        self._kind = kind_of_evidence(settings.evidence)
        self._prompts = [tuple(prompt) for prompt in prompts]
        self._prefixes = [list(prompt) for prompt in self._prompts]
        self._texts = [target.open() for _ in prompts]
        self._drafts: list[Any] = [None if draft is None else draft.open() for _ in prompts]
        self._rng = np.random.default_rng(0)
        for user in range(len(prompts)):
            self._start(user)

    def _start(self, user: int) -> None:
        prompt = self._prompts[user]
        self._prefixes[user] = list(prompt)
        self._texts[user].truncate(0)
        self._target.score([Work(self._texts[user], prompt[:-1], None)])
        if self._drafts[user] is not None:
            self._drafts[user].set_prefix(prompt)

    def step(self) -> int:
        """One pass; returns the tokens that it gave."""
        drafted = [self._drafted(user) for user in range(len(self._texts))]
        work = [
            Work(text, prefix[text.length :], own.tree)
            for text, prefix, own in zip(self._texts, self._prefixes, drafted, strict=True)
        ]
        given = 0
        for user, (own, logits) in enumerate(zip(drafted, self._target.score(work), strict=True)):
            rows = tw.target_rows(logits, self._sampling)
            given += self._settle(user, own, rows)
        for user, prefix in enumerate(self._prefixes):
            if len(prefix) >= len(self._prompts[user]) + self._tokens:
                self._start(user)
        return given

    def _drafted(self, user: int) -> Drafted:
        text = self._drafts[user]
        return EMPTY if text is None else draw_tree(text, self._settings, Drawing(rng=self._rng))

    def _settle(self, user: int, drafted: Drafted, rows: Any) -> int:
        tree = drafted.tree
        evidence = self._kind.make(tree, drafted.lists, True) if len(tree) else tw.ListEvidence({}, replacement=True)
        draft = tw.Draft(round=0, prefix_length=1, prefix_hash=0, tree=tree, evidence=evidence)
        verdict = tw.verify(draft, rows, self._rng)
        if not isinstance(verdict, tw.Verdict):
            raise TypeError(f"a round that is not over: use evidence that ends with a verdict, not {evidence.name}")
        path = tree.path(verdict.node) if verdict.node >= 0 else ()
        self._texts[user].commit(path)
        self._prefixes[user] += [*(tree.tokens[node] for node in path), verdict.token]
        if self._drafts[user] is not None:
            commit(self._drafts[user], drafted, path, verdict.token)
        return len(path) + 1

    def run(self, seconds: float) -> tuple[int, float, float]:
        """Go on for so long; (tokens, seconds, CPU seconds of the process)."""
        tokens, began, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            tokens += self.step()
        return tokens, time.perf_counter() - began, time.process_time() - cpu

    def close(self) -> None:
        """Free the caches."""
        for text in (*self._texts, *(draft for draft in self._drafts if draft is not None)):
            text.close()
