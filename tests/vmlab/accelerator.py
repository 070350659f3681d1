# SPDX-License-Identifier: GPL-2.0-or-later
"""What the nodes run under: KVM where it boots a Linux that has KVM itself, else TCG."""
import os
import subprocess
from pathlib import Path

PROBE_SECONDS = 20
BOOTED = b"Kernel panic - not syncing"  # as far as a kernel without a root comes
NESTED = ("/sys/module/kvm_intel/parameters/nested", "/sys/module/kvm_amd/parameters/nested")


def choose(wanted, image):
    """("kvm" or "tcg", why)."""
    if wanted != "auto":
        return wanted, "as asked for"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg", "no /dev/kvm"
    if not any(Path(path).exists() and Path(path).read_text(encoding="ascii").strip() in ("1", "Y")
               for path in NESTED):
        return "tcg", "this computer's KVM has no nested guests"
    return ("kvm", "it boots a node's kernel") if boots(image) else ("tcg", "KVM boots no kernel here")


def boots(image):
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35",
            "-accel", "kvm", "-cpu", "host", "-m", "512", "-no-reboot", "-serial", "stdio",
            "-kernel", f"{image}/vmlinux", "-append", "console=ttyS0 panic=-1 root=/dev/none"]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS,
                              check=False)
    except subprocess.TimeoutExpired:
        return False
    return BOOTED in done.stdout
