# Thin on purpose: what a target does is in scripts/, the Snakefile and the unirl-repro command.
#   PYTHON=python3.12   interpreter for .venv (3.11 or 3.12)      TORCH=cuda   CUDA build of torch
export PYTHON TORCH
export PATH := $(CURDIR)/.venv/bin:$(PATH)
SHELL := /bin/bash

.PHONY: help setup reproduce report-paper smoke test test-full campaign lint bench lock
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s%s\n", $$1, $$2 }' Makefile

setup:  ## .venv from requirements.lock; a second call does nothing (1 min)
	@scripts/setup.sh

reproduce: setup  ## the main job: train at scale quick, build results/quick/paper.pdf (15 min on 2 cores)
	@scripts/report.sh quick paper

report-paper: setup  ## the paper-scale report from recorded and finished runs, trains nothing (minutes)
	@scripts/report.sh paper paper_partial

smoke: setup  ## kick the tyres: each algorithm and each task once, figures and tables (13 min)
	@snakemake -c2 smoke figures tables --config scale=smoke

test: setup  ## unit, property, parity and resume tests, a smoke run, the cluster plan (30 min)
	pytest -n 2 --dist loadfile -m "not full"
	@$(MAKE) --no-print-directory smoke
	@snakemake -n --quiet rules --profile slurm

test-full: setup  ## the long campaigns: up to 100 kills, paper sizes, recorded runs repeated, faults on a cluster, the container (25 min more)
	pytest -n 2 --dist loadfile -m full

campaign: setup  ## every fault that a cluster has, on a real one-node SLURM; CAMPAIGN_JOBS=500 for a long one (8 min)
	pytest -s -m full tests/slurm/test_campaign.py

lint: setup  ## ruff, types, snakefmt, snakemake --lint, shellcheck
	@scripts/lint.sh

bench: setup  ## our speed beside others', measured side by side; writes results/bench/bench.json (11 min)
	@python -m benchmarks

lock: setup  ## requirements.lock from requirements.in; UPGRADE=1 takes newer versions
	@scripts/lock.sh
