# SPDX-License-Identifier: GPL-2.0-or-later
"""A node that is lost, by power, by storage and by sbd: its VM starts elsewhere, once, and its disk is whole."""
import time

import inside
from places import REPOSITORY, SBD_LUN, TARGET, address, wwid
from vmcluster import quick, wait_for, watched

FAILOVER_SECONDS = 300
FENCE_SECONDS = 180


def booted_elsewhere(cluster, vm, boot, lost, begin):
    """The VM's new node; its guest was booted anew and answers."""
    node = vm.wait_on([cluster.other(lost)], FAILOVER_SECONDS)
    started = time.monotonic() - begin
    assert vm.boot_of() != boot, "it cannot have its memory"
    print(f"  {vm.name} runs on {node} after {started:.0f} s and answers after "
          f"{time.monotonic() - begin:.0f} s", flush=True)
    return node


def fencings(cluster, target, node):
    """How often the target was fenced, successfully, as a node remembers."""
    history = cluster.on(node, "stonith_admin", "--history", target, "--output-as=xml", check=False).stdout
    return history.count('status="success"')


@quick
def test_power_cut(cluster):
    vm, watcher, boot, _ = watched(cluster, "powerless")
    lost = vm.node()
    before = cluster.boot_id(lost)
    begin = time.monotonic()
    cluster.lab("kill", lost)
    booted_elsewhere(cluster, vm, boot, lost, begin)
    assert fencings(cluster, lost, cluster.other(lost)) > 0, "nobody fenced it"
    cluster.wait_online()
    assert cluster.boot_id(lost) != before
    print(f"  {lost} is back after {time.monotonic() - begin:.0f} s")
    assert vm.records() == 10
    print("  %d records of %d boot(s), none lost" % watcher.check())
    vm.remove()


# ---- by storage

# tgt knows PREEMPT, and no PREEMPT AND ABORT: what the fenced node has under way is not ended by it, but
# refused. Other targets know both.
MPATHPERSIST = "/usr/local/sbin/mpathpersist-for-tgt"
WRAPPER = """\
#!/bin/sh
for argument; do
    shift
    [ "$argument" = --preempt-abort ] && argument=--preempt
    set -- "$@" "$argument"
done
exec /usr/sbin/mpathpersist "$@"
"""


def without_third(text, what):
    """The configurations are of three nodes; the lab has two."""
    return text[:text.index(what)]


def keys_of(cluster, node, number):
    text = cluster.on(node, "mpathpersist", "--in", "-k", f"/dev/mapper/{wwid(TARGET, number)}").stdout
    return {line.strip() for line in text.splitlines() if line.strip().startswith("0x")}


def clear_reservations(cluster, numbers):
    """By whichever node has a key."""
    for number in numbers:
        for i, node in enumerate(cluster.names, start=1):
            cluster.on(node, "mpathpersist", "--out", "--clear", f"--param-rk=0xa{i}",
                       f"/dev/mapper/{wwid(TARGET, number)}", check=False)
        assert not keys_of(cluster, cluster.names[0], number)


def power_again(cluster):
    """The lab's own fencing."""
    node = cluster.names[0]
    cluster.on(node, "sh", "-c", "crm --force configure delete $(crm_resource --list-raw | grep -E '^fence-')",
               check=False)
    inside.add_power(cluster.places, cluster.names)
    wait_for("the power switch", lambda: inside.has_fencing(cluster.places), FENCE_SECONDS, 1)


def storage_fencing(numbers):
    """config/pacemaker/storage-mpath.crm for these LUNs and two nodes."""
    devices = ",".join(f"/dev/mapper/{wwid(TARGET, number)}" for number in numbers)
    text = (REPOSITORY / "config/pacemaker/storage-mpath.crm").read_text(encoding="ascii")
    text = without_third(text, "primitive fence-storage-n3")
    sample = 'devices="/dev/mapper/360000000000000001,/dev/mapper/360000000000000002"'
    assert text.count(sample) == 2, text
    return text.replace(sample, f'mpathpersist_path={MPATHPERSIST} devices="{devices}"')


def test_reservation_stops_a_thawed_node(cluster):
    """The VM's node stands still, is fenced by its key, and goes on in the middle of its guest's writes: not
    one of them may land. Its vmferryd ends that copy, and the VM runs on where it is."""
    vm, watcher, boot, _ = watched(cluster, "reserved")
    # Pacemaker stops and starts what runs on a node that gets its first unfencing.
    cluster.vmferry("stop", vm.name, "--save")
    cluster.vmferry("storage", "login", vm.name)
    numbers = (vm.disk, vm.area, vm.journal)
    for name in cluster.names:
        cluster.on(name, "sh", "-c", f"cat >{MPATHPERSIST}; chmod 755 {MPATHPERSIST}", text=WRAPPER)
        # pacemaker-fenced waits no longer than 5 s for this, and knows no "on" without it.
        cluster.on(name, "fence_mpath", "-o", "metadata")
    cluster.on(cluster.names[0], "sh", "-c", "crm --force configure delete power; crm configure load update -",
               text=storage_fencing(numbers))
    try:
        wait_for("both keys on each LUN", lambda: all(
            keys_of(cluster, cluster.names[0], number) >= {"0xa1", "0xa2"} for number in numbers),
            FENCE_SECONDS, 2)
        cluster.on(cluster.names[0], "crm_resource", "--wait", "--timeout", str(FAILOVER_SECONDS),
                   timeout=FAILOVER_SECONDS + 30)
        cluster.vmferry("start", vm.name)
        assert vm.boot_of() == boot, "its memory was not restored"
        thawed_node(cluster, vm, watcher, boot, numbers)
    finally:
        power_again(cluster)
        cluster.vmferry("storage", "login", vm.name)  # a node that has just booted has none of them
        clear_reservations(cluster, numbers)
    vm.remove()


