"""Links that are refused: who waits to be told why takes nobody's place."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from table_engine import TableDraft, TableTarget
from tslt_transports import InProcessListener, LinkError, LinkOptions
from two_ends import FINGERPRINT, KINDS, hello, tables

from tslt_runtime.device import Device
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.operating.meter import EdgeMeter
from tslt_runtime.seeds import device_rng
from tslt_runtime.verifiers.local import LocalVerifier


def test_one_address_leaves_half_of_the_places_whatever_it_opens():
    limits = EdgeLimits(devices=16)

    async def hog(listener, held):
        while True:
            with suppress(LinkError):
                held.append(await listener.connect(address="192.0.2.9"))
            held[:] = [link for link in held if not link.ended][-40:]
            await asyncio.sleep(0.001)

    async def main():
        listener = InProcessListener(LinkOptions(max_links=limits.links))
        verifier = LocalVerifier(TableTarget(tables()[0]), limits=limits)
        settings = edge_settings(verifier.facts, FINGERPRINT)
        meter = EdgeMeter()
        serving = asyncio.create_task(serve(listener, verifier, settings, seed=0, limits=limits, meter=meter))
        hogging = asyncio.create_task(hog(listener, []))
        while meter.refused["too many links"] < 100:
            await asyncio.sleep(0.01)
        devices = []
        for number in range(8):
            said = hello(8, nonce=bytes([number] * 16))
            link = await listener.connect(address="192.0.2.1")
            device = Device(link, TableDraft(tables()[1]), said, rng=device_rng(number))
            await device.open()
            await device.prompt([1, 2])
            assert (await device.round(10, KINDS["list"])).tokens
            devices.append(device)
        served = meter.links
        for task in (hogging, serving):
            task.cancel()
        await asyncio.gather(hogging, serving, return_exceptions=True)
        for device in devices:
            await device.close()
        verifier.close()
        return served

    assert asyncio.run(asyncio.wait_for(main(), 60)) == limits.devices
