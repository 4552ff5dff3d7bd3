# `make demo`: images, videos and sounds become one served model. `make test`: the proof.
BIN := .venv/bin
DEMO_ROOT ?= runs/demo

.PHONY: demo test bench lock clean
.DELETE_ON_ERROR:

demo: .venv/ready
	@$(BIN)/polyvit demo --root $(DEMO_ROOT)

test: .venv/ready
	@$(BIN)/python -m pytest -q tests

bench: .venv/ready
	@$(BIN)/python -m benchmarks.trace_step
	@$(BIN)/python -m benchmarks.ingest
	@$(BIN)/python -m benchmarks.input_pipeline
	@$(BIN)/python -m benchmarks.step
	@$(BIN)/python -m benchmarks.many_tasks

.venv/ready: requirements.lock pyproject.toml scripts/setup_env.sh
	@scripts/setup_env.sh

# Resolves the ranges of pyproject.toml and the pins of requirements.in; versions that the lock has stay where they can.
lock:
	$$(scripts/find_uv.sh) pip compile --python-version 3.10 --generate-hashes --no-header -q \
		requirements.in pyproject.toml --extra dev -o requirements.lock

clean:
	rm -rf .venv .bootstrap build *.egg-info
