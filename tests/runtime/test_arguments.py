"""What the runtime refuses where it is given."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from table_engine import TableTarget
from two_ends import FINGERPRINT, hello, tables, two_ends

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.engines.protocol import EngineFacts
from tslt_runtime.evidence import kind_of_evidence
from tslt_runtime.seeds import device_rng
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_runtime.verifiers.protocol import VerifierFacts


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"expansion": 4}, "expansion must be"),
        ({"expansion": "4"}, "expansion must be"),
        ({"expansion": (2, 0)}, "children"),
        ({"expansion": (1.5,)}, "children"),
        ({"expansion": (True,)}, "children"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"truncation": 5}, "truncation"),
        ({"precision": "f8"}, "f8"),
        ({"precision": 7}, "precision"),
        ({"replacement": "no"}, "replacement"),
        ({"replacement": 1}, "replacement"),
        ({"evidence": "no-such"}, "evidence must be one of"),
        ({"evidence": ("list",)}, "evidence must be one of"),
        ({"evidence": "scalar", "expansion": (2,)}, "is for chains"),
    ],
)
def test_draft_settings(wrong, said):
    with pytest.raises((TypeError, ValueError), match=said):
        DraftSettings(**wrong)


def test_numbers_of_numpy_are_numbers():
    settings = DraftSettings(expansion=np.array([2, 2]), temperature=np.float32(0.5), replacement=np.bool_(False))
    assert (settings.expansion, settings.temperature, settings.nodes, settings.leaves) == ((2, 2), 0.5, 6, 4)
    assert (DraftSettings(expansion=()).nodes, DraftSettings(expansion=()).leaves) == (0, 0)
    assert DraftSettings(expansion=(1,) * 9).leaves == 1


def test_evidence_that_there_is_not():
    for name in ("no-such", "full", None, 3):
        with pytest.raises(ValueError, match="evidence must be one of"):
            kind_of_evidence(name)


@pytest.mark.parametrize("secret", [b"", b"short", "a string of sixteen", None])
def test_an_edge_needs_a_secret(secret):
    verifier = LocalVerifier(TableTarget(tables()[0]))
    with pytest.raises((TypeError, ValueError), match="secret"):
        EdgeDriver(verifier, edge_settings(verifier.facts, FINGERPRINT), secret=secret)


def test_a_round_is_checked_before_anything_is_drafted():
    async def run():
        async with two_ends(*tables(), precisions=("f16",)) as device:
            await device.prompt([0])
            for tokens in ("5", 1.5, -1, None):
                with pytest.raises((TypeError, ValueError), match="max_tokens"):
                    await device.round(tokens, DraftSettings())
            with pytest.raises(TypeError, match="DraftSettings"):
                await device.round(5, "list")
            with pytest.raises(EdgeError, match="not log2/2"):
                await device.round(5, DraftSettings())
            assert len((await device.round(5, DraftSettings(precision="f16"))).tokens) > 0
            with pytest.raises(ValueError, match="vocabulary"):
                await device.prompt([8])
            assert await device.round(0, DraftSettings(precision="f16")) is None

    asyncio.run(run())


@pytest.mark.parametrize("timeout", [0, -1, "5", float("nan")])
def test_a_timeout_is_seconds(timeout):
    async def run():
        async with two_ends(*tables()) as device:
            with pytest.raises((TypeError, ValueError), match="reply_timeout_s"):
                type(device)(
                    device._edge._link, device._text, device.session.hello, rng=device_rng(0), reply_timeout_s=timeout
                )

    asyncio.run(run())


def test_an_unknown_piece_of_a_hello():
    with pytest.raises(ValueError, match="telepathy"):
        tw.DeviceSession(tw.Hello(vocab_size=8, tokenizer=FINGERPRINT, evidence=("telepathy",)))


@pytest.mark.parametrize(
    "wrong",
    [{"vocab_size": 0}, {"vocab_size": "5"}, {"context": 0}, {"eos_tokens": (8,)}, {"most_nodes": -1}],
)
def test_facts_of_an_engine(wrong):
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        EngineFacts(**{"model": "m", "vocab_size": 8, "context": 9, **wrong})


@pytest.mark.parametrize(
    "wrong", [{"engine": None}, {"evidence": ()}, {"evidence": "list"}, {"evidence": ("x",)}, {"refusal": 1}]
)
def test_facts_of_a_verifier(wrong):
    engine = EngineFacts(model="m", vocab_size=8, context=9)
    with pytest.raises((TypeError, ValueError), match=r"engine|evidence|refusal"):
        VerifierFacts(**{"engine": engine, **wrong})
    with pytest.raises(TypeError, match="facts"):
        edge_settings(None, FINGERPRINT)


def test_a_draft_model_of_another_vocabulary_is_refused_at_once():
    async def run():
        async with two_ends(*tables()) as device:
            for wrong in ({"rng": None}, {"hello": None}, {"hello": hello(9)}):
                given = {"hello": device.session.hello, "rng": device_rng(0), **wrong}
                with pytest.raises((TypeError, ValueError), match=r"rng|hello|HELLO"):
                    type(device)(device._edge._link, device._text, given["hello"], rng=given["rng"])

    asyncio.run(run())
