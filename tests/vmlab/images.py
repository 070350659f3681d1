# SPDX-License-Identifier: GPL-2.0-or-later
"""The nodes' disk image: a Debian of mmdebstrap with our packages, kept by its content.

Layers, each in a folder of the cache named by a digest of all that goes into it:

  builder-*  another Debian than this computer's, to build our packages in
  debs-*     our packages, as config/debian/build makes them of this tree
  base-*     Debian with all that a node needs, also what our packages depend on
  node-*     the base with our packages installed: root.img, vmlinux, initrd.img

A folder appears whole or not at all. Those that no lab uses go when there are newer ones.
"""
import contextlib
import fcntl
import hashlib
import lzma
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

from places import HERE, REPOSITORY, LabError, cache_directory

IMAGE_BYTES = 4 << 30  # sparse
FILE_SYSTEM = ("-t", "ext4", "-J", "size=16")  # with a journal: nodes lose their power
XZ = b"\xfd7zXZ\0"
KEPT = {"builder": 1, "debs": 4, "base": 2, "node": 3}
NODE_SETUP = HERE / "node-setup"
OURS = ("vmferry", "vmferry-agent", "vmferry-resource-agents")

PACKAGES = """
  linux-image-amd64 initramfs-tools zstd kmod systemd-sysv udev dbus procps iproute2 ethtool
  openssh-server chrony corosync pacemaker pacemaker-cli-utils crmsh resource-agents
  open-iscsi multipath-tools sg3-utils lvm2 xfsprogs sbd fence-agents
  qemu-system-x86 qemu-utils python3
""".split()

# Nobody reads manuals in a node, or listens to it. Our own documents are looked for by tests.
LEFT_OUT = """
  /usr/share/man/* /usr/share/locale/* /usr/share/doc/* /usr/share/info/*
  /lib/modules/*/kernel/sound/* /lib/modules/*/kernel/drivers/gpu/*
  /lib/modules/*/kernel/drivers/media/* /lib/modules/*/kernel/drivers/net/wireless/*
  /lib/modules/*/kernel/drivers/net/ethernet/* /lib/modules/*/kernel/drivers/infiniband/*
  /lib/modules/*/kernel/drivers/staging/*
""".split()
KEPT_ALL_THE_SAME = ("/usr/share/doc/vmferry*", "/usr/share/man/man*/vmferry*")
# initramfs: no more than the disk needs, for a fast boot.
INITRAMFS = 'mkdir -p "$1/etc/initramfs-tools/conf.d"; ' \
            'echo MODULES=list >"$1/etc/initramfs-tools/conf.d/vmlab"; ' \
            'printf "virtio_pci\\nvirtio_blk\\next4\\n" >"$1/etc/initramfs-tools/modules"'

BUILD = """
root=$1
mount --bind "$2" "$root/src"
mount --bind "$3" "$root/out"
mount -t proc proc "$root/proc"
shift 3
exec chroot "$root" /src/config/debian/build "$@" /out
"""

INSTALL_SECONDS = 300
INSTALL = """
mount -o loop "$1" /mnt
cp "$2" /mnt/root/node-setup
shift 2
mkdir /mnt/root/debs
cp "$@" /mnt/root/debs
mount -t proc proc /mnt/proc
chroot /mnt sh /root/node-setup
umount /mnt/proc /mnt
"""


def say(text):
    print(f"vmlab: {text}", file=sys.stderr, flush=True)


def digest(*parts):
    whole = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else str(part).encode()
        whole.update(f"{len(data)}:".encode() + data)
    return whole.hexdigest()[:16]


def run(*argv, log, **kwargs):
    """Runs argv with its output in the file log, whose end is shown when it fails."""
    with open(log, "ab") as output:
        done = subprocess.run([str(each) for each in argv], stdin=subprocess.DEVNULL, stdout=output,
                              stderr=output, check=False, **kwargs)
    if done.returncode != 0:
        tail = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
        raise LabError(f"{argv[0]} ended with {done.returncode}:\n" + "\n".join(tail))


