# shellcheck shell=bash
# Sourced by the other scripts: messages, and packages of the distribution.

say() { echo "unirl-repro: $*"; }

die() {
    echo "unirl-repro: error: $*" >&2
    exit 1
}

# Installs packages of Debian or Ubuntu; fails where there is no apt-get, no right to use it, or no such package.
apt_install() {
    local as_root=()
    command -v apt-get > /dev/null || return 1
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2> /dev/null || return 1
        as_root=(sudo -n)
    fi
    say "installing from the distribution: $*"
    # The list of packages may be old or empty: refresh it, and let the installation decide.
    "${as_root[@]}" apt-get update -qq > /dev/null 2>&1 || true
    local output
    output=$("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" 2>&1) && return
    tail -n 3 <<< "$output" >&2
    return 1
}
