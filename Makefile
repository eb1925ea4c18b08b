# make lab     set up on the first call, then open JupyterLab on the first notebook
# make test    set up, then run everything: unit tests, every notebook in nbval's strict mode, the browser test
# make check   style and types          make bench   the speed table          make clean   remove .venv and caches
#
# make notebooks    run the notebooks (or ARGS=notebooks/01…ipynb) from fresh kernels and store their outputs
#
# make lab PYTHON=python3.12    which Python .venv is made with; by default the newest of 3.13, 3.12, 3.11
# make lab ARGS="--no-browser --port=9999"    ARGS is handed on: to JupyterLab, to pytest, to the benchmarks

PYTHON =
ARGS =
VENV = .venv/bin/python
SETUP = for python in python3 python3.13 python3.12 python3.11; do \
	if $$python -c "" >/dev/null 2>&1; then exec $$python -I stablelab/bootstrap.py --python="$(PYTHON)"

.PHONY: lab test check bench notebooks clean venv venv-tests

lab: venv
	@$(VENV) -m stablelab lab $(ARGS)

test: venv-tests
	@$(VENV) -m stablelab fetch
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(VENV) -m pytest tests notebooks --numprocesses=2 --dist=loadfile \
		--nbval --nbval-current-env --nbval-cell-timeout=600 $(ARGS)

check: venv-tests
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m mypy

bench: venv-tests
	@$(VENV) -m stablelab fetch
	HF_HUB_OFFLINE=1 $(VENV) tests/benchmarks $(ARGS)

notebooks: venv-tests
	HF_HUB_OFFLINE=1 $(VENV) -m jupyter nbconvert --to notebook --execute --inplace \
		--ExecutePreprocessor.record_timing=False --ExecutePreprocessor.store_widget_state=False $(or $(ARGS),notebooks/*.ipynb)

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find stablelab tests notebooks -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@$(SETUP); fi; done; $(NO_PYTHON)

venv-tests:
	@$(SETUP) --tests; fi; done; $(NO_PYTHON)

NO_PYTHON = echo "stablelab: no Python 3 found: install Python 3.12 (python.org), then run make again" >&2; exit 1
