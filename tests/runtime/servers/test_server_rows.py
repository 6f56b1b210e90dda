"""Rows that a server tells in part: exactly the target's law, however little is listed."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from chi_square import chi_square_p

import tslt_wire as tw
from tslt_runtime.engines.protocol import EngineFacts
from tslt_runtime.verifiers.protocol import Numbers, Request
from tslt_runtime.verifiers.servers.protocol import Drawn, Listed, ServerGone
from tslt_runtime.verifiers.servers.rows import CALLS, ServerRow
from tslt_runtime.verifiers.servers.verifier import ServerVerifier
from tslt_wire.verification.choices import RandomChoices

V = 12
PROBS = tw.target_probs(np.random.default_rng(2).normal(size=V) * 1.5, tw.Sampling())
RARE = np.array([0.9995, 0.0005])
DRAWS = 20_000


class Server:
    """Draws from given probabilities; ``draws=False``: as one that cannot."""

    name, context, most_top_k = "a table", 100, 4

    def __init__(self, probs=PROBS, *, draws=True):
        self.probs, self.draws, self.calls, self.rows = probs, draws, 0, 0

    def differs(self, sampling):
        return None

    def drawn(self, prompt, sampling, count, seed):
        self.calls += 1
        if not self.draws:
            return []
        drawn = np.random.default_rng(seed).choice(len(self.probs), count, p=self.probs)
        return [Drawn(int(token), float(self.probs[token])) for token in drawn]

    def listed(self, prompts, sampling, tokens, seed):
        return [Listed({token: float(self.probs[token]) for token in tokens}) for _ in prompts]

    def row(self, prompt, sampling):
        self.rows += 1
        return {token: float(prob) for token, prob in enumerate(self.probs)}

    def close(self):
        pass


def row_of(server, tokens, *, whole=False, drawn=(), draws=4):
    listed = Listed({token: float(server.probs[token]) for token in tokens}, whole=whole, drawn=drawn)
    return ServerRow(server, [1], tw.Sampling(), listed, vocab_size=len(server.probs), draws=draws)


@pytest.mark.parametrize("draws", [True, False], ids=["draws", "rows alone"])
@pytest.mark.parametrize("tokens", [[], [3], [0, 2, 5, 7], range(V)], ids=["none", "one", "some", "all"])
def test_draws_have_the_law(tokens, draws):
    server, choices = Server(draws=draws), RandomChoices(np.random.default_rng(4))
    found = [row_of(server, tokens).draw(choices) for _ in range(DRAWS)]
    assert chi_square_p(np.bincount(found, minlength=V), PROBS) > 1e-3


def test_several_draws_of_a_row_are_independent():
    server, choices = Server(), RandomChoices(np.random.default_rng(4))
    pairs = np.zeros((V, V))
    for _ in range(DRAWS // 2):
        row = row_of(server, [0, 2])
        pairs[row.draw(choices), row.draw(choices)] += 1
    assert chi_square_p(pairs.ravel(), np.outer(PROBS, PROBS).ravel()) > 1e-3


def test_what_the_server_drew_is_used_before_it_is_asked_again():
    server = Server()
    assert row_of(server, [], drawn=(Drawn(5, 0.1),)).draw(RandomChoices(np.random.default_rng(0))) == 5
    assert server.calls == 0


def test_what_was_drawn_has_been_told():
    server = Server()
    assert row_of(server, [2], drawn=(Drawn(5, 0.1),)).prob(5) == 0.1
    assert server.rows == 0


def test_a_rare_token_costs_a_bounded_number_of_calls():
    class Unlucky:
        """The listed tokens are never drawn."""

        def uniform(self):
            return 0.9999

        def draw(self, weights, cumulative=None):
            return int(np.flatnonzero(weights)[0])

    server = Server(np.array([1.0, 0.0]))
    row = ServerRow(server, [1], tw.Sampling(), Listed({0: float(RARE[0])}), vocab_size=2, draws=2)
    server.row = lambda prompt, sampling: dict(enumerate(RARE))
    assert row.draw(Unlucky()) == 1
    assert server.calls == CALLS


def test_a_whole_row_needs_no_server():
    row = row_of(Server(draws=False), range(V), whole=True)
    np.testing.assert_allclose(row.dense(), PROBS)
    assert row.prob(3) == PROBS[3]
    few = ServerRow(Server(), [1], tw.Sampling(), Listed({1: 0.25, 3: 0.75}, whole=True), vocab_size=V, draws=4)
    assert few.prob(0) == 0.0
    assert few.dense().sum() == 1.0


@pytest.mark.parametrize("token", [-1, V])
def test_a_token_that_the_model_has_not_is_no_answer(token):
    class Wrong(Server):
        def drawn(self, prompt, sampling, count, seed):
            return [Drawn(token, 1.0)]

        def row(self, prompt, sampling):
            return {token: 1.0}

    choices = RandomChoices(np.random.default_rng(0))
    with pytest.raises(ServerGone, match="the model has 12"):
        ServerRow(Server(), [1], tw.Sampling(), Listed({token: 1.0}), vocab_size=V, draws=4)
    for ask in (lambda row: row.draw(choices), lambda row: row.prob(3)):
        with pytest.raises(ServerGone, match="the model has 12"):
            ask(row_of(Wrong(), []))


def test_a_row_that_was_told_is_drawn_from():
    row, choices = row_of(Server(), [], draws=1), RandomChoices(np.random.default_rng(0))
    assert row.dense().tolist() == PROBS.tolist()
    assert row.prob(3) == PROBS[3]
    assert 0 <= row.draw(choices) < V
    rest = row_of(Server(np.eye(V)[5], draws=False), [])
    assert rest.draw(choices) == 5
    only = row_of(Server(np.eye(V)[5]), [5], whole=True)
    assert [only.draw(choices) for _ in range(3)] == [5, 5, 5]


def test_what_is_not_listed_is_asked_for():
    server = Server()
    row = row_of(server, [1])
    assert row.prob(1) == PROBS[1]
    assert server.rows == 0
    assert row.prob(2) == PROBS[2]
    np.testing.assert_array_equal(row.dense(), PROBS)
    assert server.rows == 1


def test_rounding_that_leaves_nothing_else():
    """The listed ones are all there is, and sum to a little less than 1."""
    probs = np.array([0.5, 0.5, 0.0])
    row = ServerRow(Server(probs), [1], tw.Sampling(), Listed({0: 0.5, 1: 0.5 - 1e-7}), vocab_size=3, draws=4)

    class Last(RandomChoices):
        def uniform(self):
            return 1 - 1e-9

    assert row.draw(Last(np.random.default_rng(0))) in (0, 1)


def test_more_proposals_do_not_depend_on_what_was_left_of_earlier_draws():
    """Whoever answers MORE, the edge that sent the first ones or one that has just come up: the answer is one."""
    facts = EngineFacts(model="m", vocab_size=V, context=100)
    tree = tw.TokenTree.chain([3, 5])
    evidence = tw.ScalarEvidence.of(tree, dict.fromkeys(tree.inner, tw.sparsify(np.zeros(V))))
    draft = tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=tree, evidence=evidence)

    def answer(verifier, asked, step):
        numbers = Numbers(lambda: np.random.default_rng([7, step]))
        request = Request(prefix=(1,), sampling=tw.Sampling(), asked=asked, numbers=numbers)
        return asyncio.run(verifier.answer(verifier.open(), request))

    going, fresh = ServerVerifier(Server(), facts), ServerVerifier(Server(), facts)
    first = answer(going, tw.DraftReceived(draft), 0)
    assert isinstance(first.answer, tw.Proposals)
    again = [answer(who, tw.MoreAsked(draft, first.answer, first.row), 1).answer for who in (going, fresh)]
    later = answer(fresh, tw.MoreAsked(draft, first.answer), 1).answer
    assert again == [later, later]
