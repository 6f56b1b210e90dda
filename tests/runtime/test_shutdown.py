"""An edge that is told to stop: every device hears why, though the process is gone a moment later."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "attacks"))
import stage
from tslt_transports import LinkClosed

import tslt_wire as tw


@pytest.mark.parametrize("transport", ["zmq", "quic"])
def test_the_reason_arrives_before_the_end(transport, tmp_path):
    async def main(edge):
        link = await stage.link_to(edge)
        session = tw.DeviceSession(stage.hello(len(stage.DRAFT)))
        await link.send(session.data_to_send())
        session.receive_data(await link.receive())
        edge.process.send_signal(signal.SIGTERM)
        (event,) = session.receive_data(await link.receive())
        assert isinstance(event, tw.PeerFailed)
        assert "shutting down" in event.error.message
        with pytest.raises(LinkClosed) as caught:
            await link.receive()
        assert caught.value.clean
        await link.close()

    with stage.edge_process(transport, tmp_path) as edge:
        asyncio.run(main(edge))
        assert edge.process.wait(20) == 0
        assert edge.log.read_text() == ""
