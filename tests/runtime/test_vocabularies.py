"""Vocabularies that fit: padded outputs, renamed special tokens; nothing is drafted but what both ends have."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import numpy as np
import pytest
from table_engine import TableDraft, TableTarget
from text_law import transition_law
from two_ends import KINDS, tables, two_ends
from word_tokenizers import Recorder, words

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.device import Device
from tslt_runtime.draft_vocabulary import DraftVocabulary
from tslt_runtime.draft_window import DraftWindow
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings
from tslt_runtime.engines.protocol import ContextFull, EngineFacts, Node
from tslt_runtime.fingerprint import VocabularyMismatch, vocabulary_of
from tslt_runtime.mapped_text import MOST_REREAD, MappedText
from tslt_runtime.token_map import TokenMap, same_ids
from tslt_runtime.verifiers.protocol import VerifierFacts

V, TOKENS = 8, 800
NOT_BY_CHANCE = 1e-4
LEAVING = DraftSettings(expansion=(1, 1), temperature=3.0, truncation=tw.TopP(0.3))
"""Lists that leave much out, so that they have tails wherever there may be some."""
PLAIN = ["a", "b", "c", "d", "e", "f"]


def draft_table(size):
    """Logits of a draft of another size, like the target's as far as both have the tokens."""
    _, draft = tables(V)
    table = np.zeros((size, size))
    both = min(size, V)
    table[:both, :both] = draft[:both, :both]
    return table


def offered(verifier, special=("<s>", "<pad>"), *, begin=None, size=V):
    """What an edge of V tokens, the last ones special, says."""
    vocabulary = vocabulary_of(words(PLAIN, special, begin=begin), vocab_size=size)
    return edge_settings(verifier.facts, vocabulary)


async def text_of(draft, settings, tokens=TOKENS, *, prompt=(0,), **options):
    verifier = options.pop("verifier", None) or Recorder(TableTarget(tables(V)[0]))
    async with two_ends(tables(V)[0], draft, verifier=verifier, **options) as device:
        await device.prompt(list(prompt))
        rounds = [round_ async for round_ in device.generate(tokens, settings)]
        return device, verifier, rounds


def accepted(rounds):
    return sum(len(round_.accepted) for round_ in rounds)


@pytest.mark.parametrize("size", [6, 11])
@pytest.mark.parametrize("kind", KINDS)
def test_a_draft_of_another_size_gives_the_targets_text(kind, size):
    device, seen, rounds = asyncio.run(text_of(draft_table(size), KINDS[kind], seed=3))
    text = device.session.prefix
    assert device.session.fit is tw.Fit.PADDED
    assert len(text) == TOKENS + 1
    assert 0 < accepted(rounds) < sum(round_.drafted for round_ in rounds)
    assert max(seen.drafted | seen.listed) < min(size, V)
    assert seen.tails == 0
    assert set(text) == set(range(V))
    assert transition_law(tables(V)[0], text) > NOT_BY_CHANCE


def renamed(seed=3, **options):
    """A device whose draft has the target's ordinary tokens, and special ones of its own."""
    verifier = Recorder(TableTarget(tables(V)[0]))
    vocabulary = DraftVocabulary(words(PLAIN, ["<go>", "<stop>", "<more>"]), vocab_size=9)
    given = {"verifier": verifier, "offered": offered(verifier), "vocabulary": vocabulary, "seed": seed}
    return given | options


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_of_other_names_are_never_drafted(kind):
    device, seen, rounds = asyncio.run(text_of(draft_table(9), KINDS[kind], **renamed()))
    text = device.session.prefix
    assert device.session.fit is tw.Fit.RENAMED
    assert 0 < accepted(rounds) < sum(round_.drafted for round_ in rounds)
    assert max(seen.drafted | seen.listed) < len(PLAIN)
    assert seen.tails == 0
    assert set(text) == set(range(V))
    assert transition_law(tables(V)[0], text) > NOT_BY_CHANCE


@pytest.mark.parametrize("kind", ["list", "list tree", "scalar", "coupled"])
def test_greedy_texts_are_the_targets(kind):
    greedy = {"sampling": tw.Sampling(temperature=0)}
    for options in ({}, renamed()):
        size = 9 if options else 6
        device, _, _ = asyncio.run(text_of(draft_table(size), KINDS[kind], 60, **options, **greedy))
        text = device.session.prefix
        assert text[1:] == tuple(tables(V)[0][list(text[:-1])].argmax(axis=1))


