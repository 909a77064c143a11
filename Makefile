# make run    the whole stack on this machine, with its first calls; Ctrl-C stops it
# make demo   the same, then stops; fails unless every call did what it should
# make test   all checks and all tests

PYTHON := .venv/bin/python
READY  := .venv/ready

.PHONY: run demo test check install clean

run: install
	@$(PYTHON) -m console.main run

demo: install
	@$(PYTHON) -m console.main demo

test: install
	@./scripts/test

check: install
	@./scripts/check

install:
	@./scripts/install

clean:
	rm -rf .venv var
