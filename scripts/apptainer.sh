#!/usr/bin/env bash
# Sees to it that containers can be built and run: silent where Apptainer is there, installs it where that is allowed, else says
# what to ask for. Debian 12 has no Apptainer: there it is sid's, with sid's C library beside the system, which keeps its own.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

helpers=(squashfs-tools squashfuse fuse-overlayfs fuse2fs uidmap debootstrap)
library=/opt/apptainer-libc # sid's C library
work=

have_apptainer() {
    local program
    for program in apptainer singularity mksquashfs; do command -v "$program" > /dev/null || return 1; done
    apptainer version > /dev/null 2>&1 || return 1
    # An administrator's own needs, which the script can meet.
    [ "$(id -u)" -ne 0 ] || { command -v debootstrap > /dev/null && grep -qs "^$(id -un):" /etc/subuid; }
}

ask_the_administrator() {
    die "$1 Ask the administrator for Apptainer 1.2 or newer with unprivileged user namespaces, and for lines of yours in /etc/subuid and" \
        "/etc/subgid; or do without: write 'container: none' into profiles/slurm/site.yaml, and jobs use .venv."
}

release() { sed -n "s/^$1=\"\?\([^\"]*\)\"\?$/\1/p" /etc/os-release; }

in_distribution() {
    apt-get update -qq > /dev/null 2>&1 || true
    apt-cache policy apptainer | grep -q 'Candidate: [0-9]'
}

# The mirror that the system takes Debian itself from.
debian_mirror() {
    local found
    # shellcheck disable=SC2016 # apt fills these in
    found=$(apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' | sed -n "s/^$(release VERSION_CODENAME) //p" | head -n 1)
    echo "${found:-http://deb.debian.org/debian}"
}

# In an apt state of its own: the system's sources, lists and pins stay as they are.
sid() {
    apt-get -o Dir::Etc::SourceList="$work/sid.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences=/dev/null \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root -qq "$@"
}

download_from_sid() {
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) sid main" > "$work/sid.list"
    say "downloading Apptainer from Debian sid"
    sid update && (cd "$work" && sid download apptainer libc6)
}

# Both programs are told where their C library is; nothing else on the system sees it.
unpack_beside_the_system() {
    local multiarch program
    multiarch=$(dpkg-architecture -q DEB_HOST_MULTIARCH 2> /dev/null || echo "$(uname -m)-linux-gnu")
    dpkg -x "$work"/libc6_*.deb "$library"
    dpkg -x "$work"/apptainer_*.deb /
    for program in /usr/bin/apptainer "/usr/lib/$multiarch/apptainer/bin/starter"; do
        patchelf --set-interpreter "$(ls "$library/usr/lib/$multiarch"/ld-linux*.so.*)" --force-rpath \
            --set-rpath "$library/usr/lib/$multiarch:/usr/lib/$multiarch" "$program"
    done
}

install_beside_the_system() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    apt_install patchelf "${helpers[@]}" && download_from_sid && unpack_beside_the_system
}

# Building uses user ids of its own (--fakeroot); spython calls Apptainer by its old name.
finish() {
    local file
    for file in /etc/subuid /etc/subgid; do
        grep -q "^$(id -un):" "$file" 2> /dev/null || echo "$(id -un):100000:65536" >> "$file"
    done
    command -v singularity > /dev/null || ln -s apptainer "$(dirname "$(command -v apptainer)")/singularity"
}

install() {
    if apptainer version > /dev/null 2>&1; then
        apt_install "${helpers[@]}"
    elif in_distribution; then
        apt_install apptainer "${helpers[@]}"
    elif [ "$(release ID)" = debian ]; then
        install_beside_the_system
    else
        ask_the_administrator "This distribution has no package of Apptainer."
    fi
}

if have_apptainer; then exit 0; fi
say "Apptainer is missing or incomplete: containers need it"
[ "$(id -u)" -eq 0 ] || ask_the_administrator "Only an administrator can install Apptainer."
command -v apt-get > /dev/null || ask_the_administrator "Apptainer can be installed from here on Debian and Ubuntu alone."
if install && finish && have_apptainer; then exit 0; fi
ask_the_administrator "Apptainer could not be installed."
