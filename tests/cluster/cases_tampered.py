# SPDX-License-Identifier: GPL-2.0-or-later
"""A state area that somebody edited, truncated, or replaced by an older copy: refused with a reason that
names it and the way out, and nothing of it is overwritten."""

import hashlib
import os
import shutil
import xml.etree.ElementTree as ElementTree

from cases_agent import Killer
from cases_damage import refused, saved, starts_after_discard
from cluster import Vm, wait_for
from image import SLOTS, Image


def digest(path):
    sums = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            sums.update(block)
    return sums.hexdigest()


def refused_untouched(cluster, vm, *words):
    area = cluster.shared(vm.area)
    before = digest(area) if area.exists() else None
    refused(cluster, vm, vm.area, *words)
    assert (digest(area) if area.exists() else None) == before, "the state area was written"
    cluster.vmferry("stop", vm.name)


def copy(cluster, vm, name):
    """Keeps the area's blocks where they are, so that a copy is as cheap as a snapshot."""
    kept = cluster.shared(f"{vm.name}.{name}")
    shutil.copyfile(cluster.shared(vm.area), kept)
    return kept


def put_back(cluster, vm, kept):
    os.replace(kept, cluster.shared(vm.area))


def witnessed(cluster, vm):
    """The epoch in the CIB."""
    pair = ElementTree.fromstring(cluster.cib()).find(
        f".//resources//nvpair[@id='{vm}-meta_attributes-vmferry-epoch']")
    return int(pair.get("value")) if pair is not None else 0


def wait_witnessed(cluster, vm):
    epoch = cluster.show(vm)["epoch"]
    wait_for(f"epoch {epoch} in the CIB", lambda: witnessed(cluster, vm) == epoch, 20, 0.5)
    return epoch


def test_older_copy_is_refused(cluster):
    """Saved memory that was resumed once comes back as a copy: its disks have changed since."""
    vm = Vm(cluster, "stale").define()
    boot = saved(cluster, vm)
    older = copy(cluster, vm, "older")
    cluster.vmferry("start", vm.name)
    epoch = wait_witnessed(cluster, vm.name)
    cluster.vmferry("stop", vm.name, "--save")
    newer = copy(cluster, vm, "newer")
    put_back(cluster, vm, older)
    refused_untouched(cluster, vm, f"epoch {epoch - 1}", f"epoch {epoch}", "older copy",
                      f"vmferry discard {vm.name}")
    put_back(cluster, vm, newer)
    cluster.vmferry("start", vm.name)  # the way back: nothing was lost
    guest = vm.guest()
    assert guest.counter()[1] == boot, "the newer copy was not resumed"
    guest.close()
    vm.remove()


def test_older_copy_can_be_given_up(cluster):
    vm = Vm(cluster, "stale").define()
    boot = saved(cluster, vm)
    older = copy(cluster, vm, "older")
    cluster.vmferry("start", vm.name)
    epoch = wait_witnessed(cluster, vm.name)
    cluster.vmferry("stop", vm.name, "--poweroff")
    put_back(cluster, vm, older)
    refused_untouched(cluster, vm, "older copy", f"vmferry discard {vm.name}")
    starts_after_discard(cluster, vm, boot)
    assert wait_witnessed(cluster, vm.name) > epoch + 1, "an older epoch was used again"
    vm.remove()


def runs_on(vm, boot):
    guest = vm.guest()
    assert guest.counter()[1] == boot, "the guest did not run on"
    guest.close()


def test_replaced_while_it_runs(cluster):
    """The VM runs; its move or save finds another record than it wrote, and touches nothing."""
    vm = Vm(cluster, "swapped").define()
    boot = saved(cluster, vm)
    older = copy(cluster, vm, "older")
    cluster.vmferry("start", vm.name)
    wait_witnessed(cluster, vm.name)
    wait_for("all memory to be there", lambda: not cluster.show(vm.name)["loading"], 30)
    current = copy(cluster, vm, "current")
    put_back(cluster, vm, older)
    before = digest(cluster.shared(vm.area))
    moved = cluster.vmferry("migrate", vm.name, check=False)
    assert moved.returncode != 0 and digest(cluster.shared(vm.area)) == before, moved
    print(f"  {moved.stderr.strip().splitlines()[-1]}")
    runs_on(vm, boot)
    node, pid = cluster.node_of(vm.name), cluster.show(vm.name)["pid"]
    Killer(cluster, node).strike()  # the next vmferryd knows only what it finds
    cluster.wait_online()
    wait_for("the VM's QEMU to be found", lambda: cluster.show(vm.name).get("pid") == pid, 30)
    assert digest(cluster.shared(vm.area)) == before, "the state area was written"
    runs_on(vm, boot)
    put_back(cluster, vm, current)
    wait_for("the VM to be known again", lambda: cluster.node_of(vm.name) == node, 30)
    cluster.vmferry("migrate", vm.name)
    runs_on(vm, boot)
    vm.remove()


def edited(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def test_edited_area_is_refused(cluster):
    """With saved memory in it. (One flipped bit anywhere is cases_damage.py's.)"""
    vm = Vm(cluster, "edited").define()
    boot = saved(cluster, vm)
    area, intact = cluster.shared(vm.area), copy(cluster, vm, "intact")
    image = Image(area)

    def again():
        shutil.copyfile(intact, area)

    edited(area, image.newest_slot() + 24, (99).to_bytes(8, "little"))  # a larger epoch, no CRC
    refused_untouched(cluster, vm, "damaged")
    again()
    for slot in SLOTS.values():  # both slots
        edited(area, slot, bytes(4096))
    refused_untouched(cluster, vm, "not a vmferry state area")
    again()
    os.truncate(area, 0)
    refused_untouched(cluster, vm)
    again()
    os.truncate(area, 20 << 20)  # record, descriptor and device state are there, pages are not
    refused_untouched(cluster, vm)
    again()
    os.unlink(area)
    refused_untouched(cluster, vm)
    shutil.copyfile(intact, area)
    cluster.vmferry("start", vm.name)
    guest = vm.guest()
    assert guest.counter()[1] == boot, "the intact copy was not resumed"
    guest.close()
    vm.remove()


def test_area_of_another_vm_is_refused(cluster):
    vm, other = Vm(cluster, "mixed").define(), Vm(cluster, "other").define()
    for each in (vm, other):
        each.guest().close()
        cluster.vmferry("stop", each.name, "--save")
    kept = copy(cluster, vm, "kept")
    shutil.copyfile(cluster.shared(other.area), cluster.shared(vm.area))
    refused_untouched(cluster, vm, "other")
    put_back(cluster, vm, kept)
    cluster.vmferry("start", vm.name)
    vm.remove()
    other.remove()
