# make run    the whole stack on this machine, with its first calls; Ctrl-C stops it
# make demo   the same, then stops; fails unless every call did what it should
# make test   all checks and all tests
# make contract   what a switch must do: the embedded one, and FreeSWITCH where there is one
# make soak   a million calls in twenty minutes, and the memory of every process meanwhile
# make bench-media  the media tier beside mod_lua, on a FreeSWITCH if there is one: ten minutes
# make bench  what Strowger promises, measured beside its peers: a quarter of an hour, see docs/bench.md

PYTHON := .venv/bin/python
READY  := .venv/ready

.PHONY: run demo test contract bench bench-media soak check install install-tests clean

run: install
	@$(PYTHON) -m console.main up

demo: install
	@$(PYTHON) -m console.main demo

test: install-tests
	@./tools/test

contract: install-tests
	@.venv/bin/pytest -n 2 --dist loadfile tests/contract

bench: install-tests
	@$(PYTHON) -m bench

bench-media: install-tests
	@$(PYTHON) -m bench.media

soak: install-tests
	@$(PYTHON) -m bench.soak

check: install-tests
	@./tools/check

install:
	@./tools/install

install-tests:
	@./tools/install --tests

clean:
	rm -rf .venv var
