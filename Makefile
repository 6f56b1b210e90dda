# `make demo` and `make test` do all of their own set-up from a bare checkout: Python 3.11 or newer is all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint types pytest sanitize vectors compat bytes clean

demo: $(READY)
	@$(BIN)/python -m examples.demo

test: lint types pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# The whole suite runs over the native backend (with a C compiler it must have been built), then over the reference
# all that encodes or decodes; models, links, benchmarks and the laws of verification are the same code in both.
BACKENDS := $(if $(shell command -v $${CC:-cc}),native reference,reference)
pytest: $(addprefix pytest-,$(BACKENDS))
pytest-reference: ONLY := $(if $(filter native,$(BACKENDS)),$(addprefix --ignore=tests/,examples transports benchmarks \
	$(addprefix verification/test_,chi_square.py lossless.py theory.py tail_scale.py coupling.py) session/test_evidence_sessions.py))

# One thread a process: the suite runs two tests at a time, and models that spin for each other's cores crawl.
pytest-%: $(READY)
	TSLT_WIRE_BACKEND=$* OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist loadfile $(ONLY)

# The vectors and a seeded corpus of changed ones through the kernel alone, with every step it takes watched.
SANITIZE := -std=c11 -g -O1 -ffp-contract=off -fsanitize=address,undefined -fno-sanitize-recover=all \
	-Wall -Wextra -Wpedantic -Werror -Itslt_wire/_native
sanitize:
	@mkdir -p build/sanitize
	$(CC) $(SANITIZE) examples/embed_c/main.c tslt_wire/_native/*.c -o build/sanitize/embed
	$(CC) $(SANITIZE) tests/native/fuzz.c tslt_wire/_native/*.c -o build/sanitize/fuzz
	$(PYTHON) examples/embed_c/vectors.py > build/sanitize/vectors.txt
	build/sanitize/embed < build/sanitize/vectors.txt
	build/sanitize/fuzz 1 200 < build/sanitize/vectors.txt

vectors: $(READY)
	$(BIN)/python spec/make_vectors.py

# The same bytes from every Python and numpy; COMPAT="--python python3.12 --numpy 1.26.4" names others than all on the path.
compat: $(READY)
	$(BIN)/python tests/compat/run.py $(COMPAT)

bytes: $(READY)
	$(BIN)/python -m tslt_benchmarks.bytes.bytes_per_token

NATIVE := CMakeLists.txt $(foreach kind,c h cpp,$(wildcard tslt_wire/_native/*.$(kind)))

$(READY): pyproject.toml constraints.txt $(NATIVE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --build-constraint constraints.txt \
		--group dev --editable '.[all]'
	@touch $(READY)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
