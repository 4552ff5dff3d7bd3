# `make demo` turns images, videos and sounds into one served model. `make check` runs the checks and the fast tests,
# `make test` runs the checks and all tests.
BIN := .venv/bin
DEMO_ROOT ?= runs/demo
# A file's tests share a process; tests/conftest.py says in which order files start.
TWO_PROCESSES := -n 2 --dist loadfile --no-loadscope-reorder
# docs/benchmarks.md lists the others too.
BENCHMARKS ?= trace_step ingest input_pipeline step many_tasks batch_prediction

PROFILE ?= 2.18+

.PHONY: demo lint check test portability conformance conformance-models bench docs lock kfp-lock clean
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
	@if [ -n "$$CI" ]; then scripts/install_programs.sh; fi
	@$(BIN)/python -m pytest -q $(TWO_PROCESSES) tests

# Compares Beam's runners with in_process. JOB_ENDPOINT=host:port is a job server of Flink or Spark on this machine, in
# place of Beam's own.
portability: .venv/ready
	@JOB_ENDPOINT=$(JOB_ENDPOINT) $(BIN)/python -m pytest -q tests/e2e/test_portable_beam.py

# Asks a server what TensorFlow Serving answers: make conformance URL=http://127.0.0.1:8501 [GRPC=127.0.0.1:8500]
# [PROFILE=2.16]. It serves the models and the models.config that `make conformance-models DIR=...` writes.
conformance: .venv/ready
	@TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m tests.serving.conformance $(URL) --grpc "$(GRPC)" --profile $(PROFILE)

conformance-models: .venv/ready
	@TF_CPP_MIN_LOG_LEVEL=3 TF_USE_LEGACY_KERAS=1 $(BIN)/python -m tests.serving.conformance_models $(DIR) $(BASE)

# Runs every benchmark, even after one has missed its target.
bench: .venv/ready
	@failed=0; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || failed=1; done; exit $$failed

.venv/ready: requirements.lock pyproject.toml scripts/setup_env.sh scripts/compiler.lock
	@scripts/setup_env.sh

# Writes the reference of all config fields from their docstrings.
docs: .venv/ready
	@$(BIN)/python scripts/config_reference.py

# Resolves the ranges of pyproject.toml and the pins of requirements.in. Versions in the locks stay where they can.
# kubeflow/gpu.lock and tpu.lock are what the images for GPUs and TPUs have beside it: CUDA, and TensorFlow for TPUs.
COMPILE = "$$(scripts/find_uv.sh)" pip compile --python-version 3.10 --generate-hashes --no-header -q
lock:
	$(COMPILE) requirements.in pyproject.toml --extra dev -o requirements.lock
	echo 'tensorflow[and-cuda]' | $(COMPILE) --no-annotate -c requirements.lock - -o kubeflow/gpu.lock
	sed -n 's/^\(tensorflow\)\(==[0-9.]*\).*/\1-tpu\2/p' requirements.lock | \
		$(COMPILE) --no-annotate --no-deps - -o kubeflow/tpu.lock

# The newest kfp, alone: a test parses compiled pipelines with it.
kfp-lock:
	printf 'kfp\nkfp-kubernetes\n' | $(COMPILE) --no-annotate --upgrade - -o scripts/kfp_newest.lock

clean:
	rm -rf .venv .bootstrap build *.egg-info
