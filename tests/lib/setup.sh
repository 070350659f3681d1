# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by tests/check and tests/demo: everything a fresh Debian 12 or 13 lacks, then a build.
# Progress goes to standard error, so that standard output stays the caller's.
# shellcheck shell=bash

packages="
  build-essential patch cmake ninja-build pkg-config clang-format clang-tidy cppcheck shellcheck strace xz-utils cpio kmod procps psmisc
  libglib2.0-dev libjansson-dev libcurl4-gnutls-dev libmicrohttpd-dev
  libsmartcols-dev liburing-dev libsystemd-dev libxml2-dev libxml2-utils
  libcpg-dev libquorum-dev libcmap-dev pacemaker-dev
  corosync pacemaker pacemaker-cli-utils crmsh resource-agents fence-agents sbd
  qemu-system-x86 qemu-utils qemu-block-extra
  clang llvm libclang-rt-dev
  debhelper lintian mmdebstrap man-db systemd
  tgt chrony openssh-client e2fsprogs iproute2 python3 busybox-static linux-image-cloud-amd64 ca-certificates
"
# Only tests/bench/blackout needs these: the peers' side.
# shellcheck disable=SC2034
bench_packages="libvirt-daemon-system libvirt-clients"

install_packages() {
    local missing=() package
    for package in $packages; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    [ "$(id -u)" -eq 0 ] || {
        echo "these packages are missing, and only root can install them: ${missing[*]}" >&2
        return 1
    }
    echo "installing ${#missing[@]} packages: ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    # The lab starts the daemons it needs; the packages must not start any here.
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        made=1
    fi
    local ok=0
    { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } >&2 ||
        ok=1
    [ -z "$made" ] || rm -f "$policy"
    return $ok
}

# build PRESET
build() {
    cmake --preset "$1" -S "$top" >&2 && cmake --build "$top/build/$1" >&2
}
