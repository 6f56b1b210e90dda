"""Structures and callbacks of ``tslt_device.h``, for ctypes: same names, same order."""

from __future__ import annotations

import ctypes as c

import numpy as np

import tslt_wire as tw


class Limits(c.Structure):
    _fields_ = [
        (name, c.c_uint64)
        for name in (
            "max_frame_bytes",
            "max_nodes",
            "max_leaves",
            "max_depth",
            "max_entries",
            "max_extensions",
            "max_prompt_tokens",
            "max_control_bytes",
        )
    ]

    @classmethod
    def of(cls, limits: tw.DecodeLimits) -> Limits:
        return cls(**{field[0]: min(getattr(limits, field[0]), (1 << 64) - 1) for field in cls._fields_})


class SamplingRequest(c.Structure):
    _fields_ = [
        ("named", c.c_uint),
        *(
            (n, c.c_double)
            for n in ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
        ),
        ("top_k", c.c_uint64),
        ("biases", c.c_size_t),
        ("suppressed_count", c.c_size_t),
        ("biased", c.POINTER(c.c_int32)),
        ("suppressed", c.POINTER(c.c_int32)),
        ("bias", c.POINTER(c.c_double)),
        ("ignore_eos", c.c_int),
    ]


class Prior(c.Structure):
    _fields_ = [("tail", c.POINTER(c.c_int64)), ("rows", c.POINTER(c.c_int64) * 4)]


class NamedPrior(c.Structure):
    _fields_ = [("name", c.c_char_p), ("prior", c.POINTER(Prior))]


class Field(c.Structure):
    _fields_ = [("name", c.c_char_p), ("value", c.c_char_p), ("size", c.c_size_t)]


class Hello(c.Structure):
    _fields_ = [
        ("vocab_size", c.c_uint32),
        ("tokenizer", c.c_char_p),
        ("ordinary", c.c_char_p),
        ("token_map", c.c_char_p),
        ("model", c.c_char_p),
        ("evidence", c.POINTER(c.c_int)),
        ("evidence_count", c.c_size_t),
        ("precisions", c.POINTER(c.c_int)),
        ("precision_count", c.c_size_t),
        ("entropy", c.POINTER(c.c_int)),
        ("entropy_count", c.c_size_t),
        ("priors", c.POINTER(NamedPrior)),
        ("prior_count", c.c_size_t),
        ("limits", Limits),
        ("resume", c.c_char_p),
        ("resume_size", c.c_size_t),
        ("nonce", c.c_uint8 * 16),
        ("sampling", SamplingRequest),
        ("timing", c.c_int),
        ("log_probs", c.c_int),
        ("padding", c.c_uint32),
        ("extra", c.POINTER(Field)),
        ("extra_count", c.c_size_t),
        ("min_version", c.c_int),
        ("max_version", c.c_int),
    ]


class Room(c.Structure):
    _fields_ = [
        *(
            (n, c.c_uint32)
            for n in ("vocab_size", "most_tokens", "most_nodes", "most_entries", "most_listed", "most_window")
        ),
        ("dtype", c.c_int),
        ("by_probability", c.c_int),
        ("queue_bytes", c.c_size_t),
    ]


class List(c.Structure):
    _fields_ = [
        ("count", c.c_uint32),
        ("tail", c.c_uint32),
        ("ids", c.POINTER(c.c_int32)),
        ("codes", c.POINTER(c.c_uint32)),
        ("weights", c.POINTER(c.c_int64)),
        ("left_out", c.c_double),
    ]


class Tree(c.Structure):
    _fields_ = [
        ("evidence", c.c_int),
        ("precision", c.c_int),
        ("without_replacement", c.c_int),
        ("goes_on", c.c_int),
        ("leaf", c.c_uint32),
        ("node_count", c.c_uint32),
        ("parents", c.POINTER(c.c_int32)),
        ("tokens", c.POINTER(c.c_int32)),
        ("list_count", c.c_uint32),
        ("lists", c.POINTER(List)),
    ]


class Event(c.Structure):
    _fields_ = [
        ("kind", c.c_int),
        ("tokens", c.POINTER(c.c_int32)),
        ("token_count", c.c_uint32),
        ("node", c.c_int64),
        ("round", c.c_uint32),
        ("batch", c.c_uint32),
        ("end", c.c_int),
        ("kept", c.c_uint32),
        ("code", c.c_uint32),
        ("text", c.POINTER(c.c_char)),
        ("text_size", c.c_size_t),
        ("verify_us", c.c_uint64),
        ("retry_after", c.c_uint32),
        ("log_probs", c.POINTER(c.c_uint8)),
        ("log_prob_count", c.c_uint32),
    ]


BELOW = c.CFUNCTYPE(c.c_uint64, c.c_void_p, c.c_uint64)
UNIFORM = c.CFUNCTYPE(c.c_double, c.c_void_p)


class Random(c.Structure):
    _fields_ = [("below", BELOW), ("uniform", UNIFORM), ("state", c.c_void_p)]

    @classmethod
    def of(cls, rng: np.random.Generator) -> Random:
        """The random numbers of a generator, drawn as the library draws them."""
        return cls(BELOW(lambda _, size: int(rng.integers(0, size))), UNIFORM(lambda _: float(rng.random())), None)


class Truncation(c.Structure):
    _fields_ = [("top_k", c.c_uint32), ("top_p", c.c_double), ("min_prob", c.c_double)]


class Drafting(c.Structure):
    _fields_ = [
        ("evidence", c.c_int),
        ("expansion", c.POINTER(c.c_uint32)),
        ("levels", c.c_uint32),
        ("dtype", c.c_int),
        ("temperature", c.c_double),
        ("truncate", c.c_int),
        ("truncation", Truncation),
        ("precision", c.c_int),
        ("without_replacement", c.c_int),
        ("tail_scale", c.c_double),
        ("goes_on", c.c_int),
    ]


class Nodes(c.Structure):
    _fields_ = [
        ("first", c.c_uint32),
        ("count", c.c_uint32),
        ("parents", c.POINTER(c.c_int32)),
        ("tokens", c.POINTER(c.c_int32)),
    ]


LOGITS = c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(Nodes), c.POINTER(c.c_void_p), c.POINTER(c.c_size_t))
