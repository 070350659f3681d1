# SPDX-License-Identifier: GPL-2.0-or-later
"""`vmferry doctor`: a sound cluster, then broken in one way after the other; each is named, and alone."""

import contextlib
import json
import os
import signal
import subprocess
import time

from cluster import NODES, TOP, Vm, wait_for
from faults import Injector, watched_vm
from phases import begin_move

ANSWER_S = 15  # CLIENT_GET_MS
CHANGE_S = 5  # until each vmferryd has seen a change of the CIB, and Pacemaker's fencers, too


def look(cluster):
    """What it finds, by rule: {id: [finding]}; its exit code fits."""
    begin = time.monotonic()
    done = cluster.vmferry("--json", "doctor", check=False)
    took = time.monotonic() - begin
    assert took < ANSWER_S, f"it took {took:.1f} s"
    report = json.loads(done.stdout)
    found = {}
    for finding in report["findings"]:
        assert all(finding[key] for key in ("level", "title", "seen", "why", "remedy")), finding
        found.setdefault(finding["id"], []).append(finding)
    bad = any(one["level"] != "note" for one in report["findings"])
    assert done.returncode == (1 if bad else 0), (done.returncode, done.stdout, done.stderr)
    return found


def look_for(cluster, *expected):
    """As look(), once it finds exactly these rules beside the usual ones."""
    wanted = usual(cluster) | set(expected)
    end = time.monotonic() + CHANGE_S
    while set(found := look(cluster)) != wanted:
        assert time.monotonic() < end, f"{sorted(wanted)} was expected, and it is {found}"
        time.sleep(0.1)
    return found


def usual(cluster):
    """What the lab itself deserves: one link, and no KVM where the machine has none."""
    kvm = any(node["accelerator"] == "kvm" for node in cluster.json("node"))
    return {"corosync-one-link"} | (set() if kvm else {"no-kvm"})


def finds(cluster, *expected, level="danger"):
    """Exactly these rules beside the usual ones, all on LEVEL; the text has them, too."""
    found = look_for(cluster, *expected)
    text = cluster.vmferry("doctor", check=False).stdout
    for name in expected:
        assert {finding["level"] for finding in found[name]} == {level}, found[name]
        assert f"({name})" in text, text
        for finding in found[name]:
            print(f"  {level}: {finding['title']}: {finding['seen']}")
    assert max(map(len, text.splitlines())) <= 80, text
    return [found[name] for name in expected]


def is_sound(cluster):
    found = look_for(cluster)
    assert {finding["level"] for all in found.values() for finding in all} == {"note"}, found


@contextlib.contextmanager
def property_set(cluster, name, value, before):
    cluster.on("n1", "crm_attribute", "--name", name, "--update", value)
    try:
        yield
    finally:
        cluster.on("n1", "crm_attribute", "--name", name, "--update", before)


@contextlib.contextmanager
def without(cluster, xpath, parent):
    """The CIB without what is at XPATH, which is below PARENT."""
    text = cluster.on("n1", "cibadmin", "--query", "--xpath", xpath).stdout
    cluster.on("n1", "cibadmin", "--delete", "--xpath", xpath)
    try:
        yield
    finally:
        cluster.on("n1", "cibadmin", "--create", "--allow-create", "--scope", parent,
                   "--xml-text", text)


def test_doctor_sound(cluster):
    """With a VM on a LUN and on an image, at rest, while it moves, and on another node."""
    vm = watched_vm(cluster, "sound").define()
    is_sound(cluster)
    target = next(node for node in NODES if node != cluster.node_of("sound"))
    move = begin_move(vm, target)
    wait_for("the save to begin",
             lambda: cluster.show("sound").get("record_state") in ("saving", "sealed"), 30, 0.02)
    is_sound(cluster)
    assert move.wait(timeout=120) == 0
    assert cluster.node_of("sound") == target
    is_sound(cluster)
    vm.remove()
    is_sound(cluster)


def test_doctor_asked_by_several(cluster):
    """A monitoring system on each node asks at the same time: all have the same answer."""
    command = TOP / "build/release/migrate/command/vmferry"
    urls = os.environ["VMFERRY_URL"].split(",") * 2
    asked = [subprocess.Popen([command, "--url", url, "--json", "doctor"], stdout=subprocess.PIPE)
             for url in urls]
    for process in asked:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0, out.decode()


def test_doctor_fencing(cluster):
    with property_set(cluster, "stonith-enabled", "false", "true"):
        finds(cluster, "stonith-disabled")
    with property_set(cluster, "no-quorum-policy", "ignore", "stop"):
        finds(cluster, "no-quorum-policy")
    with without(cluster, "//primitive[@id='power']", "resources"):
        found = look_for(cluster, "no-fence-device", "cib-invalid")
        print(f"  crm_verify: {found['cib-invalid'][0]['seen']}")
    is_sound(cluster)