def test_a_tail_would_draw_what_the_draft_has_not(monkeypatch):
    """Why there is none: so a draft that was not restricted as a whole is noticed."""
    monkeypatch.setattr(Device, "restricted", False)
    with pytest.raises(ValueError, match=r"has no token for [67]"):
        asyncio.run(text_of(draft_table(6), LEAVING, 400, seed=3))


def test_lists_that_leave_much_out_have_no_tail():
    _, seen, _ = asyncio.run(text_of(draft_table(6), LEAVING, 400, seed=3))
    assert seen.tails == 0
    assert max(seen.drafted | seen.listed) < 6


def test_a_prompt_of_tokens_that_the_draft_has_not():
    device, _, rounds = asyncio.run(text_of(draft_table(6), KINDS["list"], 50, prompt=[7, 6, 7]))
    assert device.session.prefix[:3] == (7, 6, 7)
    assert accepted(rounds) > 0


def test_same_vocabularies_are_left_alone():
    device, seen, _ = asyncio.run(text_of(tables(V)[1], LEAVING, 300, seed=1))
    assert (device.session.fit, device.restricted) == (tw.Fit.SAME, False)
    assert isinstance(device._text, TableDraft)
    assert seen.tails > 0


@pytest.mark.parametrize(
    ("own", "code"),
    [
        (words(PLAIN[::-1], ["<s>", "<pad>"]), tw.ErrorCode.TOKENIZER_MISMATCH),
        (words([*PLAIN, "g"], ["<s>"]), tw.ErrorCode.TOKENIZER_MISMATCH),
        (words(PLAIN[:4], ["<s>", "<pad>"]), tw.ErrorCode.VOCABULARY_MISMATCH),
    ],
    ids=["other order", "one word more", "fewer words"],
)
def test_other_ordinary_tokens_are_refused(own, code):
    options = renamed(vocabulary=DraftVocabulary(own, vocab_size=own.get_vocab_size()))
    with pytest.raises(EdgeError, match="fingerprint") as caught:
        asyncio.run(text_of(draft_table(own.get_vocab_size()), KINDS["list"], 1, **options))
    assert caught.value.code == code


def test_a_refusal_names_the_first_token_that_differs_and_what_to_do():
    own = words(["a", "b", "x", "d", "e", "f"], ["<s>", "<pad>"])
    options = renamed(vocabulary=DraftVocabulary(own, vocab_size=V))
    with pytest.raises(EdgeError, match="2 is the first that differs: 'c' there, 'x' here") as caught:
        asyncio.run(text_of(draft_table(V), KINDS["list"], 1, **options))
    assert "--target-tokenizer" in str(caught.value)
    few = words(PLAIN[:4])
    options = renamed(vocabulary=DraftVocabulary(few, vocab_size=4))
    with pytest.raises(EdgeError, match="4 is the first that differs: 'e' there, no token here"):
        asyncio.run(text_of(draft_table(4), KINDS["list"], 1, **options))


def test_an_edge_that_says_nothing_of_ordinary_tokens_refuses_renamed_ones():
    options = renamed()
    options["offered"] = replace(options["offered"], ordinary=b"")
    with pytest.raises(EdgeError, match="fingerprint"):
        asyncio.run(text_of(draft_table(9), KINDS["list"], 1, **options))


def test_a_hello_that_tells_of_ordinary_tokens_needs_their_vocabulary():
    with pytest.raises(ValueError, match="give the vocabulary"):
        asyncio.run(text_of(draft_table(8), KINDS["list"], 1, ordinary=bytes(32)))


