"""Messages of other systems, rebuilt from what they publish: code, schemas, papers, read in November 2026.

Payloads alone: what HTTP, gRPC and ZeroMQ put around them is ``transport_bytes``'s to measure.  Facts of layouts (field
numbers, types, orders) are theirs; no code of theirs is here.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import make_dataclass
from enum import Enum
from types import ModuleType
from typing import Any

import msgpack
import numpy as np
import orjson

from tslt_benchmarks.bytes.format_base import top
from tslt_benchmarks.bytes.protobuf_messages import message_classes
from tslt_benchmarks.encodings.peer_layouts import Drafted, Ended, PeerLayout, Shape, half
from tslt_wire.coding.bits import BitReader, BitWriter, id_bits

_TASK = 7
"""A task's number where one travels."""
_REQUEST = "0123456789abcdef0123456789abcdef"
"""A request's name where one travels: a UUID in hexadecimal, as servers make them."""


def _verdict(ended: Ended) -> bytes:
    """``x_j`` and ``j`` (Algorithm 1): int32 and a byte."""
    return struct.pack("<iB", ended.token, ended.accepted)


# --------------------------------------------------------------------------------------------------------------- papers


class VanillaDsd(PeerLayout):
    """Every probability of every parent in float16, ids in int32: the baseline of every paper."""

    name, title = "vanilla_dsd", "vanilla DSD, float16"
    source = "eq. (2) and (3) of the TSLT paper, ids of the vocabulary left out"
    lossless = "yes, by its proof (Leviathan et al. 2023), up to the rounding to float16"
    rule, trees = "full", True

    def up(self, said: Drafted) -> bytes:
        """See PeerLayout.up."""
        return np.array(said.tree.tokens, "<i4").tobytes() + half(said.draft).astype("<f2").tobytes()

    def read_up(self, data: bytes, shape: Shape) -> Any:
        """See PeerLayout.read_up."""
        tokens = np.frombuffer(data, "<i4", shape.nodes).tolist()
        probs = np.frombuffer(data, "<f2", offset=4 * shape.nodes)
        return tokens, probs.reshape(shape.parents, shape.vocab_size)

    def content(self, said: Drafted) -> Any:
        """See PeerLayout.content."""
        return list(said.tree.tokens), half(said.draft)

    def down(self, said: Drafted, ended: Ended) -> bytes:
        """See PeerLayout.down."""
        return _verdict(ended)


class PaperTslt(PeerLayout):
    """The paper's lists: K ids of ceil(log2 V) bits and K float16 a parent, after the drafted ids."""

    lossless = "yes, by its proof: drawn after truncation (with Algorithm 3's ratio the right way round)"
    source = "eq. (3) and section 3.2 of the TSLT paper"
    rule, trees = "listed", True

    def __init__(self, k: int) -> None:
        self.k = k
        self.name, self.title = f"paper_tslt_{k}", f"TSLT as in the paper, K = {k}"

    def up(self, said: Drafted) -> bytes:
        """See PeerLayout.up."""
        bits, out = id_bits(said.shape.vocab_size), BitWriter()
        out.array(np.array(said.tree.tokens), bits)
        for ids, values in self.content(said)[1]:
            out.array(ids, bits)
            out.array(values.view(np.uint16), 16)
        return out.finish()

    def read_up(self, data: bytes, shape: Shape) -> Any:
        """See PeerLayout.read_up; both ends know K."""
        bits, reader = id_bits(shape.vocab_size), BitReader(data)
        tokens = reader.array(shape.nodes, bits).tolist()
        lists = []
        for _ in range(shape.parents):
            ids = reader.array(self.k, bits).astype(np.int32)
            lists.append((ids, reader.array(self.k, 16).astype(np.uint16).view(np.float16)))
        return tokens, lists

    def content(self, said: Drafted) -> Any:
        """See PeerLayout.content."""
        lists = []
        for q in said.draft:
            ids = top(q, self.k)
            lists.append((ids, half(q[ids] / q[ids].sum())))
        return list(said.tree.tokens), lists

    def down(self, said: Drafted, ended: Ended) -> bytes:
        """See PeerLayout.down."""
        return _verdict(ended)


