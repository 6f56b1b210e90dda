"""examples/device_languages: a session in other languages, and an edge's at the other end of a pipe."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from c_kernel import CC, NATIVE, kernel_objects

import tslt_wire as tw

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "device_languages"
CXX = os.environ.get("CXX", "c++")
V = 16


def without(*commands: str) -> str | None:
    """Why a test is skipped, if it is."""
    missing = [command for command in commands if shutil.which(command) is None]
    return f"there is no {' and no '.join(missing)}" if missing else None


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """The kernel and the device as a static library."""
    if reason := without(CC, "ar"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("archive")
    run(["ar", "rcs", "libtslt.a", *kernel_objects()], folder)
    return folder / "libtslt.a"


def run(command, folder, **environment):
    told = {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def converse(program: Path, edge: tw.EdgeSession) -> list[int]:
    """The program's text; the edge accepts all of a draft, and adds the token after it."""
    given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([str(program), str(V)], **given) as process:
        for line in iter(process.stdout.readline, ""):
            if " " in line or edge.state is tw.State.CLOSED:
                process.wait(10)
                assert process.returncode == 0
                return [int(token) for token in line.split()]
            for event in edge.receive_data(bytes.fromhex(line)):
                if isinstance(event, tw.DraftReceived):
                    tree = event.draft.tree
                    last = (*edge.prefix, *tree.tokens)[-1]
                    edge.send_answer(tw.Verdict(round=event.draft.round, node=len(tree) - 1, token=(last + 1) % V))
            for frame in iter(edge.data_to_send, b""):
                process.stdin.write(frame.hex() + "\n")
                process.stdin.flush()
            if edge.state is tw.State.CLOSED:
                process.stdin.close()
    raise AssertionError("the program ended without a text")


def session() -> tw.EdgeSession:
    return tw.EdgeSession(tw.EdgeSettings(vocab_size=V, tokenizer=bytes(32)))


def test_c_plus_plus(archive, tmp_path):
    if reason := without(CXX):
        pytest.skip(reason)
    strict = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{NATIVE}"]
    run([CXX, *strict, str(EXAMPLES / "session.cpp"), str(archive), "-o", "session"], tmp_path)
    assert converse(tmp_path / "session", session()) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]


def test_rust(archive, tmp_path):
    if reason := without("rustc", "bindgen"):
        pytest.skip(reason)
    run(["bindgen", str(NATIVE / "tslt_device.h"), "--size_t-is-usize", "-o", "tslt.rs"], tmp_path)
    linked = ["-L", str(archive.parent), "-l", "static=tslt", "-o", "session"]
    command = ["rustc", "--edition", "2021", "-D", "warnings", *linked, str(EXAMPLES / "session.rs")]
    run(command, tmp_path, TSLT_BINDINGS=str(tmp_path / "tslt.rs"))
    assert converse(tmp_path / "session", session()) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]


def test_native_methods_of_java_compile(tmp_path):
    if reason := without(CC, "javac"):
        pytest.skip(reason)
    include = Path(os.path.realpath(shutil.which("javac"))).parents[1] / "include"
    if not (include / "jni.h").exists():
        pytest.skip("there is no jni.h")
    strict = [
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        f"-I{NATIVE}",
        f"-I{include}",
        f"-I{include / 'linux'}",
    ]
    run([CC, *strict, "-fsyntax-only", str(EXAMPLES / "session_jni.c")], tmp_path)
