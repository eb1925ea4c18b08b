# make lab     set up on the first call, then open JupyterLab on the first notebook
# make test    set up, then run everything: unit tests, every notebook in nbval's strict mode, the browser test
# make quick   the unit tests without the slow ones: under two minutes
# make check   style and types          make bench   the speed table          make clean   remove .venv and caches
#
# make portable      tests and notebooks (or ARGS="notebooks/01…ipynb tests/formulas") as on older processors; long
# make tolerances    how far the numbers of ARGS=notebooks/01…ipynb are apart there, and what its cells ask
# make gpu           on a machine with CUDA, in five minutes: the tests that need it, notebooks 07 and 08, the speed there
# make fuzz MINUTES=20    look for what breaks: random settings, presses, tables, pictures, damaged files; for so long in all
# make notebooks    run the notebooks (or ARGS=notebooks/01…ipynb) from fresh kernels and store their outputs
#
# make lab PYTHON=python3.12    which Python .venv is made with; by default the newest of 3.13, 3.12, 3.11
# make lab ARGS="--no-browser --port=9999"    ARGS is handed on: to JupyterLab, to pytest, to the benchmarks

PYTHON =
ARGS =
MINUTES = 20
VENV = .venv/bin/python
# Threads that wait leave their core to the other worker, and what pytest has compiled is kept for the many that it starts.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive HF_HUB_OFFLINE=1 $(VENV) -m pytest \
	--numprocesses=2 --dist=loadfile --no-loadscope-reorder

# Any Python 3 can run setup_venv.py, which chooses the one that .venv is made with.
ANY_PYTHON = $(shell for name in python3 python3.13 python3.12 python3.11; do $$name -c "" 2>&- && echo $$name && break; done)
NO_PYTHON = $(error stablelab: no Python 3 found: install Python 3.12 (python.org), then run make again)
SET_UP = $(or $(ANY_PYTHON),$(NO_PYTHON)) -I setup_venv.py --python="$(PYTHON)"

.PHONY: lab test quick check bench gpu fuzz portable tolerances notebooks clean venv venv-tests

lab: venv
	@$(VENV) -m stablelab lab $(ARGS)

test: venv-tests
	@$(VENV) -m stablelab fetch
	$(PYTEST) tests notebooks --nbval --nbval-current-env --nbval-cell-timeout=600 $(ARGS)

quick: venv-tests
	@$(VENV) -m stablelab fetch
	$(PYTEST) tests --ignore=tests/browser -m "not slow" $(ARGS)

check: venv-tests
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m mypy

bench: venv-tests
	@$(VENV) -m stablelab fetch
	HF_HUB_OFFLINE=1 $(VENV) tests/benchmarks $(ARGS)

# Three parts, of which each runs though one before it has failed.
gpu: venv-tests
	@$(VENV) -m stablelab fetch
	@$(VENV) -c "import torch, sys; torch.cuda.is_available() or sys.exit('make gpu: torch finds no CUDA device here')"
	failed=0; \
	$(PYTEST) tests/gpu -m gpu $(ARGS) || failed=1; \
	$(PYTEST) notebooks/07*.ipynb notebooks/08*.ipynb --nbval --nbval-current-env --nbval-cell-timeout=600 || failed=1; \
	HF_HUB_OFFLINE=1 $(VENV) tests/benchmarks gpu || failed=1; \
	exit $$failed

fuzz: venv-tests
	@$(VENV) -m stablelab fetch
	PYTHONPATH=tests STABLELAB_FUZZ_MINUTES=$(MINUTES) OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 \
		$(VENV) -m pytest -p support.fuzz $$(find tests -name "test*_fuzz.py" -o -name test_fuzz.py) $(ARGS)

portable: venv-tests
	@$(VENV) -m stablelab fetch
	HF_HUB_OFFLINE=1 $(VENV) tests/portable.py check $(or $(ARGS),tests notebooks)

tolerances: venv-tests
	@$(VENV) -m stablelab fetch
	HF_HUB_OFFLINE=1 $(VENV) tests/portable.py tolerances $(or $(ARGS),notebooks/*.ipynb)

notebooks: venv-tests
	OMP_WAIT_POLICY=passive HF_HUB_OFFLINE=1 $(VENV) -m jupyter nbconvert --to notebook --execute --inplace \
		--ExecutePreprocessor.record_timing=False --ExecutePreprocessor.store_widget_state=False $(or $(ARGS),notebooks/*.ipynb)

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find stablelab tests notebooks -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@$(SET_UP)

venv-tests:
	@$(SET_UP) --tests