def test_doctor_unreached_node(cluster):
    hosts = "//nvpair[@id='power-hosts']"
    change = "<nvpair id='power-hosts' value='%s'/>"
    cluster.on("n1", "cibadmin", "--modify", "--xpath", hosts, "--xml-text", change % "n1 n2")
    try:
        [[finding]] = finds(cluster, "node-not-fenced")
        assert finding["node"] == "n3", finding
    finally:
        cluster.on("n1", "cibadmin", "--modify", "--xpath", hosts, "--xml-text",
                   change % " ".join(NODES))
    is_sound(cluster)


def test_doctor_vm_as_resource(cluster):
    vm = Vm(cluster, "frail").define()
    stop = "//primitive[@id='frail']//op[@name='stop']"
    op = cluster.on("n1", "cibadmin", "--query", "--xpath", stop).stdout
    cluster.on("n1", "cibadmin", "--modify", "--xpath", stop, "--xml-text",
               op.replace('timeout="300s"', 'timeout="30s"'))
    [[finding]] = finds(cluster, "vm-timeout-short", level="warning")
    assert finding["vm"] == "frail" and finding["seen"].startswith("stop: 30 s"), finding
    cluster.on("n1", "cibadmin", "--modify", "--xpath", stop, "--xml-text", op)
    is_sound(cluster)
    cluster.on("n1", "cibadmin", "--delete", "--xpath",
               "//primitive[@id='frail']//op[@name='monitor']")
    finds(cluster, "vm-no-monitor", level="warning")
    cluster.on("n1", "crm_resource", "--resource", "frail", "--meta", "--set-parameter",
               "allow-migrate", "--parameter-value", "false")
    finds(cluster, "vm-no-monitor", "vm-no-migrate", level="warning")
    vm.remove()
    is_sound(cluster)


def test_doctor_area_too_small(cluster):
    vm = Vm(cluster, "small")
    cluster.vmferry("define", "--no-start", vm.file())
    is_sound(cluster)
    area = cluster.shared(vm.area)
    size = area.stat().st_size
    os.truncate(area, 64 << 20)
    [found] = finds(cluster, "area-bad")
    assert {finding["node"] for finding in found} == set(NODES), found
    assert all(vm.area in finding["seen"] for finding in found), found
    os.truncate(area, size)
    is_sound(cluster)
    vm.remove()


def test_doctor_disk_not_shared(cluster):
    path = "/var/lib/vmferry-private.raw"
    for node in NODES:
        cluster.on(node, "truncate", "--size", "1M", path)
    vm = Vm(cluster, "private", disks=[{"type": "file", "path": path, "format": "raw"}])
    cluster.vmferry("define", "--no-start", vm.file())
    [found] = finds(cluster, "not-shared")
    assert len(found) == len(NODES) - 1 and all(path in one["seen"] for one in found), found
    vm.remove()
    for node in NODES:
        cluster.on(node, "rm", path)


def test_doctor_storage_hangs(cluster):
    """What hangs on one node is unknown, the rest is known; and asked again it hangs no second thread."""
    vm = Vm(cluster, "hung").define()
    node = next(name for name in NODES if name != cluster.node_of("hung"))
    injector = Injector(cluster)
    injector.storage(node, (ord("h"), 3, 1, 0))  # vmferryd's reads and writes
    try:
        [[finding]] = finds(cluster, "not-looked-at", level="unknown")
        assert finding["node"] == node and "vm hung" in finding["seen"], finding
    finally:
        injector.storage(node, (0, 0, 0, 0))
    is_sound(cluster)
    vm.remove()


def test_doctor_silent_node(cluster):
    injector = Injector(cluster)
    assert injector.signal("n3", "vmferryd", signal.SIGSTOP) == 1
    try:
        [[finding]] = finds(cluster, "not-looked-at", level="unknown")
        assert finding["node"] == "n3" and "does not answer" in finding["seen"], finding
    finally:
        injector.signal("n3", "vmferryd", signal.SIGCONT)
    is_sound(cluster)


def test_doctor_exit_codes(cluster):
    """5: nobody there; 6: vmferryd is there, corosync is not."""
    gone = cluster.vmferry("--url", "http://10.77.0.11:9", "doctor", check=False)
    assert gone.returncode == 5, (gone.returncode, gone.stderr)
    injector = Injector(cluster)
    url = os.environ["VMFERRY_URL"].split(",")[NODES.index("n3")]

    def blind():
        done = cluster.vmferry("--url", url, "doctor", check=False)
        return done if done.returncode == 6 else None

    with property_set(cluster, "stonith-enabled", "false", "true"):  # or n3 may be gone before it is asked
        assert injector.signal("n3", "corosync", signal.SIGKILL) == 1
        done = wait_for("exit code 6", blind, 20, 0.1)
        assert "corosync" in done.stderr and done.stdout == "", (done.stdout, done.stderr)
        print(f"  {done.stderr.strip()}")
        wait_for("n3 to be missed", lambda: "n3" not in cluster.online(), 60)
    cluster.wait_online(timeout=180)
