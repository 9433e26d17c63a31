# The chores. `make demo` and `make test` are each complete on a fresh machine: they create .venv.
FOLDERS := cyclegan data gatys options runs scripts styles survey
PYTHON  ?= python3
BIN     := .venv/bin
# The versions of all packages; `make test CONSTRAINTS=/dev/null` takes the newest that are allowed.
CONSTRAINTS ?= constraints.txt
EXTRAS  := dev,docs,fetch,film,heif,onnx,ray,survey,tensorboard,visdom

# It cannot be installed beside the others' versions: see test-app.
GRADIO  := $(shell grep ^gradio== constraints.txt)

.PHONY: demo test test-app quick newest check docs visdom typing clean

demo: .venv/installed
	$(BIN)/impasto demo --output demo

test: .venv/installed-dev
	$(BIN)/pytest --numprocesses 2 --cov

# The tests of the page of `impasto app`, which `test` skips: Gradio holds Pillow below the version of the
# others, so it has an environment of its own that looks into .venv for everything else.
test-app: .venv-app/installed typing
	PYTHONPATH=$(CURDIR)/.typing PYTHONSAFEPATH=1 .venv-app/bin/python -m pytest tests/impasto/test_app.py

.venv-app/installed: constraints.txt .venv/installed-dev
	$(PYTHON) -m venv --clear .venv-app
	.venv-app/bin/pip install --quiet $(GRADIO)
	.venv-app/bin/python -c 'import pathlib, sysconfig; \
		site = pathlib.Path(sysconfig.get_path("purelib")); here = site.relative_to(pathlib.Path.cwd()); \
		others = pathlib.Path(".venv", *here.parts[1:]).absolute(); (site / "zz_others.pth").write_text(str(others))'
	@touch $@

# The tests that are not slow and need no browser, without coverage: under three minutes on two cores.
quick: .venv/installed-dev
	$(BIN)/pytest --numprocesses 2 -m 'not slow and not browser'

# All tests with the newest of every package, in an environment of its own, made anew each time.
newest:
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/pip install --quiet --upgrade pip 'setuptools<81' wheel
	.venv-newest/bin/pip install --quiet --no-build-isolation 'setuptools<81' --editable '.[$(EXTRAS)]'
	.venv-newest/bin/pip freeze
	.venv-newest/bin/pytest --numprocesses 2

check: .venv/installed-dev typing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The site: guides, commands and the Python reference. Reads nothing from the network; a warning, such as
# a link that leads nowhere, is an error.
docs: .venv/installed-dev
	$(BIN)/sphinx-build --fail-on-warning --keep-going --fresh-env --quiet -b html -c docs/site . build/docs
	@echo "open build/docs/index.html"

# The distribution `impasto-lite`, which translates without torch: a wheel in build/lite, in some minutes.
lite: .venv/installed-dev
	$(BIN)/python benchmarks/build_lite.py

# Adds the live display of `impasto train --display visdom`.
visdom: .venv/installed .venv/can-build-visdom
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --no-build-isolation 'setuptools<81' \
		--editable '.[visdom]'

# Type checkers follow folders, not import hooks: give them impasto/ as links.
typing:
	@mkdir -p .typing/impasto
	@for folder in $(FOLDERS); do ln -sfn ../../$$folder .typing/impasto/$$folder; done
	@for file in impasto/*; do ln -sfn ../../$$file .typing/impasto/; done

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: setup.cfg pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable .
	@touch $@

# visdom publishes only its source, which builds with nothing newer, and only beside it.
.venv/can-build-visdom: | .venv/bin/python
	$(BIN)/pip install --quiet 'setuptools<81' wheel
	@touch $@

.venv/installed-dev: setup.cfg pyproject.toml constraints.txt .venv/can-build-visdom | .venv/bin/python
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --no-build-isolation 'setuptools<81' \
		--editable '.[$(EXTRAS)]'
	@touch $@

clean:
	rm -rf .venv .venv-newest .venv-app .typing build demo .coverage .mypy_cache .pytest_cache .ruff_cache *.egg-info