def test_both_ends_log_what_is_never_drafted(caplog):
    caplog.set_level(logging.INFO, logger="tslt")
    asyncio.run(text_of(draft_table(9), KINDS["list"], 5, **renamed()))
    told = {record.name: record.getMessage() for record in caplog.records if "never drafted" in record.getMessage()}
    assert "renamed vocabulary: 2 of 8 tokens are never drafted: 6 '<go>', 7 '<stop>'" in told["tslt.device"]
    assert "renamed vocabulary: 2 of 8 tokens are never drafted: 6 '<s>', 7 '<pad>'" in told["tslt.edge"]
    caplog.clear()
    target = tables(30)[0]
    verifier = Recorder(TableTarget(target))
    asyncio.run(text_of(draft_table(8), KINDS["list"], 5, verifier=verifier))
    told = [record.getMessage() for record in caplog.records if "never drafted" in record.getMessage()]
    assert any("padded vocabulary: 22 of 30 tokens are never drafted: 8, 9, 10, " in line for line in told)
    assert all(line.endswith("17, ...") for line in told if "padded" in line)


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (None, "<s>", "texts begin with no token by the draft's tokenizer, with 6 '<s>' by that of the target"),
        ("<pad>", "<s>", "texts begin with 7 '<pad>' by the draft's tokenizer, with 6 '<s>'"),
        ("<s>", None, "texts begin with 6 '<s>' by the draft's tokenizer, with no token"),
        ("<s>", "<s>", None),
    ],
)
def test_another_beginning_of_texts_is_noticed(ours, theirs, said, caplog):
    verifier = Recorder(TableTarget(tables(V)[0]))
    options = {"verifier": verifier, "offered": offered(verifier, begin=theirs)}
    options["vocabulary"] = DraftVocabulary(words(PLAIN, ["<s>", "<pad>"], begin=ours), vocab_size=V)
    device, _, _ = asyncio.run(text_of(draft_table(V), KINDS["list"], 2, **options))
    assert device.session.fit is tw.Fit.SAME
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [line[: len(said)] for line in warnings] == [said] if said else not warnings


def test_an_edges_vocabulary_is_its_targets():
    facts = VerifierFacts(engine=EngineFacts(model="m", vocab_size=9, context=9))
    with pytest.raises(ValueError, match="8 tokens, and m has 9"):
        edge_settings(facts, vocabulary_of(words(PLAIN, ["<s>", "<pad>"])))


# ------------------------------------------------------------------------------------------------- maps and their texts


def test_what_is_no_map_of_tokens():
    with pytest.raises(VocabularyMismatch, match="no token in common"):
        same_ids(4, 4, without=range(4))
    for read, drafted in (([0, 0], [True, True]), ([0, -1], [True, True])):
        with pytest.raises(ValueError, match="no two have the same"):
            TokenMap(read, drafted)


def test_a_map_of_another_size():
    found = TokenMap([3, -1, 5], [True, False, True])
    assert found.never.tolist() == [1]
    wide, narrow = found.resized(5), found.resized(2)
    assert (wide.ids.tolist(), wide.read.tolist(), wide.vocab_size) == ([0, 2], [3, -1, 5, -1, -1], 5)
    assert (narrow.ids.tolist(), narrow.never.tolist()) == ([0], [1])
    assert found.resized(3) is found
    assert wide.fingerprint == found.fingerprint != narrow.fingerprint


class Counting(TableDraft):
    """Says how much of the prefix changed, and has a context that ends."""

    prefix = ()

    def __init__(self, size, context=1 << 20):
        self.context, self.kept = context, []
        super().__init__(np.zeros((size, size)))

    @property
    def room(self):
        return self.context - len(self.prefix)

    @room.setter
    def room(self, _):
        pass

    def set_prefix(self, tokens):
        if len(tokens) > self.context:
            raise ContextFull(needed=len(tokens), limit=self.context)
        same = next((i for i, (a, b) in enumerate(zip(self.prefix, tokens, strict=False)) if a != b), len(self.prefix))
        self.kept.append(min(same, len(tokens)))
        super().set_prefix(tokens)


EVENS = TokenMap([0, -1, 1, -1, 2, -1], [True, False, True, False, True, False])
"""Even tokens have counterparts."""


def spelt(tokens):
    """What is read for the others: twice as many tokens, which say how many there were."""
    return [3 + len(tokens)] * (2 * len(tokens))


