"""The wheels that a user gets: with the kernel where there is a C compiler, pure Python where there is none."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
ROUND_TRIP = """
import sys
sys.path[1:1] = sys.argv[1:]
import numpy as np, tslt_wire as tw
q = tw.sparsify(np.arange(50.0), truncation=tw.TopK(8), precision="log2/1")
profile = tw.Profile(vocab_size=50, precision="log2/1", entropy="range")
back = tw.decode_list(tw.encode_list(q, profile), profile)
assert back.ids.tolist() == q.ids.tolist() and back.weights.tolist() == q.weights.tolist()
print(tw.backend, tw.__file__)
"""

pytestmark = [
    pytest.mark.skipif(shutil.which("cmake") is None, reason="a build without isolation needs cmake"),
    pytest.mark.skipif(os.environ.get("TSLT_WIRE_BACKEND") == "reference", reason="the same wheels as before"),
]


def built(tmp_path, **environment):
    """Build a wheel of a copy of the sources, and unpack it; returns the folder."""
    source = tmp_path / "source"
    shutil.copytree(
        ROOT,
        source,
        ignore=shutil.ignore_patterns(".*", "build", "benchmarks", "examples", "spec", "tests", "*.so", "__pycache__"),
    )
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    made = subprocess.run(
        [*command, "--wheel-dir", str(tmp_path)],
        cwd=source,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    return tmp_path / "site"


def run(site, backend=None):
    environment = {key: value for key, value in os.environ.items() if key not in ("TSLT_WIRE_BACKEND", "PYTHONPATH")}
    if backend:
        environment["TSLT_WIRE_BACKEND"] = backend
    # -S: an editable installation of this package would be found first.
    command = [sys.executable, "-S", "-c", ROUND_TRIP, str(site), str(Path(np.__file__).parent.parent)]
    return subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, check=False)


def files(site, suffix):
    return sorted(path.relative_to(site).as_posix() for path in site.rglob(f"*{suffix}"))


def test_without_a_compiler_the_wheel_is_pure_and_says_so(tmp_path):
    site = built(tmp_path, CC="/bin/false", CXX="/bin/false")
    assert not files(site, ".so")
    found = run(site)
    assert found.stdout.split() == ["reference", str(site / "tslt_wire" / "__init__.py")], found.stderr
    forced = run(site, "native")
    assert forced.returncode != 0
    assert "TSLT_WIRE_BACKEND" in forced.stderr


@pytest.mark.skipif(shutil.which(os.environ.get("CC", "cc")) is None, reason="no C compiler")
def test_with_a_compiler_the_wheel_has_the_kernel_and_not_its_sources(tmp_path):
    site = built(tmp_path)
    assert [Path(path).name.split(".")[0] for path in files(site, ".so")] == ["_kernel"]
    assert not files(site, ".c")
    assert not files(site, ".cpp")
    assert files(site, "py.typed") == ["tslt_transports/py.typed", "tslt_wire/py.typed"]
    found = run(site)
    assert found.stdout.split() == ["native", str(site / "tslt_wire" / "__init__.py")], found.stderr
