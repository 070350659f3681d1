# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM whose storage is named by what it is. The lab's kernel has no SCSI: a node's view of /sys and /dev/disk
is made so that a loop device looks like a LUN. Mounting, unmounting and what QEMU does are real."""

import time
from datetime import datetime

from cases_stop import compare, remember
from cluster import NODES, CommandFailed, Vm, wait_for

WWID = "3600a0b80000c1d2e000000000000{:04x}"

# A LUN of that WWID in place of the loop device behind /srv/lun/lunN.
PRETEND = """
set -e
umount /dev/disk /sys/block 2>/dev/null || true
kernel=$(basename "$(readlink /sys/dev/block/$(stat -c '%Hr:%Lr' /srv/lun/lun{index}))")
mkdir -p /run/block /dev/disk
mount -t tmpfs none /run/block
mkdir -p /run/block/$kernel/device
echo naa.{naa} >/run/block/$kernel/device/wwid
echo running >/run/block/$kernel/device/state
cat /sys/class/block/$kernel/size >/run/block/$kernel/size
mount --bind /run/block /sys/block
mount -t tmpfs none /dev/disk
mkdir /dev/disk/by-id
ln -s ../../$kernel /dev/disk/by-id/scsi-3{naa}
"""


def pretend_lun(cluster, index, nodes=NODES, number=1):
    wwid = WWID.format(number)
    for node in nodes:
        cluster.on(node, "sh", "-c", PRETEND.format(index=index, naa=wwid[1:]))
    return wwid


def end_pretence(cluster):
    for node in cluster.online():
        cluster.on(node, "sh", "-c", "umount /dev/disk /sys/block /run/block", check=False)


def mounted_on(cluster, vm, nodes=NODES):
    return [node for node in nodes
            if f"/run/vmferry/{vm}/fs-fs" in cluster.on(node, "cat", "/proc/mounts", check=False).stdout]


def make_filesystem(cluster, index):
    cluster.on("n1", "sh", "-c", f"mkfs.ext4 -q -F /srv/lun/lun{index} && mount /srv/lun/lun{index} /mnt && "
                                 "truncate -s 64M /mnt/data.img && umount /mnt")


def exclusive_vm(cluster, name, wwid):
    return Vm(cluster, name,
              storage=[{"name": "lun", "type": "lun", "wwid": wwid},
                       {"name": "fs", "type": "filesystem", "on": "lun", "fstype": "ext4"}],
              disks=[{"type": "file", "storage": "fs", "path": "data.img"}])


def blackout(cluster, vm, since):
    """From the guest's pause to its going on, in s, by the events (the lab has one clock)."""
    times = {}
    for event in cluster.events("--since", str(since)):
        if event.get("vm") == vm:
            phase = (event.get("details") or {}).get("phase", event["type"])
            times[phase] = datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
    return (times["vm.started"] - times["pause"]).total_seconds()


def test_file_system_moves_with_its_vm(cluster):
    wwid = pretend_lun(cluster, 1)
    make_filesystem(cluster, 1)
    vm = exclusive_vm(cluster, "follows", wwid).define()
    remembered = remember(vm)
    definition = cluster.show("follows")["definition"]
    assert definition["storage"][0]["size_mib"] > 0, definition  # found when it was defined
    source = cluster.node_of("follows")
    assert mounted_on(cluster, "follows") == [source]
    target = next(node for node in NODES if node != source)
    seen = cluster.last_event()
    result = cluster.json("migrate", "follows", "--to", target)
    assert result["result"]["mode"] == "restart", result
    assert cluster.node_of("follows") == target
    assert mounted_on(cluster, "follows") == [target]
    compare(vm, remembered)
    assert "vmferry-move-follows" not in cluster.cib()
    states = {view["node"]: [entry["state"] for entry in view["storage"]]
              for view in cluster.json("storage", "check", "follows")}
    other = next(node for node in NODES if node not in (source, target))
    assert states == {target: ["ready", "ready"], source: ["ready", "absent"],
                      other: ["absent", "absent"]}, states
    print(f"  blackout with its file system: {blackout(cluster, 'follows', seen):.1f} s")
    vm.remove()
    assert mounted_on(cluster, "follows") == []
    end_pretence(cluster)


