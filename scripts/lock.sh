#!/usr/bin/env bash
# Writes requirements.lock from requirements.in. Versions already locked stay where they fit; UPGRADE=1 takes the newest.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

# Apart, without their dependencies: robel's are long dead, and of it we need the files alone; mbrl's pins contradict
# ours, and its networks work with the versions that requirements.in names.
apart=(robel==0.1.2 mbrl==0.2.0)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One resolution for Python 3.11 and 3.12, with the hashes of every file.
compile() {
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        ${UPGRADE:+--upgrade} "$@"
}

# Torch and what it alone brings (CUDA) become an extra, which is off: the lock as it stands installs none of it.
mark_cuda() {
    sed -E "/^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==/ {
        s/ ; (.*) \\\\$/ ; extra == 'cuda' and (\1) \\\\/
        t
        s/ \\\\$/ ; extra == 'cuda' \\\\/
    }"
}

if [ -f requirements.lock ]; then
    sed "/extra == 'cpu'/d; s/extra == 'cuda' and //" requirements.lock > "$work/all.lock"
fi
compile --output-file "$work/all.lock" requirements.in
{
    echo "# Made by \`make lock\` from requirements.in, installed by \`make setup\`. TORCH=cpu and TORCH=cuda take their own lines of torch."
    mark_cuda < "$work/all.lock"
    printf '%s\n' "${apart[@]}" | compile --no-deps --no-annotate -
    echo "$(grep -o '^torch==[^ ]*' requirements.in)+cpu ; extra == 'cpu'"
} > requirements.lock.new
mv requirements.lock.new requirements.lock
say "requirements.lock holds $(grep -c '^[a-z].*==' requirements.lock) packages"
