# SPDX-License-Identifier: GPL-2.0-or-later
"""Storage that is not what the definition says: clear errors, nothing touched, no secret told; and a file
system that follows its VM."""
import contextlib
import subprocess
import tempfile

from cases_kvm import tell
from places import CHAP_FILE, MIB, TARGET, wwid
from vmcluster import CommandFailed, LabVm, build_probe, lun_of, probed_move, run

WRONG_SECRET = "vmlab0wrong0secret"
FILE_SYSTEM_LUN, SMALL_LUN, OTHER_LUN = 5, 6, 4
NOWHERE = "10.78.1.99"
CORE = "/root/core"
FILL_MIB = 16


def refused(vm, *words):
    """`vmferry define` says no, with these words, and nothing is left of it."""
    cluster = vm.cluster
    before = {name: sessions(cluster, name) for name in cluster.names}
    try:
        vm.define()
    except CommandFailed as error:
        text = error.err
    else:
        vm.remove()
        raise AssertionError(f"{vm.name} was accepted")
    print(f"  {text.strip()}", flush=True)
    assert all(word in text for word in words), (words, text)
    assert vm.name not in [one["name"] for one in cluster.json("list")]
    for name in cluster.names:
        assert sessions(cluster, name) <= before[name], f"{name} has more sessions than before"
    return text


def sessions(cluster, node):
    """The portals that a node is logged in to, for the VMs' target."""
    text = cluster.on(node, "iscsiadm", "-m", "session", check=False).stdout
    return {line.split()[2] for line in text.splitlines() if TARGET in line}


@contextlib.contextmanager
def secret_file(cluster, content):
    for node in cluster.names:
        cluster.on(node, "sh", "-c", f"cp -p {CHAP_FILE} {CHAP_FILE}.right; cat >{CHAP_FILE}", text=content)
    try:
        yield
    finally:
        for node in cluster.names:
            cluster.on(node, "mv", f"{CHAP_FILE}.right", CHAP_FILE)


def log_out(cluster):
    """As on a node that has never seen the target."""
    for node in cluster.names:
        cluster.on(node, "sh", "-c", f"multipath -F; iscsiadm -m node -T {TARGET} -u; "
                                     f"iscsiadm -m node -T {TARGET} -o delete", check=False)


def test_wrong_chap_secret(cluster):
    log_out(cluster)
    vm = LabVm(cluster, "wrongchap")
    node = cluster.names[0]
    watch = "while sleep 0.05; do cat /proc/[0-9]*/cmdline; done >/root/cmdlines 2>/dev/null & echo $!"
    pid = cluster.on(node, "setsid", "sh", "-c", watch).stdout.strip()
    with secret_file(cluster, f"{WRONG_SECRET}\n"):
        text = refused(vm, "CHAP")
    cluster.on(node, "kill", pid)
    assert WRONG_SECRET not in text
    assert int(cluster.on(node, "stat", "-c", "%s", "/root/cmdlines").stdout) > 0
    told = cluster.on(node, "sh", "-c", "cat /root/cmdlines; journalctl -b --no-pager -o cat; vmferry --json events; "
                                        "vmferry --json storage list; cibadmin -Q").stdout
    assert TARGET in told
    assert WRONG_SECRET not in told, "the secret is in a command line, the journal, the API or the CIB"


# Tells of each process (by pid) whether its memory has what comes on the standard input.
SEARCH_MEMORY = """
import sys
secret = sys.stdin.buffer.read()
for pid in sys.argv[1:]:
    found = False
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in open(f"/proc/{pid}/maps"):
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            try:
                memory.seek(begin)
                found = found or secret in memory.read(end - begin)
            except (OSError, ValueError, OverflowError):
                pass  # the kernel's own, or not readable
    print(pid, found)
"""


def has_in_memory(cluster, node, pids, secret):
    """Those of the processes that have the secret in their memory."""
    told = cluster.on(node, "python3", "-c", SEARCH_MEMORY, *pids, text=secret).stdout
    answers = dict(line.split() for line in told.splitlines())
    assert set(answers) == set(pids), told
    return {pid for pid, found in answers.items() if found == "True"}


