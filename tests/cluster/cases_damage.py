# SPDX-License-Identifier: GPL-2.0-or-later
"""One flipped bit anywhere in saved memory: never loaded, never silently thrown away."""

from cases_lazy import half_loaded_vm
from cluster import Vm, wait_for
from image import DESCRIPTOR, DEVICE_STATE, Image


def saved(cluster, vm):
    """The VM with memory to lose, saved."""
    guest = vm.guest()
    guest.fill(256)
    boot = guest.counter()[1]
    guest.close()
    cluster.vmferry("stop", vm.name, "--save")
    return boot


def refused(cluster, vm, *words):
    done = cluster.vmferry("start", vm.name, check=False)
    assert done.returncode != 0, done
    for word in words:
        assert word in done.stderr, f"{word!r} is missing in: {done.stderr}"
    assert cluster.qemus(vm.name) == []
    print(f"  {done.stderr.strip().splitlines()[-1]}")


def starts_after_discard(cluster, vm, boot):
    cluster.vmferry("stop", vm.name)
    cluster.vmferry("discard", vm.name)
    cluster.vmferry("start", vm.name)
    guest = vm.guest()
    assert guest.counter()[1] != boot, "not booted anew"
    guest.close()


def refused_before_it_runs(cluster, vm, flip, *words):
    boot, since = saved(cluster, vm), cluster.last_event()
    flip(Image(cluster.shared(vm.area)))
    refused(cluster, vm, vm.area, f"vmferry discard {vm.name}")
    told = [message for kind, message in cluster.events_of(vm.name, since)
            if kind in ("vm.quarantined", "vm.start-failed")]
    assert any(all(word in message for word in words) for message in told), told
    shown = cluster.show(vm.name)
    assert shown["state"] == "failed", shown
    refused(cluster, vm, f"vmferry discard {vm.name}")  # not the second time, either
    starts_after_discard(cluster, vm, boot)


def test_flipped_bit_before_the_load(cluster):
    vm = Vm(cluster, "flipped").define()
    refused_before_it_runs(cluster, vm, lambda image: image.flip(image.newest_slot() + 32),
                           "run record is damaged")
    refused_before_it_runs(cluster, vm, lambda image: image.flip(image.older_slot() + 300),
                           "run record is damaged")
    refused_before_it_runs(cluster, vm, lambda image: image.flip(DESCRIPTOR + 64), "descriptor")
    refused_before_it_runs(cluster, vm, lambda image: image.flip(DEVICE_STATE + 5000),
                           "device state")
    vm.remove()


def stopped_and_quarantined(cluster, vm, flip, *words):
    """What is found while the guest runs already: it is ended, and nothing starts it by itself."""
    boot, since = saved(cluster, vm), cluster.last_event()
    flip(Image(cluster.shared(vm.area)))
    cluster.vmferry("start", vm.name, check=False)  # it may run before the page is needed
    wait_for("the memory to be quarantined",
             lambda: cluster.show(vm.name)["record_state"] == "quarantined", 60)
    assert cluster.qemus(vm.name) == []
    seen = cluster.events_of(vm.name, since)
    told = [message for kind, message in seen if kind == "vm.quarantined"]
    assert len(told) == 1, seen
    for word in (*words, vm.area, f"vmferry discard {vm.name}"):
        assert word in told[0], f"{word!r} is missing in: {told[0]}"
    print(f"  {told[0]}")
    refused(cluster, vm, "quarantined", f"vmferry discard {vm.name}")
    assert "vm.cold-after-loss" not in [kind for kind, _ in cluster.events_of(vm.name, since)]
    starts_after_discard(cluster, vm, boot)
    return [kind for kind, _ in seen]


def flip_late_page(image):
    image.flip(image.offset_of(image.late_page()) + 1234)


def test_flipped_bit_while_the_guest_runs(cluster):
    vm = Vm(cluster, "flipped", memory_mib=1024).define()
    kinds = stopped_and_quarantined(cluster, vm, flip_late_page, "page", "offset")
    assert "vm.load-damaged" in kinds and "vm.started" in kinds, kinds
    stopped_and_quarantined(
        cluster, vm, lambda image: image.flip(image.index_block(image.late_page()) + 9), "index")
    vm.remove()


# vmferryd first, so that it does not see the others go.
END_ALL = "printf '%s page 5 is damaged' {0} > /run/vmferry/{1}/quarantine && " \
    "kill -9 $(pgrep -o -x vmferryd) {2} $(pgrep -x vmferry-pager)"


def test_quarantine_outlives_vmferryd(cluster):
    """vmferryd dies after it has ended a guest with a damaged page and before the record says so."""
    vm, target, before, _ = half_loaded_vm(cluster, "outlived")
    shown, since = cluster.show("outlived"), cluster.last_event()
    cluster.on(target, "sh", "-c", END_ALL.format(shown["epoch"], "outlived", shown["pid"]))
    wait_for("the memory to be quarantined",
             lambda: cluster.show("outlived")["record_state"] == "quarantined", 60)
    cluster.wait_online()
    wait_for("Pacemaker to have tried each node", lambda: len(
        [kind for kind, _ in cluster.events_of("outlived", since) if kind == "vm.start-failed"]) >= 3,
        60)
    refused(cluster, vm, "quarantined", "vmferry discard outlived")
    left = cluster.on(target, "ls", "/run/vmferry/outlived")
    assert "quarantine" not in left.stdout.split(), left.stdout
    starts_after_discard(cluster, vm, before[1])
    vm.remove()