def test_file_system_that_is_in_use_is_not_left_mounted(cluster):
    """The stop waits for whoever uses it, and says so."""
    wwid = pretend_lun(cluster, 1)
    make_filesystem(cluster, 1)
    vm = exclusive_vm(cluster, "busy", wwid).define()
    vm.guest().close()
    node = cluster.node_of("busy")
    cluster.on(node, "sh", "-c", "cd /run/vmferry/busy/fs-fs && (sleep 6 >/dev/null 2>&1 &)")
    begin = time.monotonic()
    cluster.vmferry("stop", "busy", "--poweroff")
    wait_for("the file system to be unmounted", lambda: not mounted_on(cluster, "busy"), 30)
    assert time.monotonic() - begin > 3, "it was unmounted under its user"
    wait_for("Pacemaker to be told", lambda: cluster.show("busy")["state"] == "stopped", 30)
    vm.remove()
    end_pretence(cluster)


def test_lun_that_is_another_one_is_refused(cluster):
    """The rehearsal finds out; the guest notices nothing."""
    wwid = pretend_lun(cluster, 1)
    vm = Vm(cluster, "pinned", storage=[{"name": "data", "type": "lun", "wwid": wwid}],
            disks=[{"type": "block", "storage": "data"}]).define()
    remembered = remember(vm)
    source = cluster.node_of("pinned")
    others = [node for node in NODES if node != source]
    pretend_lun(cluster, 1, others, number=2)
    try:
        cluster.vmferry("migrate", "pinned", "--to", others[0])
        raise AssertionError("it moved onto another LUN")
    except CommandFailed as failed:
        assert f"this node sees no LUN {wwid}" in failed.err, failed.err
    compare(vm, remembered)
    pretend_lun(cluster, 1, others)
    cluster.vmferry("migrate", "pinned", "--to", others[0])
    compare(vm, remembered)
    vm.remove()
    end_pretence(cluster)


def test_shared_directory_has_to_be_mounted(cluster):
    vm = Vm(cluster, "mounted", storage=[{"name": "nfs", "type": "directory", "path": "/srv/shared"}],
            state_area={"storage": "nfs", "path": "mounted.vmf"}).define()
    remembered = remember(vm)
    source = cluster.node_of("mounted")
    target = next(node for node in NODES if node != source)
    cluster.on(target, "umount", "-l", "/srv/shared")
    try:
        cluster.vmferry("migrate", "mounted", "--to", target)
        raise AssertionError("it moved to a node without its directory")
    except CommandFailed as failed:
        assert "nothing is mounted at /srv/shared on this node" in failed.err, failed.err
    finally:
        cluster.on(target, "mount", "--bind", cluster.shared("."), "/srv/shared")
    compare(vm, remembered)
    cluster.vmferry("migrate", "mounted", "--to", target)
    compare(vm, remembered)
    vm.remove()


def test_power_cut_with_its_file_system(cluster):
    """Of the node that is asked first: it comes back without the LUN, and undefine does not need that."""
    wwid = pretend_lun(cluster, 1)
    make_filesystem(cluster, 1)
    vm = exclusive_vm(cluster, "survivor", wwid).define()
    vm.guest().close()
    source = NODES[0]
    if cluster.node_of("survivor") != source:
        cluster.vmferry("migrate", "survivor", "--to", source)
    others = [node for node in NODES if node != source]
    cluster.lab("kill", source)
    wait_for("the VM on another node", lambda: cluster.node_of("survivor") in others, 120)
    assert mounted_on(cluster, "survivor", others) == [cluster.node_of("survivor")]
    vm.guest().close()
    cluster.wait_online()
    vm.remove()
    end_pretence(cluster)
