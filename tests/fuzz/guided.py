"""One target under atheris, in a process of its own: python -m tests.fuzz.guided TARGET FOLDER SECONDS SEED."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType

import atheris

from tests.fuzz.targets import TARGETS

_OURS = ("tslt_wire", "tslt_transports")


def functions() -> Iterator[FunctionType]:
    """All functions of ours that are loaded.

    atheris instruments modules as they are imported, too, but not those of an editable install.
    """
    modules = [module for name, module in sorted(sys.modules.items()) if name.partition(".")[0] in _OURS]
    for module in modules:
        for value in list(vars(module).values()):
            yield from _of(value, module.__name__)


def _of(value: object, module: str) -> Iterator[FunctionType]:
    if getattr(value, "__module__", None) != module:
        return
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, type):
        for member in vars(value).values():
            # A plain function, or that of a static or class method, of a property, of a cached one.
            held = (getattr(member, name, None) for name in ("__func__", "fget", "func"))
            for function in (member, *held):
                if isinstance(function, FunctionType) and function.__module__ == module:
                    yield function


def main() -> None:
    """Never returns: the fuzzer ends the process."""
    name, folder, seconds, seed = sys.argv[1:]
    for function in functions():
        atheris.instrument_func(function)
    options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048"]
    target = TARGETS[name][0]
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", folder], lambda data: target(data or b"\0"))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