class Dssd(PeerLayout):
    """DSSD: ids and q of the drafted tokens up; after a rejection all of p down, and the device draws."""

    name, title = "dssd", "DSSD"
    source = "Ning et al., arXiv 2507.12000"
    lossless = "yes, by its proof; its public code inverts the accept ratio"
    rule = "full"

    def up(self, said: Drafted) -> bytes:
        """See PeerLayout.up."""
        return b"".join(struct.pack("<ie", *each) for each in self.content(said))

    def read_up(self, data: bytes, shape: Shape) -> Any:
        """See PeerLayout.read_up."""
        return list(struct.iter_unpack("<ie", data))

    def content(self, said: Drafted) -> Any:
        """See PeerLayout.content."""
        return [(t, float(np.float16(said.prob(n)))) for n, t in enumerate(said.tree.tokens)]

    def down(self, said: Drafted, ended: Ended) -> bytes:
        """See PeerLayout.down."""
        if not ended.rejected:
            return _verdict(ended)
        return struct.pack("<B", ended.accepted) + half(said.target[ended.accepted]).astype("<f2").tobytes()


# -------------------------------------------------------------------------------------------------------------- PipeSD


class PipeSd(PeerLayout):
    """PipeSD: a msgpack map with a list of float64 for every token; answers in JSON."""

    name, title = "pipesd", "PipeSD"
    source = "Nuyoahwjl/PipeSD, edge/src/engine.py and cloud/src/batch_backend.py"
    lossless = "no: drawn at the user's top-k, top-p and temperature, checked at none; the last token is an argmax"
    rule = "full"
    _full = True

    def _map(self, said: Drafted) -> dict[str, Any]:
        return {
            "type": "propose",
            "tokens": list(said.tree.tokens),
            "probs": said.draft.tolist() if self._full else [said.prob(node) for node in range(len(said.tree))],
            "task_id": _TASK,
            "n_past": len(said.prefix),
            "index": 0,
            "should_verify": True,
            "speculative_round_id": 20,
            "window_id": 20,
            "batch_id": 0,
            "token_start_index": 0,
            "token_count": len(said.tree),
            "prefix_version": len(said.prefix),
        }

    def up(self, said: Drafted) -> bytes:
        """See PeerLayout.up."""
        data: bytes = msgpack.packb(self._map(said))
        return data

    def read_up(self, data: bytes, shape: Shape) -> Any:
        """See PeerLayout.read_up."""
        return msgpack.unpackb(data)

    def content(self, said: Drafted) -> Any:
        """See PeerLayout.content."""
        return self._map(said)

    def _answer(self, said: Drafted, ended: Ended) -> dict[str, Any]:
        return {
            "task_id": _TASK,
            "n_accepted": ended.accepted,
            "n_speculative": len(said.tree),
            "final_token": ended.token,
            "n_past": len(said.prefix) + ended.accepted + 1,
            "evaluated_tokens": len(said.tree) + 1,
            "seq_id": 0,
        }

    def down(self, said: Drafted, ended: Ended) -> bytes:
        """See PeerLayout.down."""
        return orjson.dumps(self._answer(said, ended))


class PipeSdLazy(PipeSd):
    """Its ``lazy_distribution``: a float64 a token, and after a rejection the whole distribution in float32."""

    name, title = "pipesd_lazy", "PipeSD, lazy distribution"
    _full = False

    def _map(self, said: Drafted) -> dict[str, Any]:
        return {**super()._map(said), "prob_transport": "lazy_distribution"}

    def down(self, said: Drafted, ended: Ended) -> bytes:
        """See PeerLayout.down."""
        if not ended.rejected:
            return super().down(said, ended)
        asked = {"status": "needs_full_probs", "verification_id": _REQUEST, "rejected_index": ended.accepted}
        return orjson.dumps({**self._answer(said, ended), "final_token": None, **asked})

    def after_rejection(self, said: Drafted, ended: Ended) -> tuple[bytes, bytes]:
        """The distribution up, the token down."""
        row = said.draft[ended.accepted].astype("<f4").tobytes()
        up = msgpack.packb({"type": "resolve", "task_id": _TASK, "verification_id": _REQUEST, "draft_probs": row})
        return up, orjson.dumps({**self._answer(said, ended), "status": "resolved"})


