#!/usr/bin/env bash
# Makes .venv as requirements.lock says. A second call with nothing changed leaves at once.
#   PYTHON             interpreter to build on, 3.11 or 3.12  (default: that of .venv, else python3)
#   TORCH              which build of torch: cpu or cuda      (default: that of .venv, else cpu)
#   UNIRL_TORCH_INDEX  where CPU builds are, if no configured index has them
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

PATH=${PATH//"$PWD/.venv/bin:"/} # so that a name means the system's interpreter
stamp=.venv/.setup-stamp         # build of torch, and the key of the last complete set-up
torch_index=${UNIRL_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
work=

choose() {
    local had_torch=''
    had_python=
    if [ -f "$stamp" ]; then read -r had_torch _ < "$stamp"; fi
    if .venv/bin/python -c '' 2> /dev/null; then had_python=$(realpath .venv/bin/python); fi
    target=${TORCH:-${had_torch:-cpu}}
    python=${PYTHON:-${had_python:-python3}}
}

check_target() {
    case $target in
        cpu | cuda) ;;
        *) die "TORCH is '$target'. Allowed: cpu, cuda." ;;
    esac
}

python_version() { "$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null; }

check_python() {
    local found
    found=$(python_version) || die "'$python' does not run. Install Python 3.11 or 3.12, or name one: make setup PYTHON=python3.12"
    case $found in
        3.11 | 3.12) ;;
        *) die "'$python' is Python $found. Allowed: 3.11, 3.12. Name another one: make setup PYTHON=python3.12" ;;
    esac
}

# Debian and Ubuntu pack the venv module apart from Python.
check_venv_module() {
    if "$python" -c 'import venv, ensurepip' 2> /dev/null; then return; fi
    apt_install "python$(python_version)-venv" ||
        die "'$python' has no venv module. Install it (Debian, Ubuntu: apt-get install python$(python_version)-venv), then try again."
}

# All that decides what the environment holds; a change to any of it sets up anew.
key() {
    { echo "$(python_version) $PWD" && cat requirements.lock pyproject.toml scripts/setup.sh; } | sha256sum | cut -d' ' -f1
}

up_to_date() { [ -n "$had_python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$target $(key)" ]; }

make_venv() {
    local ready
    ready=$(.venv/bin/python -c 'import pip, sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null) || ready=
    if [ "$ready" = "$(python_version)" ]; then return; fi
    "$python" -m venv --clear .venv
}

# What .venv holds, and the requirement that the lock makes of it: set-up leaves alone what is right already.
installed() { .venv/bin/python -c 'import sys, importlib.metadata as m; print(m.version(sys.argv[1]))' "$1" 2> /dev/null || true; }
locked() { sed -n "s/^\($1==[^ ]*\) ${2:-}.*/\1/p" requirements.lock; }

# uv installs the rest: several times as fast as pip, and it accepts robel's old metadata.
install_uv() {
    if [ "uv==$(installed uv)" = "$(locked uv)" ]; then return; fi
    awk '/^[^ #]/ { ours = /^uv==/ } ours' requirements.lock > "$work/uv.lock"
    .venv/bin/python -m pip install --quiet --require-hashes -r "$work/uv.lock"
}

# `torch==2.13.0` must not be met by the CPU build when CUDA is asked for; pip would think that it is.
drop_other_torch() {
    case $target-$(installed torch) in
        cpu- | cpu-*+cpu) ;;
        cuda-*+cpu | cpu-*) VIRTUAL_ENV=.venv .venv/bin/uv pip uninstall --quiet torch ;;
    esac
}

# The CPU build by its full name, from the configured indexes or from PyTorch's: a plain
# `torch==2.13.0` is the CUDA build on PyPI, gigabytes that a CPU does not need.
install_cpu_torch() {
    local requirement log=$work/torch.log
    requirement=$(locked torch "; extra == 'cpu'")
    if [ "torch==$(installed torch)" = "$requirement" ]; then return; fi
    if .venv/bin/python -m pip install --quiet --no-deps "$requirement" > "$log" 2>&1; then return; fi
    if .venv/bin/python -m pip install --quiet --no-deps --index-url "$torch_index" "$requirement" >> "$log" 2>&1; then return; fi
    cat "$log" >&2
    die "no CPU build $requirement in the configured indexes nor at $torch_index. Name an index that has it: UNIRL_TORCH_INDEX=URL make setup"
}

# Everything else with its hash. The lines of TORCH=cuda are marked as an extra; asking for them makes the mark true.
install_lock() {
    local lock=requirements.lock
    if [ "$target" = cuda ]; then
        lock=$work/cuda.lock
        sed "s/extra == 'cuda'/os_name == 'posix'/" requirements.lock > "$lock"
    fi
    VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --no-deps --require-hashes -r "$lock"
}

# What torch.compile needs on a CPU.
can_compile() {
    command -v c++ > /dev/null &&
        .venv/bin/python -c 'import pathlib, sysconfig; exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())'
}

install_project() {
    VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .
}

install() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    make_venv
    echo "$target incomplete" > "$stamp"
    install_uv
    drop_other_torch
    if [ "$target" = cpu ]; then install_cpu_torch; fi
    install_lock
    install_project
    echo "$target $(key)" > "$stamp"
}

main() {
    choose
    check_target
    check_python
    if up_to_date; then
        say "set-up is up to date (.venv, Python $(python_version), torch for $target)"
        return
    fi
    say "setting up .venv (Python $(python_version), torch for $target): about a minute"
    check_venv_module
    install
    can_compile || say "note: no C++ compiler or no Python.h; only compiled runs, those of scale paper, need them (Debian, Ubuntu: apt-get install g++ python3-dev)"
    say "set-up is done"
}

main