def test_what_a_draft_reads_grows_with_the_text():
    inner = Counting(200)
    text = MappedText(inner, EVENS, reading=spelt)
    text.set_prefix([0, 1, 3, 2])
    assert inner.prefix == [0, 5, 5, 5, 5, 1]
    text.expand([])
    text.expand([Node(-1, 4), Node(0, 2)])
    text.commit([0], 2)  # both drafted
    assert (text.prefix, inner.prefix) == ((0, 1, 3, 2, 4, 2), [0, 5, 5, 5, 5, 1, 2, 1])
    text.expand([])
    text.expand([Node(-1, 4)])
    inner.kept.clear()
    text.commit([0], 5)
    assert inner.prefix == [0, 5, 5, 5, 5, 1, 2, 1, 2, 4, 4]
    assert inner.kept[-1] == 9  # only what is new was read
    text.expand([])
    text.commit([], 1)  # together with the one before
    assert inner.prefix == [0, 5, 5, 5, 5, 1, 2, 1, 2, 5, 5, 5, 5]
    text.commit([], 0)
    text.commit([], 1)
    assert inner.prefix[9:] == [5, 5, 5, 5, 0, 4, 4]
    assert text.prefix == (0, 1, 3, 2, 4, 2, 4, 5, 1, 0, 1)
    assert text.read == tuple(inner.prefix)
    other = MappedText(Counting(200), EVENS, reading=spelt)
    other.set_prefix(text.prefix)
    assert other.read == text.read
    with pytest.raises(ValueError, match="no token for 1"):
        text.expand([Node(-1, 1)])
    for wrong in ([], [6], [-1]):
        with pytest.raises(ValueError, match=r"prefix|vocabulary"):
            text.set_prefix(wrong)
    with pytest.raises(ValueError, match="no path"):
        text.commit([3], 0)
    text.close()
    assert text.prefix == ()


def test_long_runs_are_read_in_pieces():
    one, grown = (MappedText(Counting(300), EVENS, reading=spelt) for _ in range(2))
    tokens = [1] * (2 * MOST_REREAD + 5)
    one.set_prefix(tokens)
    grown.set_prefix(tokens[:1])
    for token in tokens[1:]:
        grown.commit([], token)
    assert one.read == grown.read
    assert max(one.read) == 3 + MOST_REREAD
    assert len(one.read) == 2 * len(tokens)


def test_a_text_of_nothing_that_the_draft_has_begins_with_a_token_all_the_same():
    inner = Counting(9)
    text = MappedText(inner, EVENS, start=4)
    text.set_prefix([1, 3])
    assert inner.prefix == [4]
    text.commit([], 2)
    assert inner.prefix == [4, 1]


def test_a_draft_whose_context_is_shorter_reads_the_end_of_the_text():
    inner = Counting(200, context=10)
    text = MappedText(inner, EVENS, reading=spelt)
    text.set_prefix([0, 2, 4, 0, 2, 4, 0])
    assert (text.room, text.read) == (3, (0, 1, 2, 0, 1, 2, 0))
    text.expand([])
    text.commit([], 1)
    assert (text.room, text.read) == (1, (0, 1, 2, 0, 1, 2, 0, 4, 4))
    text.expand([])
    text.commit([], 3)  # together with the one before it is too long: the first one and the last ones
    assert (text.room, text.read) == (5, (0, 5, 5, 5, 5))
    text.commit([], 3)
    assert text.read == (0, 6, 6, 6, 6, 6, 6)
    for _ in range(20):
        text.expand([])
        text.commit([], 2)
        assert inner.prefix == list(text.read)
        assert 0 <= text.room <= 9
    text.set_prefix([0, 2] * 20)
    assert text.read == (0, 1, 0, 1, 0, 1, 0, 1, 0, 1)[:1] + (1, 0, 1, 0, 1)[1:]
    assert text.expand([]).shape == (1, 6)


def test_a_text_that_is_longer_than_the_drafts_context_goes_on():
    class Short(TableDraft):
        def __init__(self, table):
            self.prefix = []
            super().__init__(table)

        @property
        def room(self):
            return 12 - len(self.prefix)

        @room.setter
        def room(self, _):
            pass

    async def run():
        async with two_ends(tables(V)[0], draft_table(6)) as device:
            device._text = MappedText(Short(draft_table(6)), same_ids(6, V))
            device._window = DraftWindow(device._text)
            await device.prompt([0])
            rounds = [round_ async for round_ in device.generate(120, KINDS["list"])]
            return device.session.prefix, rounds

    text, rounds = asyncio.run(run())
    assert len(text) == 121
    assert accepted(rounds) > 0
