# make demo   the main job on MovieLens-100K, from the log to recommendations
# make test   every test, real Elasticsearch servers included
# make fast   the tests that need neither a server nor a training
# make check  lint, format, types
# make bench  small benchmarks of quality and speed; benchmarks/README.md has the others
# make speed  the whole speed of retrieval and upload: hours, on an idle machine
# make faults every fault on real servers, an hour or two; fills docs/resiliency.md
# make speed-report  benchmarks/SPEED.md from what they measured
# make fuzz   100,000 damaged and hostile inputs; docs/resiliency.md's table
# make load   5 minutes each of 50, 80 and 120 % of what a server holds; docs/resiliency.md's table
# make lock   .requirements/dev.txt from pyproject.toml: every package of the development environment, pinned and hashed
# make audit  the locked packages against the known vulnerabilities
# make audit-offline ADVISORIES=path/to/advisory-database: the same against a copy of PyPA's database
# make docs   the documentation's site, in build/docs
# make doc-pictures  every picture of the documentation, from a real training, server and browser

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST_FLAGS ?=
FAULTS_FLAGS ?=

.PHONY: demo test fast check bench speed speed-report faults fuzz load lock audit audit-offline docs doc-pictures clean

demo: $(VENV)/.train
	$(BIN)/sparcode-es demo

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

fast: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_FLAGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.bench
	test -d data/ml-100k || $(BIN)/sparcode-es data fetch ml-100k --out data/ml-100k
	$(BIN)/python benchmarks/quality.py --data data/ml-100k --preset demo --seeds 0 --runs runs/bench
	$(BIN)/python benchmarks/speed_retrieval.py --items 12000 --queries 300 --judged 20 --out runs/bench/speed
	$(BIN)/python benchmarks/speed_upload.py --items 12000 --no-sweep --out runs/bench/speed
	$(BIN)/python benchmarks/speed_report.py --results runs/bench/speed --out runs/bench/speed/SPEED.md

speed: $(VENV)/.bench
	$(BIN)/python benchmarks/speed_retrieval.py --items 12000 --parts local,servers
	$(BIN)/python benchmarks/speed_retrieval.py --items 54542
	$(BIN)/python benchmarks/speed_retrieval.py --items 200000 --parts local,servers
	$(BIN)/python benchmarks/speed_retrieval.py --items 1000000 --parts local,servers --judged 30 --heap 3g
	$(BIN)/python benchmarks/speed_retrieval.py --items 1000000 --parts cluster --judged 30 --queries 300
	$(BIN)/python benchmarks/speed_upload.py --items 54542
	$(MAKE) speed-report

speed-report: $(VENV)/.bench
	$(BIN)/python benchmarks/speed_report.py
	$(BIN)/python benchmarks/speed_scale.py

faults: $(VENV)/.bench
	$(BIN)/python benchmarks/faults.py $(FAULTS_FLAGS)

fuzz: $(VENV)/.test
	$(BIN)/python benchmarks/fuzz.py --cases 100000

load: $(VENV)/.test
	$(BIN)/python benchmarks/load.py

lock: $(VENV)/.tools
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.10 --upgrade --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet --output-file .requirements/dev.txt

audit: $(VENV)/.tools
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement .requirements/dev.txt

audit-offline: $(VENV)/.tools
	$(BIN)/python .ci/audit.py $(ADVISORIES)

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file .mkdocs.yml

doc-pictures: $(VENV)/.bench
	$(BIN)/python benchmarks/doc_pictures.py

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "sparcode-es needs Python 3.10 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The tools of `make lock` and `make audit` alone, without the package and its torch.
$(VENV)/.tools: pyproject.toml | $(VENV)/bin/python
	$(PIP) 'uv>=0.5' 'pip-audit>=2.7' 'packaging>=23' 'pyyaml>=6'
	@touch $@

# One stamp an extra: installed again only when pyproject.toml changes.
$(VENV)/.%: pyproject.toml | $(VENV)/bin/python
	@echo "installing sparcode-es[$*] into $(VENV): torch is large, the first time takes minutes" >&2
	$(PIP) --editable '.[$*]'
	@touch $@
