#!/usr/bin/env bash
# Sees to it that the tests can start a SLURM cluster of their own: silent where its programs are there, installs them where
# that is allowed, else says what is missing. Nothing but the tests' own daemons is started.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

packages=(slurm-wlm slurmdbd munge mariadb-server-core mariadb-client-core) # 77 MB on disk
services=(munge slurmctld slurmd slurmdbd)

have_slurm() {
    local program
    for program in slurmctld slurmd slurmdbd munged mariadbd mariadb-install-db mariadb sbatch srun sacct; do
        # A user's PATH need not have the folder of the daemons.
        command -v "$program" > /dev/null || [ -x "/usr/sbin/$program" ] || return 1
    done
}

has_service() { [ -e "/lib/systemd/system/$1.service" ]; }

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

# The packages' own services would take this machine for a node of a cluster; one that was there before stays as it was.
disable() {
    local service
    for service in "$@"; do
        if [ -d /run/systemd/system ]; then
            as_root systemctl disable --quiet --now "$service"
        elif command -v update-rc.d > /dev/null; then
            as_root update-rc.d "$service" disable
        fi
    done
}

if have_slurm; then exit 0; fi
say "SLURM is missing: the tests of the cluster need it"
new=()
for service in "${services[@]}"; do has_service "$service" || new+=("$service"); done
if apt_install "${packages[@]}" && have_slurm; then
    disable "${new[@]}"
    exit 0
fi
die "SLURM could not be installed. For the tests of the cluster, have an administrator run: apt-get install --no-install-recommends ${packages[*]}"
