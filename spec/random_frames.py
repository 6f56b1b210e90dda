"""Print random frames and lone lists, one JSON object a line, for testing a decoder or encoder against this one.

A line has the fields of a test vector and of its group (spec/vectors/README.md), and ``form``: ``frame`` or ``list``.
One seed gives the same lines on every machine.  With ``--invalid`` the bytes are damaged, and a line has the error that
the library gives.

    python spec/random_frames.py --seed 1 --count 1000 --entropy range > some.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tslt_wire as tw
from spec.vectorgen.random_messages import KINDS, VOCAB_SIZES, size_of_list, some_list, some_message
from spec.vectorgen.tools import Json, list_value, message_value, profile_value, sealed
from tslt_wire.lists.prior import PLAIN_PRIORS, plain_prior

ENTROPIES = ("none", "range")
FORMS = (*KINDS, "list")
WEIGHTS = (10, 2, 2, 2, 2, 1, 2, 2, 1, 1, 2, 1, 2, 1, 1, 4, 1, 8)
"""How often each of FORMS comes."""
INVALID_ENTRIES = 20000
"""``max_entries`` of invalid cases: damage can turn a short list into one of a million tokens, which takes long."""


@dataclass(frozen=True)
class Sample:
    """Bytes, what is needed to read them, and what they mean."""

    kind: str
    profile: tw.Profile
    data: bytes
    value: Json
    limits: dict[str, int] = field(default_factory=dict)

    def error(self) -> str | None:
        """Name of the error that the library gives, or None."""
        decode: Any = tw.decode_list if self.kind == "list" else tw.decode
        try:
            decode(self.data, self.profile, limits=tw.DecodeLimits(**self.limits))
        except tw.DecodeError as error:
            return error.code.name.lower()
        return None

    def to_json(self, id_: str, error: str | None) -> Json:
        """The line."""
        profile = profile_value(self.profile)
        head = {"id": id_, "form": "list" if self.kind == "list" else "frame", "profile": profile}
        body = {"limits": self.limits, "hex": self.data.hex()}
        if error is None:
            return {**head, **body, "result": "valid", "value": self.value}
        return {**head, **body, "result": "invalid", "error": error}


def valid(
    rng: Random,
    kinds: tuple[str, ...],
    entropies: tuple[str, ...],
    vocab_sizes: tuple[int, ...],
    priors: tuple[str, ...] = PLAIN_PRIORS,
) -> Sample:
    """A frame or a lone list."""
    (kind,) = rng.choices(kinds, [WEIGHTS[FORMS.index(kind)] for kind in kinds])
    vocab_size, precision = rng.choice(vocab_sizes), rng.choice(list(tw.Precision))
    prior = plain_prior(rng.choice(priors), vocab_size)
    profile = tw.Profile(vocab_size=vocab_size, precision=precision, entropy=rng.choice(entropies), prior=prior)
    if kind == "list":
        q = some_list(rng, profile, precision, size_of_list(rng, vocab_size, long=True))
        sample = Sample(kind, profile, tw.encode_list(q, profile), list_value(q))
        exact = {"max_entries": len(q)}
    else:
        message = some_message(rng, kind, profile)
        sample = Sample(kind, profile, tw.encode(message, profile), message_value(message))
        exact = exact_limits(message)
    exact["max_frame_bytes"] = max(1, len(sample.data))
    if rng.random() < 0.2:
        name = rng.choice(sorted(exact))
        sample = replace(sample, limits={name: exact[name]})
    return sample


def exact_limits(message: tw.Message) -> dict[str, int]:
    """Limits that ``message`` just keeps to."""
    exact = {"max_extensions": max(1, len(message.extensions))}
    if isinstance(message, tw.Draft):
        exact["max_nodes"] = max(1, len(message.tree))
        exact["max_leaves"] = max(1, message.tree.leaves)
        exact["max_depth"] = max(message.tree.depths, default=1)
        exact["max_entries"] = max(1, sum(map(len, message.lists.values())))
    if isinstance(message, tw.ListReply):
        exact["max_entries"] = len(message.q)
    if isinstance(message, tw.Prompt):
        exact["max_prompt_tokens"] = max(1, len(message.tokens))
    return exact


# ------------------------------------------------------------------------------------------------------------- damage


def damaged(rng: Random, sample: Sample) -> Sample:
    """``sample`` with a change that is mostly, not always, an error."""
    if sample.limits and rng.random() < 0.5:
        ((name, limit),) = sample.limits.items()
        return replace(sample, limits={name: max(1, limit - 1)})
    sample = replace(sample, limits={"max_entries": INVALID_ENTRIES} | sample.limits)
    prior_name = sample.profile.prior.name if sample.profile.prior else "none"
    if rng.random() < 0.1 and prior_name in PLAIN_PRIORS:  # a table is one for its own vocabulary
        size = sample.profile.vocab_size + rng.choice((-1, 1))
        size = min(max(1, size), VOCAB_SIZES[-1])
        prior = plain_prior(prior_name, size)
        return replace(sample, profile=replace(sample.profile, vocab_size=size, prior=prior))
    if sample.kind == "list":
        return replace(sample, data=changed(rng, sample.data))
    if rng.random() < 0.1:
        return replace(sample, data=changed(rng, sample.data))
    content = sample.data[:-4]
    for _ in range(rng.choice((1, 1, 2))):
        content = changed(rng, content)
    return replace(sample, data=sealed(content))


def changed(rng: Random, data: bytes) -> bytes:
    """Bytes with one change; the first ones more often than others, because most fields are there."""
    at = min(rng.randint(0, len(data)), rng.randint(0, len(data)))
    how = rng.randrange(7)
    if how == 0:
        return data[:at]
    if how == 1:
        return data + rng.choice((b"\0", b"\1", b"\xff", rng.randbytes(9)))
    if how == 2:
        return data[:at] + rng.randbytes(rng.randint(1, 3)) + data[at:]
    if how == 3:
        return data[:at] + data[at + rng.randint(1, 3) :]
    if how == 4:
        return data[:at] + rng.choice((b"\xff\xff\xff\xff\x0f", b"\x80\x00", b"\0")) + data[at + 1 :]
    if not data:
        return b"\0"
    at = min(at, len(data) - 1)
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


# ------------------------------------------------------------------------------------------------------- command line


def cases(
    seed: int,
    count: int,
    *,
    kinds: tuple[str, ...] = FORMS,
    entropies: tuple[str, ...] = ENTROPIES,
    vocab_sizes: tuple[int, ...] = VOCAB_SIZES,
    invalid: bool = False,
) -> Iterator[Json]:
    """``count`` lines; each depends on the seed, its number and the other arguments alone."""
    for i in range(count):
        rng = Random(f"{seed}/{i}")
        sample, error = valid(rng, kinds, entropies, vocab_sizes), None
        while invalid and error is None:
            broken = damaged(rng, sample)
            error = broken.error()
        yield (broken if invalid else sample).to_json(f"random/{seed}/{i}", error)


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--kind", choices=FORMS, action="append", help="only this; repeat for more (default: all)")
    parser.add_argument("--entropy", choices=ENTROPIES, action="append", help="only this (default: both)")
    parser.add_argument("--vocab-size", type=int, action="append", help="only this; repeat for more")
    parser.add_argument("--invalid", action="store_true", help="damaged bytes, with the error that they must give")
    given = parser.parse_args(arguments)
    found = cases(
        given.seed,
        given.count,
        kinds=tuple(given.kind or FORMS),
        entropies=tuple(given.entropy or ENTROPIES),
        vocab_sizes=tuple(given.vocab_size or VOCAB_SIZES),
        invalid=given.invalid,
    )
    for case in found:
        print(json.dumps(case, separators=(",", ":")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
