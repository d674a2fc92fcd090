# make demo           install, run the main job on the generated sample, print before and after
# make demo FROM_SCRATCH=1    the same, training stage 1 as well
# make test           install, then every check and test
# make lint           install, then the checks alone
# make install        only install; CONSTRAINTS= takes the newest versions (CUDA builds of torch)

CONSTRAINTS ?= constraints.txt
TORCH_INDEX ?=
BIN := .venv/bin
DEMO_OUT ?= out/demo
SCREEN := -screen 0 1280x800x24
XVFB = $(if $(shell command -v xvfb-run),xvfb-run -a -s "$(SCREEN)")

export CONSTRAINTS TORCH_INDEX

.PHONY: install demo test lint style screenshots

install:
	@scripts/setup.sh

demo: install
	$(BIN)/self6d-studio demo --out $(DEMO_OUT) $(if $(FROM_SCRATCH),--from-scratch)

style: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

lint: style
	$(BIN)/mypy

test: style
	scripts/test.sh $(PYTEST_ARGS)

screenshots: install
	$(BIN)/python scripts/screenshots.py --out screenshots
