.PHONY: help setup demo test check fuzz bench bench-peers bench-arm bench-gpu docs clean

COUNT ?= 10000
FILES ?= 1000
TARGET ?= host
PRECISION ?= fp32
fuzz = PYTHONPATH=.:tests .venv/bin/python -m fuzz

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup:  ## Set up .venv and the system packages
	@scripts/setup.sh

demo: setup  ## Compile EfficientNet-Lite0 for a Raspberry Pi 4 and check it on photographs
	@.venv/bin/python scripts/demo.py

check: setup  ## Style, types and C warnings
	@scripts/check.sh

test: check  ## All checks, then all tests
	@.venv/bin/python -m pytest --numprocesses auto --dist loadfile

fuzz: setup  ## COUNT random layers on TARGET, FILES damaged files of each kind (SEED=N repeats a run)
	@$(fuzz) layers --count $(COUNT) --target $(TARGET) --precision $(PRECISION) \
		$(if $(HALF_ARITHMETIC),--half-arithmetic) $(if $(SEED),--seed $(SEED))
	@$(fuzz) files --count $(FILES) $(if $(SEED),--seed $(SEED))

bench: setup  ## Time networks and layers beside ONNX Runtime (ONLY='mobilenet*' some of them)
	@.venv/bin/python -m benchmarks $(if $(ONLY),--only '$(ONLY)') $(BENCH)

bench-peers: setup  ## The same beside eight runtimes, in environments of their own
	@.venv/bin/python -m benchmarks.environments
	@.venv/bin/python -m benchmarks --peers all --cold $(if $(ONLY),--only '$(ONLY)') $(BENCH)

bench-arm: setup  ## Count what networks execute on a Raspberry Pi 4, emulated, beside ncnn and ONNX Runtime
	@scripts/setup_arm.sh
	@.venv/bin/python -m benchmarks.arm --peers ncnn onnxruntime $(if $(ONLY),--only '$(ONLY)') $(BENCH)

bench-gpu: setup  ## Kernels, bytes and times of a GPU's artifacts, on this machine's OpenCL driver
	@.venv/bin/python -m benchmarks.gpu $(if $(ONLY),--only '$(ONLY)') $(BENCH)

docs: setup  ## Write docs/layers/ from the sources
	@.venv/bin/python scripts/layer_docs.py

clean:  ## Remove .venv and everything that was built
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