def cores_of(cluster, node, command):
    """How many core dumps the kernel makes of what COMMAND ends."""
    cluster.on(node, "sh", "-c", f"rm -f {CORE}.*; echo '|/usr/bin/tee {CORE}.%p' >/proc/sys/kernel/core_pattern")
    cluster.on(node, "sh", "-c", command, check=False)
    return len(cluster.on(node, "sh", "-c", f"sleep 1; find {CORE}.* -size +0", check=False).stdout.split())


def test_no_secret_in_core_dumps(cluster):
    """The kernel dumps nothing of vmferryd; and what another's dump would have in it has no secret."""
    vm = LabVm(cluster, "secretive").define()
    node = vm.node()
    secret = cluster.places.chap.read_text(encoding="ascii").strip()
    cluster.vmferry("storage", "login", vm.name)
    pids = cluster.on(node, "pidof", "vmferryd", "qemu-system-x86_64", "iscsid").stdout.split()
    holders = has_in_memory(cluster, node, pids, secret)
    iscsid = set(cluster.on(node, "pidof", "iscsid").stdout.split())
    assert holders & iscsid, "the search does not find what is there"
    assert holders <= iscsid, f"the secret is in the memory of {holders}"
    assert cores_of(cluster, node, "sh -c 'kill -SEGV $$'") == 1, "no core dump is made of anything"
    crash = "prlimit --core=unlimited --pid $(pidof vmferryd); kill -SEGV $(pidof vmferryd)"
    assert cores_of(cluster, node, crash) == 0, "vmferryd was dumped"
    cluster.wait_online()
    everything = cluster.on(node, "sh", "-c", "journalctl -b --no-pager -o cat; vmferry --json show secretive; "
                                              "vmferry --json storage list; cibadmin -Q").stdout
    assert vm.name in everything and secret not in everything
    print(f"  not in the memory of {len(set(pids) - iscsid)} processes, in a core dump, the journal, the API or the CIB")
    vm.remove()


def test_unreachable_portal(cluster):
    vm = LabVm(cluster, "portal")
    vm.definition["storage"] = [lun_of(one["name"], one["lun"], portals=[NOWHERE])
                                for one in vm.definition["storage"]]
    refused(vm, NOWHERE)


def test_another_lun(cluster):
    vm = LabVm(cluster, "otherlun")
    vm.definition["storage"][2]["wwid"] = wwid(TARGET, OTHER_LUN)
    before = cluster.places.lun(TARGET, vm.area).read_bytes()
    refused(vm, "another LUN")
    assert cluster.places.lun(TARGET, vm.area).read_bytes() == before, "it wrote to the wrong LUN"


def test_small_lun(cluster):
    vm = LabVm(cluster, "smalllun")
    vm.definition["storage"][2]["lun"] = SMALL_LUN
    refused(vm, "small")


def make_file_system(path):
    """On the host, behind the target: a file system with an image in it."""
    run("mke2fs", "-q", "-F", "-t", "ext4", path)
    with tempfile.TemporaryDirectory() as there:
        script = f"mount -o loop {path} {there} && truncate -s {64 * MIB} {there}/disk.img && umount {there}"
        subprocess.run(["unshare", "--mount", "sh", "-c", script], check=True)


def test_file_system_follows(cluster):
    make_file_system(cluster.places.lun(TARGET, FILE_SYSTEM_LUN))
    vm = LabVm(cluster, "follower")
    vm.definition["storage"] += [lun_of("lun", FILE_SYSTEM_LUN),
                                 {"name": "fs", "type": "filesystem", "on": "lun", "fstype": "ext4"}]
    vm.definition["disks"][0] = {"type": "file", "storage": "fs", "path": "disk.img"}
    vm.define()
    guest = vm.guest()
    guest.socket.settimeout(300)
    guest.fill(FILL_MIB)
    before, boot = guest.sum(), guest.counter()[1]
    guest.ask("disk 20")
    source = vm.node()
    seen, last, _ = probed_move(cluster, vm, cluster.other(source), build_probe(cluster.places.directory))
    assert vm.node() == cluster.other(source)
    assert guest.counter()[1] == boot and guest.sum() == before
    mounted = [node for node in cluster.names
               if "/follower/" in cluster.on(node, "cat", "/proc/mounts").stdout]
    assert mounted == [vm.node()], mounted
    tell(source, vm.node(), seen, last)
    assert vm.records() == 20
    guest.close()
    vm.remove()