# --------------------------------------------------------------------------------------------------------------- gRPC


class SpecEdge(PeerLayout):
    """SpecEdge: int64 arrays of the tree and a dense float16 attention mask over the longest text; no q."""

    name, title = "specedge", "SpecEdge"
    source = "kaist-ina/specedge, specedge.proto and src/specedge/client/specexec.py"
    lossless = "yes: the target draws, a draft is kept where it is equal"
    rule, trees = "match", True
    most = 2048
    """Positions of the longest text: columns of the mask."""

    def __init__(self) -> None:
        names = ("input_ids", "position_ids", "cache_seq_indices", "parent_indices", "attention_mask")
        request = [("client_idx", 1, "int32"), ("req_idx", 2, "int32")]
        request += [(name, number, "bytes") for number, name in enumerate(names, 3)]
        request += [("prefill", 8, "bool")]
        answer = [("selection", 1, "bytes"), ("prefill", 2, "int32")]
        self._classes = message_classes("specedge", {"ValidateRequest": request, "ValidateResponse": answer})
        self._names = names

    def _arrays(self, said: Drafted) -> dict[str, Any]:
        start = len(said.prefix)  # of the last token that both know: the tree's root is sent again
        tokens = [said.prefix[-1], *said.tree.tokens]
        paths = [[], *(list(said.tree.path(node)) for node in range(len(said.tree)))]
        # A longer text has a wider mask.
        mask = np.full((len(tokens), max(self.most, start + len(said.tree))), np.finfo(np.float16).min, np.float16)
        for row, path in enumerate(paths):
            mask[row, :start] = 0
            mask[row, [start + node for node in path]] = 0
        return {
            "input_ids": np.array(tokens),
            "position_ids": start - 1 + np.array([len(path) for path in paths]),
            "cache_seq_indices": start - 1 + np.arange(len(tokens)),
            "parent_indices": start + np.array(said.tree.parents),
            "attention_mask": mask.ravel(),
        }

    def up(self, said: Drafted) -> bytes:
        """See PeerLayout.up."""
        arrays = {name: values.tobytes() for name, values in self._arrays(said).items()}
        data: bytes = self._classes["ValidateRequest"](client_idx=1, req_idx=20, **arrays).SerializeToString()
        return data

    def read_up(self, data: bytes, shape: Shape) -> Any:
        """See PeerLayout.read_up."""
        found = self._classes["ValidateRequest"].FromString(data)
        kinds = [np.int64] * 4 + [np.float16]
        return [np.frombuffer(getattr(found, name), kind) for name, kind in zip(self._names, kinds, strict=True)]

    def content(self, said: Drafted) -> Any:
        """See PeerLayout.content."""
        return list(self._arrays(said).values())

    def down(self, said: Drafted, ended: Ended) -> bytes:
        """The target's token after every node, int64."""
        selection = np.full(len(said.tree) + 1, ended.token).tobytes()
        data: bytes = self._classes["ValidateResponse"](selection=selection).SerializeToString()
        return data


