#!/usr/bin/env bash
# Sees to it that the PDF can be built: silent where LaTeX is there, installs it where that is allowed, else says what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

packages=(latexmk texlive-latex-recommended texlive-science lmodern) # 145 MB to download, 318 MB on disk

have_latex() {
    local program
    for program in latexmk pdflatex kpsewhich; do command -v "$program" > /dev/null || return 1; done
    kpsewhich siunitx.sty > /dev/null && kpsewhich lmodern.sty > /dev/null
}

if have_latex; then exit 0; fi
say "LaTeX is missing: the PDF needs it"
if apt_install "${packages[@]}" && have_latex; then exit 0; fi
die "LaTeX could not be installed. For the PDF, have an administrator run: apt-get install --no-install-recommends ${packages[*]}"
