#!/usr/bin/env bash
# Every check of form, in turn; stops at the first that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

set -x
ruff check .
ruff format --check .
mypy
snakefmt --check Snakefile workflow
snakemake --lint
shellcheck --external-sources scripts/*.sh tests/slurm/*.sh .ci/run