class SpecSplit(PeerLayout):
    """SpecSplit: nested nodes, each with the 64 most probable ids and float32 of its parent: siblings repeat them."""

    name, title = "specsplit", "SpecSplit"
    source = "SamvritSrinath/SpecSplit, specsplit/proto/spec_decoding.proto"
    lossless = "no: drawn first, cut to 64 afterwards; what is not listed counts as 0"
    rule, trees = "listed", True
    k = 64

    def __init__(self) -> None:
        node = [
            ("token_id", 1, "int32"),
            ("log_prob", 2, "float"),
            ("children", 3, "*TokenNode"),
            ("top_k_token_ids", 4, "*int32"),
            ("top_k_probs", 5, "*float"),
        ]
        request = [
            ("request_id", 1, "string"),
            ("prompt_token_ids", 2, "*int32"),
            ("draft_tree", 3, "*TokenNode"),
            ("session_id", 4, "string"),
            ("temperature", 5, "float"),
            ("new_token_ids", 6, "*int32"),
            ("expected_prefix_length", 7, "int32"),
        ]
        answer = [
            ("request_id", 1, "string"),
            ("accepted_token_ids", 2, "*int32"),
            ("correction_token_id", 3, "int32"),
            ("num_accepted", 4, "int32"),
            ("telemetry", 5, "Telemetry"),
            ("session_id", 6, "string"),
            ("cache_hit", 7, "bool"),
            ("has_correction", 8, "bool"),
        ]
        telemetry = [("span_id", 1, "string"), ("wall_time_ms", 2, "double"), ("model_time_ms", 3, "double")]
        telemetry += [("tokens_processed", 4, "int32"), ("device", 5, "string")]
        messages = {"TokenNode": node, "VerifyRequest": request, "VerifyResponse": answer, "Telemetry": telemetry}
        self._classes = message_classes("specsplit", messages)

    def content(self, said: Drafted) -> Any:
        """See PeerLayout.content: of every node token, log-probability, list, parent's number."""
        found = []
        for node, token in enumerate(said.tree.tokens):
            q = said.draft[said.parent_rows[said.tree.parents[node]]]
            ids = top(q, self.k)
            ids = ids[np.argsort(-q[ids], kind="stable")]
            log = np.float32(np.log(max(said.prob(node), 1e-30)))
            found.append((token, float(log), ids.tolist(), q[ids].astype(np.float32).tolist()))
        return found

    def up(self, said: Drafted) -> bytes:
        """See PeerLayout.up."""
        rows = self.content(said)

        def nodes(parent: int) -> list[Any]:
            return [
                self._classes["TokenNode"](
                    token_id=rows[node][0],
                    log_prob=rows[node][1],
                    top_k_token_ids=rows[node][2],
                    top_k_probs=rows[node][3],
                    children=nodes(node),
                )
                for node in said.tree.children(parent)
            ]

        data: bytes = self._classes["VerifyRequest"](
            request_id=_REQUEST,
            session_id=_REQUEST,
            temperature=1.0,
            new_token_ids=said.prefix[-1:],
            expected_prefix_length=len(said.prefix),
            draft_tree=nodes(-1),
        ).SerializeToString()
        return data

    def read_up(self, data: bytes, shape: Shape) -> Any:
        """See PeerLayout.read_up: level by level, as the trees of this benchmark are numbered."""
        level, found = list(self._classes["VerifyRequest"].FromString(data).draft_tree), []
        while level:
            found += [(n.token_id, n.log_prob, list(n.top_k_token_ids), list(n.top_k_probs)) for n in level]
            level = [child for node in level for child in node.children]
        return found

    def down(self, said: Drafted, ended: Ended) -> bytes:
        """See PeerLayout.down."""
        data: bytes = self._classes["VerifyResponse"](
            request_id=_REQUEST,
            accepted_token_ids=list(said.tree.tokens[: ended.accepted]),
            correction_token_id=ended.token,
            num_accepted=ended.accepted,
            telemetry=self._classes["Telemetry"](
                span_id=_REQUEST,
                wall_time_ms=31.4,
                model_time_ms=27.2,
                tokens_processed=len(said.tree),
                device="cuda:0",
            ),
            session_id=_REQUEST,
            cache_hit=True,
            has_correction=ended.rejected,
        ).SerializeToString()
        return data


# -------------------------------------------------------------------------------------------------------------- SGLang

_SGLANG = "sglang.srt.speculative.decoupled_spec_io"
"""Where the classes are that its pickles name."""


