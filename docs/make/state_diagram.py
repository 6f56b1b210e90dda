"""Draw the table of session states: ``python docs/make/state_diagram.py`` writes docs/session_states.svg.

Which arrows there are, what they say and whose they are comes from ``tslt_wire.session.states``; where states stand and
how an arrow runs is told here.  A state or an arrow that has no place here, or is no more in the table, is an error.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

from tslt_wire.frames.kinds import DRAFT_KINDS, Kind, Role
from tslt_wire.session.states import OVER, SENDERS, TRANSITIONS, Act, State

OUT = Path(__file__).parents[1] / "session_states.svg"
BOX = (104, 40)
"""Width and height of a state, in pixels of the picture."""

PLACES = {
    State.START: (280, 40),
    State.GREETED: (280, 124),
    State.READY: (280, 208),
    State.IDLE: (280, 300),
    State.OPEN: (280, 430),
    State.ASKED: (500, 430),
    State.ENDED: (70, 430),
    State.PROPOSED: (280, 560),
    State.CLOSED: (170, 704),
    State.FAILED: (400, 704),
}
"""Centre of each state."""


@dataclass(frozen=True, slots=True)
class Arrow:
    """How the arrow from one state to another runs, and where its words stand."""

    path: str
    words: tuple[int, int]
    anchor: str = "start"
    wrap: int = 40
    """Most characters of a line."""


ARROWS = {
    (State.START, State.GREETED): Arrow("M280 60 V102", (290, 87)),
    (State.GREETED, State.READY): Arrow("M280 144 V186", (290, 171)),
    (State.READY, State.IDLE): Arrow("M280 228 V278", (270, 253), "end"),
    (State.READY, State.ENDED): Arrow("M228 208 H30 V408", (40, 183), "start", 22),
    (State.IDLE, State.IDLE): Arrow("M316 280 C 330 232, 400 262, 336 290", (374, 262)),
    (State.IDLE, State.OPEN): Arrow("M265 320 V408", (256, 370), "end"),
    (State.OPEN, State.IDLE): Arrow("M295 410 V322", (304, 370)),
    (State.OPEN, State.OPEN): Arrow("M320 452 C 334 500, 404 490, 336 448", (386, 482), "start", 24),
    (State.OPEN, State.ENDED): Arrow("M228 430 H124", (176, 404), "middle", 14),
    (State.ENDED, State.IDLE): Arrow("M70 410 V300 H226", (80, 291)),
    (State.OPEN, State.ASKED): Arrow("M332 422 H446", (389, 414), "middle"),
    (State.ASKED, State.OPEN): Arrow("M448 438 H334", (389, 456), "middle"),
    (State.OPEN, State.PROPOSED): Arrow("M265 450 V538", (256, 500), "end"),
    (State.PROPOSED, State.OPEN): Arrow("M295 540 V452", (304, 500)),
    (State.PROPOSED, State.ENDED): Arrow("M228 560 H70 V452", (80, 598), "start", 28),
    (State.PROPOSED, State.IDLE): Arrow("M332 560 H580 V308 H334", (570, 328), "end"),
}
BORDER = (8, 8, 584, 618)
"""Around the states that a session may be closed or fail in: left, top, width, height."""
ENDINGS = {
    State.CLOSED: Arrow("M170 626 V682", (180, 656)),
    State.FAILED: Arrow("M400 626 V682", (410, 656)),
}
"""Arrows from that border."""
COLOURS = {frozenset({Role.DEVICE}): "#1a5fb4", frozenset({Role.EDGE}): "#b0470c", frozenset(Role): "#444444"}
"""Of words, by who may send or do it."""
ACTORS = {Act.VERDICT_END: Role.EDGE, Act.RESUME_END: Role.DEVICE, Act.TAKE: Role.DEVICE, Act.TAKE_END: Role.DEVICE} | {
    Act.FOLLOW: Role.DEVICE
}


def arrows_of_the_table() -> tuple[dict[tuple[State, State], list[Kind | Act]], dict[State, list[Kind | Act]]]:
    """What leads from state to state, and what leads to an end from every state that is none.

    ValueError if an end is reached from some of them alone: then one arrow from all of them would be wrong.
    """
    between: dict[tuple[State, State], list[Kind | Act]] = {}
    endings: dict[State, list[Kind | Act]] = {}
    for (state, what), after in TRANSITIONS.items():
        if what is Act.RECONNECT:
            continue  # it leads to the start of another picture like this one: the page says so
        between.setdefault((state, after), []).append(what)
    for end in OVER:
        ways = {tuple(between.pop((state, end), ())) for state in State if state not in OVER}
        if len(ways) != 1:
            raise ValueError(f"not every state leads to {end} alike: {ways}")
        endings[end] = [*ways.pop()]
    return between, endings


def actors_of(what: Kind | Act) -> frozenset[Role]:
    """Who sends or does it."""
    if isinstance(what, Kind):
        return SENDERS[what]
    return frozenset({ACTORS[what]}) if what in ACTORS else frozenset(Role)


def words_of(causes: list[Kind | Act]) -> list[tuple[str, str]]:
    """Words and their colour; the kinds of drafts are one."""
    drafts = frozenset(DRAFT_KINDS.values())
    if drafts <= {*causes}:
        first = next(what for what in causes if what in drafts)
        causes = [what for what in causes if what not in drafts or what is first]
    names = {what: what.name if isinstance(what, Kind) else what.value for what in causes}
    return [("any DRAFT" if what in drafts else names[what], COLOURS[actors_of(what)]) for what in causes]


def drawn(arrow: Arrow, causes: list[Kind | Act]) -> str:
    """One arrow and its words, each cause on lines of its own."""
    lines = [(line, colour) for text, colour in words_of(causes) for line in textwrap.wrap(text, arrow.wrap)]
    x, y = arrow.words
    words = "".join(
        f'<text x="{x}" y="{y + 17 * row}" text-anchor="{arrow.anchor}" fill="{colour}">{line}</text>'
        for row, (line, colour) in enumerate(lines)
    )
    return f'<path d="{arrow.path}" marker-end="url(#tip)"/>{words}'


def picture() -> str:
    """The diagram as SVG."""
    between, endings = arrows_of_the_table()
    if (differ := {*PLACES} ^ {*State}) or (differ := {*ARROWS} ^ {*between}) or (differ := {*ENDINGS} ^ {*endings}):
        raise ValueError(f"the picture and the table of states differ in {sorted(map(str, differ))}")
    width, height = BOX
    boxes = [
        f'<rect x="{x - width // 2}" y="{y - height // 2}" width="{width}" height="{height}" rx="8" '
        f'fill="{"#f1f1f1" if state in OVER else "#e8f0fb"}" stroke="#5b6f8a"/>'
        f'<text x="{x}" y="{y + 5}" text-anchor="middle" font-weight="bold" fill="#222">{state}</text>'
        for state, (x, y) in PLACES.items()
    ]
    left, top, wide, high = BORDER
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 732" font-family="Helvetica, Arial, sans-serif" '
            'font-size="14" role="img">',
            "<title>States of a session</title>",
            "<!-- written by docs/make/state_diagram.py from tslt_wire/session/states.py -->",
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9" '
            'orient="auto"><path d="M0 0L10 5L0 10z" fill="#555" stroke="none"/></marker></defs>',
            '<rect width="600" height="732" fill="#ffffff"/>',
            f'<rect x="{left}" y="{top}" width="{wide}" height="{high}" rx="12" fill="none" stroke="#aaa" '
            'stroke-dasharray="5 4"/>',
            f'<text x="420" y="46" fill="{COLOURS[frozenset({Role.DEVICE})]}">blue: the device</text>',
            f'<text x="420" y="66" fill="{COLOURS[frozenset({Role.EDGE})]}">brown: the edge</text>',
            f'<text x="420" y="86" fill="{COLOURS[frozenset(Role)]}">grey: either</text>',
            '<g fill="none" stroke="#555" stroke-width="1.5" stroke-linejoin="round">',
            *(drawn(ARROWS[ends], causes).replace("<text", '<text stroke="none"') for ends, causes in between.items()),
            *(drawn(ENDINGS[end], endings[end]).replace("<text", '<text stroke="none"') for end in ENDINGS),
            "</g>",
            *boxes,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    OUT.write_text(picture(), encoding="utf-8")
