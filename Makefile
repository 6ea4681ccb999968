# make repro: everything, from an empty folder to the metrics table. make help: the rest.
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
# Set-up runs again only when what it depends on has changed: the stamp's name holds the checksum.
STAMP := $(VENV)/.set-up-$(shell cat requirements.txt requirements-no-deps.txt pyproject.toml tools/setup.sh | cksum | cut -d' ' -f1)
# `cmd: python -m stages...` of dvc.yaml means this environment's Python, as in an activated one.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup repro times figures test fuzz lint smoke study leaderboard classifiers generation orchestra ui profile
.DEFAULT_GOAL := help

help:
	@echo "make repro   set up, run the pipeline (dvc repro, with the time left), print the metrics table and where to listen"
	@echo "make figures  write the tables of README and docs anew from metrics/ and benchmarks/"
	@echo "make times   keep the stage times of the last make repro for its forecasts (benchmarks/stage_times.json)"
	@echo "make test    set up, run the whole test suite, the pipeline at smoke scale included"
	@echo "make smoke   only the tests that run the pipeline, at smoke scale"
	@echo "make fuzz    10,000 damaged recordings through transfer, download's check and data inspect (N=10000)"
	@echo "make profile P=gpu   lay one of profiles/ over params.yaml; git checkout params.yaml goes back"
	@echo "make study   the ablation of docs/ablation.md, two trainings at a time (JOBS=2); needs what make repro makes"
	@echo "make leaderboard  docs/leaderboard.md: every system trained and measured beside the others, two at a time (JOBS=2), after make repro"
	@echo "make orchestra  the weights that ship: twelve instruments at 44.1 kHz, trained (about an hour) and measured (5 minutes)"
	@echo "make classifiers  published instrument classifiers on one protocol (docs/classifiers.md), two at a time (JOBS=2)"
	@echo "make generation  generators of notes on one set with one set of measures (docs/generation.md), two at a time (JOBS=2)"
	@echo "make lint    check the code's style (ruff)"
	@echo "make ui      MLflow on http://127.0.0.1:5000"
	@echo "make setup   only the environment, in $(VENV) (PYTHON=python3.12 chooses the interpreter)"

setup: $(STAMP)

$(STAMP):
	PYTHON="$(PYTHON)" tools/setup.sh
	@rm -f $(VENV)/.set-up-*
	@touch $@

repro: setup
	$(PY) tools/repro.py  # dvc repro, with the stage of how many and the time left
	@$(PY) -m retimbre.cli summary

times: setup
	@$(PY) tools/repro.py --record

figures: setup
	@$(PY) tools/figures.py

# Three processes of one thread each, one of them for the pipeline's file: many tests wait, so two cores are enough.
test: setup
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder

smoke: setup
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(PY) -m pytest tests/test_pipeline.py

N ?= 10000
fuzz: setup
	OMP_NUM_THREADS=1 PYTHONPATH=src nice -n 15 $(PY) -m tests.fuzz $(N)

profile: setup
	@$(PY) tools/profile.py $(P)

orchestra: setup
	$(PY) studies/orchestra/run.py

lint: setup
	$(PY) -m ruff check .

# Every cell is a stage of studies/ablation/dvc.yaml; finished cells are kept when it is interrupted.
JOBS ?= 2
study: setup
	$(PY) studies/ablation/run.py --jobs $(JOBS)

leaderboard: setup
	$(PY) studies/leaderboard/run.py --jobs $(JOBS)

# SET="dataset.source=irmas ..." takes another source.
SET ?=
classifiers: setup
	$(PY) studies/classifiers/run.py --jobs $(JOBS) $(addprefix --set=,$(SET))

generation: setup
	$(PY) studies/generation/run.py --jobs $(JOBS) $(addprefix --set=,$(SET))

# One worker and no job runners: 2 processes and 0.4 GB instead of 15 and 1.7 GB.
ui: setup
	@echo "the table of runs: http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning"
	MLFLOW_DISABLE_TELEMETRY=$${MLFLOW_DISABLE_TELEMETRY:-true} MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
	  $(PY) -m mlflow server --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000 --workers 1