@contextlib.contextmanager
def kept(kind, key):
    """A folder of the cache, to be filled by the caller where it is yielded as new: (path, is new)."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    final = cache / f"{kind}-{key}"
    with open(cache / f".{kind}-{key}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.is_dir():
            os.utime(final)
            yield final, False
            return
        scratch = cache / f".{kind}-{key}.new"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        yield scratch, True
        scratch.rename(final)
    forget(kind)


def forget(kind):
    """The oldest folders, but none that a lab holds."""
    found = sorted((path for path in cache_directory().glob(f"{kind}-*") if path.is_dir()),
                   key=lambda path: path.stat().st_mtime)
    for path in found[:-KEPT[kind]]:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(handle)


# ---- our packages

def sources():
    """What the packages are made of: the tree without its tests."""
    listed = subprocess.run(["git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached", "--others",
                             "--exclude-standard"], capture_output=True, check=True).stdout
    names = sorted(name for name in listed.decode().split("\0") if name)
    return [REPOSITORY / name for name in names
            if not name.startswith("tests/") and (REPOSITORY / name).is_file()]


def debs(release, suffix=""):
    """The directory with our packages for that Debian, made of the tree as it is; suffix makes a later version."""
    options = ("--version-suffix", suffix) if suffix else ()
    parts = [part for path in sources() for part in (str(path.relative_to(REPOSITORY)), path)]
    key = digest(release, suffix, *parts)
    with kept("debs", key) as (path, is_new):
        if is_new:
            begin = time.monotonic()
            if release == our_release():
                say("building our packages")
                run(REPOSITORY / "config/debian/build", *options, path, log=path / "log")
            else:
                build_elsewhere(release, path, options)
            for symbols in path.glob("*-dbgsym_*"):
                symbols.unlink()
            say(f"our packages took {time.monotonic() - begin:.0f} s")
        return cache_directory() / f"debs-{key}"


def our_release():
    return platform.freedesktop_os_release().get("VERSION_CODENAME")


def build_elsewhere(release, path, options):
    root = builder(release)
    say(f"building our packages for {release}")
    tree = path / "tree"
    for file in sources():
        there = tree / file.relative_to(REPOSITORY)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, there)
    # The mounts are this shell's own and end with it, however it ends.
    run("unshare", "--mount", "sh", "-e", "-c", BUILD, "sh", root, tree, path, *options, log=path / "log")
    shutil.rmtree(tree)


def builder(release):
    control = (REPOSITORY / "config/debian/control").read_text(encoding="utf-8")
    wanted = re.search(r"^Build-Depends:((?:\n .*)+)", control, re.MULTILINE).group(1)
    packages = sorted(first_of_alternatives(wanted))
    key = f"{release}-{digest(*packages)}"
    with kept("builder", key) as (path, is_new):
        if is_new:
            say(f"making a Debian ({release}) to build our packages in")
            run("mmdebstrap", "--mode=root", "--variant=buildd", "--format=directory",
                f"--include={','.join(packages)}", release, path / "root", log=path / "log")
            for name in ("src", "out"):
                (path / "root" / name).mkdir()
    return cache_directory() / f"builder-{key}" / "root"


def packages_in(directory):
    found = sorted(Path(directory).glob("*.deb"))
    if {path.name.partition("_")[0] for path in found} != set(OURS):
        raise LabError(f"{directory} needs one .deb of each of {', '.join(OURS)}, and nothing else")
    return found


def dependencies(paths):
    """Debian's packages that ours depend on, the first of alternatives."""
    names = set()
    for path in paths:
        text = subprocess.run(["dpkg-deb", "--field", str(path), "Depends"], capture_output=True, text=True,
                              check=True).stdout
        names |= first_of_alternatives(text)
    return sorted(names - set(OURS))


def first_of_alternatives(text):
    """The packages' names in a field like Depends."""
    return {re.split(r"[ |(:]", each.strip())[0] for each in text.split(",") if each.strip()}


# ---- images

def base(release, packages):
    key = digest(release, *packages, *LEFT_OUT, INITRAMFS, IMAGE_BYTES, *FILE_SYSTEM)
    with kept("base", f"{release}-{key}") as (path, is_new):
        if is_new:
            say(f"making a Debian ({release}) of {len(packages)} packages and what they need")
            begin = time.monotonic()
            make_base(path, release, packages)
            say(f"that Debian took {time.monotonic() - begin:.0f} s")
    return cache_directory() / f"base-{release}-{key}"


def make_base(path, release, packages):
    log, root = path / "log", path / "root"
    options = [f"--dpkgopt=path-exclude={each}" for each in LEFT_OUT]
    options += [f"--dpkgopt=path-include={each}" for each in KEPT_ALL_THE_SAME]
    run("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
        f"--include={','.join(packages)}", *options, f"--essential-hook={INITRAMFS}", release, root,
        log=log)
    shutil.copyfile(root / "initrd.img", path / "initrd.img")
    (path / "vmlinux").write_bytes(unpack_kernel((root / "vmlinuz").read_bytes()))
    with open(path / "root.img", "wb") as file:
        file.truncate(IMAGE_BYTES)
    run("mke2fs", "-q", *FILE_SYSTEM, "-d", root, path / "root.img", log=log)
    shutil.rmtree(root)


def unpack_kernel(image):
    """What is packed in a bzImage (Documentation/arch/x86/boot.rst), an ELF file that QEMU boots by PVH:
    without KVM, a kernel that unpacks itself takes as long as all else that it does. As it is, where it is
    not packed by xz."""
    setup = (image[0x1F1] + 1) * 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    packed = image[setup + offset:setup + offset + length]
    return lzma.LZMADecompressor().decompress(packed) if packed.startswith(XZ) else image


def node(release, directory):
    """The folder with a node's root.img, vmlinux and initrd.img; directory has our packages."""
    ours = packages_in(directory)
    under = base(release, sorted({*PACKAGES, *dependencies(ours)}))
    key = digest(under.name, NODE_SETUP, *ours)
    with kept("node", f"{release}-{key}") as (path, is_new):
        if is_new:
            begin = time.monotonic()
            make_node(path, under, ours)
            say(f"a node's image took {time.monotonic() - begin:.0f} s")
    return cache_directory() / f"node-{release}-{key}"


def make_node(path, under, ours):
    for name in ("vmlinux", "initrd.img", "root.img"):
        run("cp", "--sparse=always", under / name, path / name, log=path / "log")
    # The mount is this shell's own and ends with it, however it ends.
    run("unshare", "--mount", "sh", "-e", "-c", INSTALL, "sh", path / "root.img", NODE_SETUP, *ours,
        log=path / "log", timeout=INSTALL_SECONDS)


def hold(path):
    """Keeps the folder from being forgotten for as long as the descriptor is open."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return handle
