# `make demo` turns images, videos and sounds into one served model. `make check` runs the checks and the fast tests,
# `make test` runs the checks and all tests.
BIN := .venv/bin
DEMO_ROOT ?= runs/demo
# A file's tests share a process; tests/conftest.py says in which order files start.
TWO_PROCESSES := -n 2 --dist loadfile --no-loadscope-reorder
BENCHMARKS ?= trace_step ingest input_pipeline step many_tasks batch_prediction

.PHONY: demo lint check test bench docs lock kfp-lock clean
.DELETE_ON_ERROR:

demo: .venv/ready
	@$(BIN)/polyvit demo --root $(DEMO_ROOT)

# Style, imports, types.
lint: .venv/ready
	@$(BIN)/ruff check -q .
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/basedpyright

# The tests that need no pipeline.
check: lint
	@$(BIN)/python -m pytest -q $(TWO_PROCESSES) -m 'not slow' tests/polyvit tests/model_code tests/media tests/serving

test: lint
	@$(BIN)/python -m pytest -q $(TWO_PROCESSES) tests

# Runs every benchmark, even after one has missed its target.
bench: .venv/ready
	@failed=0; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || failed=1; done; exit $$failed

.venv/ready: requirements.lock pyproject.toml scripts/setup_env.sh scripts/compiler.lock
	@scripts/setup_env.sh

# Writes the reference of all config fields from their docstrings.
docs: .venv/ready
	@$(BIN)/python scripts/config_reference.py

# Resolves the ranges of pyproject.toml and the pins of requirements.in. Versions in the lock stay where they can.
lock:
	"$$(scripts/find_uv.sh)" pip compile --python-version 3.10 --generate-hashes --no-header -q \
		requirements.in pyproject.toml --extra dev -o requirements.lock

# The newest kfp, alone: a test parses compiled pipelines with it.
kfp-lock:
	printf 'kfp\nkfp-kubernetes\n' | "$$(scripts/find_uv.sh)" pip compile --upgrade --python-version 3.10 \
		--generate-hashes --no-annotate --no-header -q - -o scripts/kfp_newest.lock

clean:
	rm -rf .venv .bootstrap build *.egg-info
