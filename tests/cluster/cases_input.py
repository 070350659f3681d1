# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input: each a clear error that names the thing, before anything is touched."""

import json
from concurrent.futures import ThreadPoolExecutor

from cluster import Vm


def refused(cluster, vm, *words):
    """`define` fails, its message has the WORDS, and no resource came to be."""
    done = cluster.vmferry("define", vm.file(), check=False)
    assert done.returncode not in (0, 5), (done.returncode, done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr, f"{word!r} is missing in: {done.stderr}"
    assert vm.name not in [item["name"] for item in cluster.json("list")]
    print(f"  {done.stderr.strip()}")


def test_bad_definitions(cluster):
    refused(cluster, Vm(cluster, "bad", colour="red"), "colour")
    refused(cluster, Vm(cluster, "bad", disks=[{"type": "file", "path": "/srv/shared/x",
                                                "format": "raw", "speed": 3}]), "disks[0].speed")
    refused(cluster, Vm(cluster, "bad", memory_mib=1 << 20), "memory_mib")
    refused(cluster, Vm(cluster, "bad", memory_mib=1 << 20, hugepages=True), "hugepages")
    refused(cluster, Vm(cluster, "bad", disks=[{"type": "file", "path": "/srv/shared/no.qcow2",
                                                "format": "qcow2"}]), "/srv/shared/no.qcow2")
    refused(cluster, Vm(cluster, "bad", machine="q35"), "machine")
    refused(cluster, Vm(cluster, "bad", nics=[{"bridge": "nobr"}]), "nobr")
    slash = Vm(cluster, "bad")
    slash.definition["name"] = "a/b"
    refused(cluster, slash, "name")


def test_bad_state_areas(cluster):
    foreign = cluster.shared("/srv/shared/foreign.img")
    foreign.write_bytes(b"PRECIOUS DATA" * 100000)
    refused(cluster, Vm(cluster, "bad", area="/srv/shared/foreign.img"), "/srv/shared/foreign.img")
    assert foreign.read_bytes().startswith(b"PRECIOUS DATA"), "the foreign file was touched"
    foreign.unlink()
    refused(cluster, Vm(cluster, "bad", memory_mib=8192, area="/srv/lun/lun3"), "/srv/lun/lun3")


def test_defined_twice_at_once(cluster):
    """Whoever comes second is refused, and the state area is the first one's."""
    twins = [Vm(cluster, "twin"), Vm(cluster, "twin")]
    first = twins[0].file()
    files = [first.rename(first.with_suffix(".first")), twins[1].file()]
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda file: cluster.vmferry("define", file, check=False), files))
    accepted = [vm for vm, done in zip(twins, both) if done.returncode == 0]
    assert len(accepted) == 1, both
    print(f"  {[done.stderr.strip() for done in both if done.returncode != 0]}")
    assert cluster.show("twin")["uuid"] == accepted[0].definition["uuid"]
    accepted[0].guest().close()
    accepted[0].remove()


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def test_damaged_image_is_refused(cluster):
    vm = Vm(cluster, "damaged").define()
    vm.guest().close()
    cluster.vmferry("stop", "damaged", "--save")
    area = cluster.shared(vm.area)
    descriptor = 128 * 1024
    flip(area, descriptor + 64)
    started = cluster.vmferry("start", "damaged", check=False)
    assert started.returncode != 0
    assert "damaged" in started.stderr, started.stderr
    print(f"  {started.stderr.strip()}")
    assert cluster.qemus("damaged") == []
    cluster.vmferry("stop", "damaged")
    cluster.vmferry("discard", "damaged")
    cluster.vmferry("start", "damaged")
    vm.guest().close()
    vm.remove()


def test_missing_state_area_is_not_made_anew(cluster):
    """A directory that is not mounted must not turn saved memory into a cold start."""
    vm = Vm(cluster, "unmounted").define()
    guest = vm.guest()
    counter, boot = guest.counter()
    guest.close()
    cluster.vmferry("stop", "unmounted", "--save")
    area = cluster.shared(vm.area)
    away = area.rename(area.with_suffix(".away"))
    started = cluster.vmferry("start", "unmounted", check=False)
    assert started.returncode == 1 and vm.area in started.stderr, started
    print(f"  {started.stderr.strip().splitlines()[-1]}")
    assert not area.exists()
    cluster.vmferry("stop", "unmounted")
    away.rename(area)
    cluster.vmferry("start", "unmounted")
    guest = vm.guest()
    after, boot_after = guest.counter()
    assert boot_after == boot and after > counter
    guest.close()
    vm.remove()


def test_unknown_names(cluster):
    for argv in (["show", "nobody"], ["start", "nobody"], ["migrate", "nobody"]):
        done = cluster.vmferry(*argv, check=False)
        assert done.returncode == 3, (argv, done.returncode, done.stderr)
        assert "nobody" in done.stderr
    vm = Vm(cluster, "lonely").define()
    done = cluster.vmferry("migrate", "lonely", "--to", "n9", check=False)
    assert done.returncode == 3 and "n9" in done.stderr, done.stderr
    vm.remove()
    assert json.loads(cluster.vmferry("--json", "list").stdout) == []
