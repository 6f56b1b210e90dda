"""examples/device_c/llama.c: a draft model in llama.cpp, by its own header and library, with a real `tslt edge`.

Only where LLAMA_DIR names a folder with include/llama.h and lib/ or bin/ with libllama.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from c_device import PROGRAM
from c_kernel import CC, NATIVE, kernel_objects
from default_pair import pair_folder
from gguf_models import pair_gguf
from loop_harness import greedy_reference
from processes import ENVIRONMENT, ROOT

LLAMA_DIR = Path(os.environ.get("LLAMA_DIR", "/nowhere"))
pytestmark = [
    pytest.mark.skipif(shutil.which(CC) is None, reason="there is no C compiler"),
    pytest.mark.skipif(
        not (LLAMA_DIR / "include" / "llama.h").exists(), reason="LLAMA_DIR names no folder with include/llama.h"
    ),
]
EXAMPLE = ROOT / "examples" / "device_c"
PROMPT, TOKENS = "The old house stood", 48
KINDS = [
    ("list", "1,1,1,1"),
    ("list", "2,2,2"),
    ("match", "3,2"),
    ("coupled", "2,2"),
    ("scalar", "1,1"),
    ("lazy", "1,1,1"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("llama") / "llama"
    libraries = [f"-L{LLAMA_DIR / name}" for name in ("lib", "bin")]
    libraries += [f"-Wl,-rpath,{LLAMA_DIR / name}" for name in ("lib", "bin")]
    sources = [str(EXAMPLE / "llama.c"), *kernel_objects()]
    includes = [f"-I{NATIVE}", "-isystem", str(LLAMA_DIR / "include")]
    command = [CC, *PROGRAM, *includes, *sources, *libraries, "-lllama", "-lzmq", "-lm", "-o", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def edge():
    """Address of a `tslt edge` with the pair's target."""
    command = [
        sys.executable,
        "-m",
        "tslt_runtime.commands.edge",
        "--model",
        str(pair_folder("target")),
        "--threads",
        "1",
    ]
    process = subprocess.Popen(
        [*command, "--listen", "tcp://127.0.0.1:0"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = next(line for line in process.stdout if " listens on " in line)
    yield said.split(" listens on ")[1].split()[0]
    process.terminate()
    process.wait(20)


def run(program, model, address, evidence, expansion, temperature=0.0, **environment) -> tuple[list[int], str, int]:
    """Tokens, text and rounds."""
    given = [str(program), str(model), address, str(TOKENS), evidence, expansion, PROMPT]
    told = {**os.environ, "TSLT_TEMPERATURE": str(temperature), **environment}
    done = subprocess.run(given, env=told, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    tokens = re.search(r"^llama: tokens:(.*)$", done.stderr, re.MULTILINE)[1]
    rounds = re.search(r"tokens in (\d+) rounds", done.stderr)[1]
    return [int(token) for token in tokens.split()], done.stdout, int(rounds)


def test_greedy_texts_are_the_targets_own(program, edge, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    target = AutoModelForCausalLM.from_pretrained(pair_folder("target")).eval()
    tokenizer = AutoTokenizer.from_pretrained(pair_folder("target"))
    wanted = greedy_reference(target, tokenizer(PROMPT)["input_ids"], TOKENS)
    draft = pair_gguf("draft", tmp_path)
    for kind in KINDS:
        for window in ("1", "4"):
            tokens, text, _ = run(program, draft, edge, *kind, TSLT_WINDOW=window)
            assert tokens == wanted, kind
            assert text.strip() == tokenizer.decode(wanted).strip()


def rounds_in_python(model, address, expansion) -> int:
    """What a device in Python takes for the same text, by its own engine on llama.cpp."""
    given = ["--model", str(model), "--edge", address, "--tokens", str(TOKENS), "--evidence", "match", "--k", "32"]
    command = [sys.executable, "-m", "tslt_runtime.commands.device", *given, "--expansion", expansion]
    done = subprocess.run(
        [*command, "--temperature", "0", "--prompt", PROMPT],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(re.search(r"rounds=(\d+)", done.stdout + done.stderr)[1])


@pytest.mark.parametrize("expansion", ["1,1,1,1", "5,1,1", "2,2,2"])
def test_the_cache_is_in_step_with_what_was_accepted(program, edge, tmp_path, expansion):
    """Rows of a wrong cache would be other drafts, and another number of rounds, along whatever path of a tree."""
    draft = pair_gguf("draft", tmp_path)
    _, _, rounds = run(program, draft, edge, "match", expansion)
    assert rounds == rounds_in_python(draft, edge, expansion)


def test_the_target_accepts_all_of_its_own_drafts(program, edge, tmp_path):
    model = pair_gguf("target", tmp_path)
    for expansion, each in (("1,1,1,1", 5), ("2,2,2", 4), ("3,1", 3)):
        _, _, rounds = run(program, model, edge, "match", expansion)
        assert rounds == -(-TOKENS // each)
