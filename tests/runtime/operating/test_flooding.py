"""Six flooding sessions of one device beside an honest one, over real sockets: it is at most twice as slow."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager

from flooding import ask, device, likely
from processes import ENVIRONMENT, ROOT
from tslt_transports import SecretKey
from tslt_transports.allow_list import allow

import tslt_wire as tw

PASS_S = 0.02
HELPERS = f"{ENVIRONMENT['PYTHONPATH']}:{ROOT / 'tests' / 'helpers'}"


@contextmanager
def process(*arguments):
    """``flooding`` with these arguments; yields its first line."""
    command = [sys.executable, "-m", "flooding", *map(str, arguments)]
    environment = {**ENVIRONMENT, "PYTHONPATH": HELPERS, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started.stdout.readline().strip()
        finally:
            started.kill()


async def times(made, rounds):
    """Seconds of each round."""
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        await ask(made, likely(made.session.prefix[-1], 4), tw.MatchEvidence())
        found.append(time.perf_counter() - started)
    return found


def test_an_honest_device_beside_six_floods(tmp_path):
    keys = {name: SecretKey.make(name) for name in ("edge", "flood", "honest")}
    for name, key in keys.items():
        key.write(tmp_path / f"{name}.key")
    (tmp_path / "edge.pub").write_text(keys["edge"].public.line + "\n")
    for name in ("flood", "honest"):
        allow(tmp_path / "allowed", keys[name].public)

    async def honest(address):
        made = await device(address, tmp_path / "honest.key", tmp_path / "edge.pub", 7)
        made.session.send_prompt([1, 2, 3])
        return made

    async def main(address):
        made = await honest(address)
        await times(made, 10)
        alone = await times(made, 40)
        with process("flood", address, tmp_path / "flood.key", tmp_path / "edge.pub") as line:
            assert line == "flooding"
            await times(made, 40)  # what the flood had saved up is gone
            beside = await times(made, 100)
        await made.close()
        return alone, beside

    with process("edge", tmp_path / "edge.key", tmp_path / "allowed", PASS_S) as address:
        alone, beside = asyncio.run(asyncio.wait_for(main(address), 100))
    p50 = statistics.median(alone), statistics.median(beside)
    print(f"p50 {1e3 * p50[0]:.1f} ms alone, {1e3 * p50[1]:.1f} ms beside; p95 {1e3 * sorted(beside)[94]:.1f} ms")
    assert p50[0] > PASS_S
    assert p50[1] <= 2 * p50[0]