class SglangDecoupled(PeerLayout):
    """SGLang's decoupled drafts: a pickled object for every drafted token, and one for what was kept; ids alone."""

    name, title = "sglang_decoupled", "SGLang, decoupled drafts"
    source = "sgl-project/sglang, python/sglang/srt/speculative/decoupled_spec_io.py and decoupled_spec_transport.py"
    lossless = "yes: the target draws, a draft is kept where it is equal"
    rule = "match"

    def __init__(self) -> None:
        def named(name: str, *fields: str) -> Any:
            found = make_dataclass(name, fields)
            found.__module__ = _SGLANG
            return found

        stream = ("src_drafter_rank", "dst_verifier_rank", "request_id", "base_committed_len", "new_token_pos")
        commit = ("request_id", "src_verifier_rank", "dst_drafter_rank", "pre_verify_committed_len")
        lists = ("sync_messages", "verify_commit_messages", "close_messages")
        kinds = ("control_batch", "tail_stream_output_batch")
        # Called as any class is: mypy wants enumerations written out.
        make: Any = Enum
        self._kind = make("DraftMeshMessageType", {kind.upper(): kind for kind in kinds}, type=str, module=_SGLANG)
        self._output = named("DraftTailStreamOutput", *stream, "new_token_id")
        self._outputs = named("DraftTailStreamOutputBatch", "outputs")
        self._commit = named("VerifyCommit", *commit, "committed_token_ids")
        self._control = named("DraftControlBatch", "dst_drafter_rank", *lists)
        self._message = named("DraftMeshMessage", "message_type", *kinds)

    @contextmanager
    def _module(self) -> Iterator[None]:
        """The classes in the place that they have in a process that runs SGLang: a pickle names them by it."""
        module = ModuleType(_SGLANG)
        for each in (self._kind, self._output, self._outputs, self._commit, self._control, self._message):
            setattr(module, each.__name__, each)
        parts = _SGLANG.split(".")
        names = [".".join(parts[: n + 1]) for n in range(len(parts))]
        before = {name: sys.modules.get(name) for name in names}
        sys.modules.update({name: ModuleType(name) for name in names[:-1] if before[name] is None}, **{_SGLANG: module})
        try:
            yield
        finally:
            for name, known in before.items():
                if known is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = known

    def up(self, said: Drafted) -> bytes:
        """See PeerLayout.up: as many messages as tokens, one behind the other."""
        start = len(said.prefix)
        found = b""
        with self._module():
            for n, token in enumerate(said.tree.tokens):
                output = self._output(0, 0, _REQUEST, start, start + n, token)
                kind = self._kind.TAIL_STREAM_OUTPUT_BATCH
                found += pickle.dumps(self._message(kind, None, self._outputs([output])))
        return found

    def read_up(self, data: bytes, shape: Shape) -> Any:
        """See PeerLayout.read_up."""
        stream = io.BytesIO(data)
        with self._module():
            messages = [pickle.load(stream) for _ in range(shape.nodes)]  # noqa: S301  (our own bytes, of just now)
        return [message.tail_stream_output_batch.outputs[0].new_token_id for message in messages]

    def content(self, said: Drafted) -> Any:
        """See PeerLayout.content."""
        return list(said.tree.tokens)

    def down(self, said: Drafted, ended: Ended) -> bytes:
        """See PeerLayout.down."""
        kept = [*said.tree.tokens[: ended.accepted], ended.token]
        control = self._control(0, [], [self._commit(_REQUEST, 0, 0, len(said.prefix), kept)], [])
        with self._module():
            return pickle.dumps(self._message(self._kind.CONTROL_BATCH, control, None))


def peer_layouts(vocab_size: int) -> list[PeerLayout]:
    """All of them; the paper's lists at its K's, as parts of its vocabulary of 32,000."""
    ks = dict.fromkeys(max(1, round(k * vocab_size / 32_000)) for k in (32, 320, 3200))
    return [
        VanillaDsd(),
        *(PaperTslt(k) for k in ks),
        Dssd(),
        PipeSd(),
        PipeSdLazy(),
        SpecEdge(),
        SpecSplit(),
        SglangDecoupled(),
    ]