def thawed_node(cluster, vm, watcher, boot, numbers):
    lost = vm.node()
    key = f"0xa{lost[1:]}"
    begin = time.monotonic()
    cluster.lab("freeze", lost)
    node = booted_elsewhere(cluster, vm, boot, lost, begin)
    pid = cluster.show(vm.name)["pid"]
    for number in numbers:
        assert key not in keys_of(cluster, node, number), f"{lost} still has its key on LUN {number}"
    records, _ = watcher.check()
    cluster.lab("thaw", lost)
    thawed = time.monotonic()
    said = refused_write(cluster, lost, vm.area)
    wait_for(f"the copy on {lost} to end", lambda: not has_qemu(cluster, lost, vm.name), FENCE_SECONDS, 0.5)
    ended = time.monotonic() - thawed
    cluster.wait_online()
    cluster.on(node, "crm_resource", "--wait", "--timeout", str(FAILOVER_SECONDS), timeout=FAILOVER_SECONDS + 30)
    shown = cluster.show(vm.name)
    assert (shown["node"], shown["pid"]) == (node, pid), f"the VM was disturbed where it runs: {shown}"
    later, boots = watcher.check()
    assert boots == 2 and later > records
    print(f"  {lost} was thawed after {thawed - begin:.0f} s, its copy ended {ended:.1f} s later: {later} records of "
          f"{boots} boots, none of {lost}'s after the takeover; {said}", flush=True)
    before = cluster.boot_id(lost)
    cluster.lab("kill", lost)  # what its watchdog does: docs/FENCING.md
    cluster.lab("start", lost)
    cluster.wait_rebooted(lost, before)
    cluster.wait_online()


def refused_write(cluster, node, number):
    """The LUN's last block onto itself, before the node's vmferryd knows more than its guest."""
    device = f"/dev/mapper/{wwid(TARGET, number)}"
    write = f"last=$(($(blockdev --getsize64 {device}) / 4096 - 1)); dd if={device} of={device} bs=4096 count=1 " \
            "skip=$last seek=$last iflag=direct oflag=direct conv=notrunc"
    done = cluster.on(node, "sh", "-c", write, check=False)
    assert done.returncode != 0 and "Invalid exchange" in done.stderr, done
    return done.stderr.strip().splitlines()[0]


def has_qemu(cluster, node, vm):
    return cluster.on(node, "pgrep", "-f", f"qemu-[s]ystem.* guest={vm}", check=False).returncode == 0


# ---- by sbd

SBD_LOGIN = """\
set -e
iscsiadm -m discovery -t sendtargets -p {portal} >/dev/null
iscsiadm -m node -T {target} -p {portal} -o update -n node.startup -v automatic
iscsiadm -m node -T {target} -p {portal} --login >/dev/null
udevadm settle
test -b {device}
"""


def test_sbd_without_its_lun(cluster):
    """sbd as in config/pacemaker/sbd-disk.*: a node that loses the LUN and the cluster resets itself."""
    target, number = SBD_LUN
    device = f"/dev/disk/by-id/wwn-0x{wwid(target, number)[1:]}"
    for name in cluster.names:
        cluster.on(name, "sh", "-s", text=SBD_LOGIN.format(portal=address("san1"), target=target, device=device))
    cluster.on(cluster.names[0], "sbd", "-d", device, "-1", "20", "-4", "40", "create")
    sample = "/dev/disk/by-id/wwn-0x60000000000000003"
    default = (REPOSITORY / "config/pacemaker/sbd-disk.default").read_text(encoding="ascii")
    for name in cluster.names:
        cluster.on(name, "sh", "-c", "cat >/etc/default/sbd", text=default.replace(sample, device))
        cluster.on(name, "sh", "-c", "systemctl enable --quiet sbd; systemctl restart corosync pacemaker", timeout=300)
    cluster.wait_online()
    text = (REPOSITORY / "config/pacemaker/sbd-disk.crm").read_text(encoding="ascii")
    text = text.replace(sample, device).replace('"n1 n2 n3"', '"n1 n2"')
    cluster.on(cluster.names[0], "sh", "-c", "crm --force configure delete power; crm configure load update -",
               text=text)
    try:
        lost_lun(cluster, device)
    finally:
        for name in cluster.names:
            cluster.on(name, "sh", "-c", "systemctl disable --quiet sbd; iscsiadm -m node -T "
                                         f"{target} -o update -n node.startup -v manual")
        power_again(cluster)


def lost_lun(cluster, device):
    vm, watcher, boot, _ = watched(cluster, "pilled")
    lost = vm.node()
    before = cluster.boot_id(lost)
    print("  " + cluster.on(lost, "sbd", "-d", device, "list").stdout.strip().replace("\n", "; "))
    begin = time.monotonic()
    cluster.lab("cut", lost)
    cluster.wait_rebooted(lost, before, FENCE_SECONDS)
    print(f"  {lost} without LUN and cluster was up again after {time.monotonic() - begin:.0f} s")
    booted_elsewhere(cluster, vm, boot, lost, begin)
    cluster.lab("heal", lost)
    cluster.wait_online()
    assert vm.records() == 10
    print("  %d records of %d boot(s), none lost" % watcher.check())
    vm.remove()
