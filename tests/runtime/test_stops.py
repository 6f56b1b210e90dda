"""Stop strings: what comes out does not depend on how the text came in, and nothing after one is shown."""

from __future__ import annotations

from itertools import pairwise

import pytest
from byte_tokenizer import byte_level
from hypothesis import given
from hypothesis import strategies as st

from tslt_runtime.pieces import Pieces
from tslt_runtime.stops import MOST_CHARACTERS, MOST_STOPS, Stops, stops_of

TOKENIZER = byte_level()
LETTERS = st.text("abc", max_size=30)
STOPS = st.lists(st.text("abc", min_size=1, max_size=5), max_size=3)


def plainly(text, stops):
    """(What is shown, the stop): a character at a time."""
    for end in range(1, len(text) + 1):
        if found := [stop for stop in stops if text[:end].endswith(stop)]:
            longest = max(found, key=len)
            return text[: end - len(longest)], longest
    return text, None


def parts_of(text, cuts):
    borders = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[a:b] for a, b in pairwise(borders)]


@given(LETTERS, STOPS, st.lists(st.integers(0, 30), max_size=8))
def test_pieces_of_any_size_end_at_the_same_place(text, stops, cuts):
    watch, shown = Stops(stops), ""
    for part in parts_of(text, cuts):
        shown += watch.add(part)
        if watch.found is None:
            waits = text[len(shown) :][: sum(map(len, stops))]
            assert not waits or any(stop.startswith(waits[: len(stop)]) or waits in text for stop in stops)
    shown += watch.finish()
    assert (shown, watch.found) == plainly(text, stops)


def test_only_what_may_become_a_stop_string_waits():
    watch = Stops(["\nQ:", "###"])
    assert watch.add("one\n") == "one"
    assert watch.add("Q") == ""
    assert watch.add("!#") == "\nQ!"
    assert watch.add("#x") == "##x"
    assert watch.add("two#") == "two"
    assert watch.finish() == "#"
    assert watch.found is None


@given(st.text("abé🐕", max_size=20), st.lists(st.text("abé🐕", min_size=1, max_size=3), max_size=3), st.integers(1, 5))
def test_the_tokens_that_stay_are_the_text_that_was_shown(text, stops, size):
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    prompt = TOKENIZER.encode("p").ids
    pieces, found = Pieces(TOKENIZER, prompt), []
    pieces.stop_at(stops)
    for at in range(0, len(ids), size):
        found.append(pieces.add(ids[at : at + size], [-float(i) for i in range(at, min(at + size, len(ids)))]))
        if pieces.stopped:
            break
    else:
        found.append(pieces.finish())
    shown, stop = plainly(text, stops)
    assert "".join(piece.text for piece in found) == shown
    assert pieces.stopped == (stop is not None)
    told = [token for piece in found for token in piece.tokens]
    assert told == ids[: len(told)]
    assert [p for piece in found for p in piece.log_probs] == [-float(i) for i in range(len(told))]
    kept = TOKENIZER.decode(ids[: pieces.keep - len(prompt)])
    assert shown.startswith(kept)
    longer = TOKENIZER.decode(ids[: pieces.keep - len(prompt) + 1])
    assert longer == kept or not shown.startswith(longer) or "\ufffd" in longer
    if stop is None:
        assert told == ids
        assert pieces.written == len(ids)
    else:
        whole = TOKENIZER.decode(ids[: pieces.written])
        assert stop in whole
        assert stop not in TOKENIZER.decode(ids[: pieces.written - 1])
        assert TOKENIZER.decode(told).startswith(shown)
        assert (
            not told
            or not shown.startswith(TOKENIZER.decode(told[:-1]))
            or len(TOKENIZER.decode(told[:-1])) <= len(shown)
        )


@pytest.mark.parametrize(
    ("stop", "kind"),
    [
        ([""], ValueError),
        (["a", 1], TypeError),
        (["x" * (MOST_CHARACTERS + 1)], ValueError),
        (["a"] * (MOST_STOPS + 1), ValueError),
    ],
)
def test_what_is_no_stop_string_is_refused(stop, kind):
    with pytest.raises(kind, match="stop"):
        stops_of(stop)
    assert stops_of("ab") == ("ab",)
