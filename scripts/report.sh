#!/usr/bin/env bash
# report.sh SCALE TARGET: builds results/SCALE/TARGET.pdf, or without LaTeX all that goes into it.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

scale=$1 target=$2
pdf=results/$scale/$target.pdf

if scripts/latex.sh; then
    snakemake -c2 "$target" --config "scale=$scale"
    say "the report is $pdf"
else
    partial=${target#paper} # paper_partial trains nothing, nor do its figures and tables
    snakemake -c2 "figures$partial" "tables$partial" --config "scale=$scale"
    say "figures and tables are under results/$scale; $pdf is not built: install LaTeX (see above) and call make again"
fi
