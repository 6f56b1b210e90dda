"""A fleet on Ray Serve, with real processes: ``make test-ray``."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from default_pair import pair_folder
from fleet_faults import disturbed, fleet_here, path
from processes import ENVIRONMENT, ROOT

pytestmark = pytest.mark.skipif(not os.environ.get("TSLT_RAY"), reason="make test-ray installs Ray")

PAGE = ROOT / "docs" / "fleet.md"
TSLT = [sys.executable, "-m", "tslt_runtime.commands.main"]


def commands(name: str) -> list[str]:
    """Those of a block of the page."""
    found = re.search(rf"<!-- commands: {name} -->\n```\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1].splitlines()


def test_texts_are_those_of_one_edge_while_processes_are_killed():
    with fleet_here() as fleet:
        found = asyncio.run(disturbed(fleet, rounds=10_000, kills=20, seed=0))
    print(found.said())
    assert found.rounds >= 10_000
    assert found.kills == 20
    assert found.events["roll a version"] == found.events["add a replica"] == found.events["drain a gateway"] == 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Page:
    """The page's commands, on loopback: other addresses and ports, the shipped pair, and no keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        head, self.first, self.second = free_port(), free_port(), free_port()
        self.changes = {
            "--port 6379": f"--port {head} --num-cpus 4 --include-dashboard=false --object-store-memory 100000000",
            "--address 10.0.0.1:6379 --disable-usage-stats": "",
            "10.0.0.1:5757": f"127.0.0.1:{self.first}",
            "10.0.0.2:5757": f"127.0.0.1:{self.second}",
            " --key edge.key --allow devices.txt": "",
            " --key kitchen.key --edge-key edge.pub": "",
            "meta-llama/Llama-3.1-8B": str(pair_folder("target")),
            "meta-llama/Llama-3.2-1B": str(pair_folder("draft")),
            '"The old house stood"': "'The old house stood' --seed 1 --tokens 48 --timeout 120 --patience 240",
        }
        self.environment = {**ENVIRONMENT, "PYTHONPATH": path(), "RAY_agent_register_timeout_ms": "100000"}
        bin_ = str(Path(sys.executable).parent)
        self.environment["PATH"] = f"{bin_}{os.pathsep}{os.environ['PATH']}"
        self.started: list[subprocess.Popen[str]] = []

    def changed(self, line: str) -> list[str]:
        """A command as it is run here."""
        for said, here in self.changes.items():
            line = line.replace(said, here)
        words = subprocess.run(["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True)
        found = words.stdout.splitlines()
        return [*TSLT, *found[1:]] if found[0] == "tslt" else found

    def run(self, line: str) -> str:
        """Run one to its end."""
        how: dict[str, Any] = {"cwd": self.folder, "env": self.environment, "text": True, "timeout": 600}
        done = subprocess.run(self.changed(line), capture_output=True, check=False, **how)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def open(self, line: str) -> subprocess.Popen[str]:
        """Start one."""
        process = subprocess.Popen(
            self.changed(line), cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        self.started.append(process)
        return process

    def start(self, line: str) -> subprocess.Popen[str]:
        """Start an edge, and wait until it listens."""
        process = self.open(line)
        assert process.stdout is not None
        assert "listens on" in process.stdout.readline()
        return process

    def stop(self) -> None:
        """End all of it."""
        for process in self.started:
            process.kill()
            process.wait()
        subprocess.run(["ray", "stop", "--force"], env=self.environment, capture_output=True, check=False)


def replicas_here() -> int:
    """Processes of Ray that are replicas."""
    lines = (file.read_text(errors="replace") for file in Path("/proc").glob("[0-9]*/cmdline"))
    return sum("ServeReplica:tslt" in line for line in lines)


def test_the_pages_commands_on_loopback(tmp_path):
    """From one machine to three: the second gateway goes on with the text that the first one's death cut off."""
    page = Page(tmp_path)
    try:
        head, first = commands("first")
        page.run(head)
        gateway = page.start(first)
        join, more = commands("others")
        assert "10.0.0.1:6379" in join  # one machine is in the cluster already
        page.run(more)
        page.start(commands("gateway")[0])
        (device,) = commands("device")
        writing = page.open(device)
        assert writing.stdout is not None
        said = writing.stdout.read(len("The old house stood on"))
        gateway.send_signal(signal.SIGKILL)
        gateway.wait()
        said += writing.stdout.read()
        assert writing.wait() == 0
        assert said.startswith("The old house stood")
        assert len(page.run(device)) > len("The old house stood\n")  # by the second gateway from the first token on
        assert replicas_here() == 3
    finally:
        page.stop()


def test_a_cluster_that_is_not_there():
    """What is said where a gateway can join none: which, and what to do."""
    from tslt_runtime.verifiers.pool import ray_serve

    port = free_port()
    with pytest.raises(ConnectionError, match=f"no Ray head answers at 127.0.0.1:{port}: Connection refused"):
        ray_serve.join(f"127.0.0.1:{port}")
    with pytest.raises(ConnectionError, match="in no Ray cluster: ray start --address HEAD:6379, or --ray-address"):
        ray_serve.join(may_start=False)
