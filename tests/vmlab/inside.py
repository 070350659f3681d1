# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done in the nodes over ssh, as an admin would: until the cluster is up, and its state later."""
import shlex
import subprocess
import time
import xml.etree.ElementTree as ElementTree

from places import POWER_PORT, SSH_SECONDS, LabError, address
from settings import Settings

import cluster_status
import control

BOOT_SECONDS = 300
CLUSTER_SECONDS = 300
CLOCK_SECONDS, CLOCK_OFF_SECONDS = 120, 0.02
COMMAND_SECONDS = 120
POLL_SECONDS = 0.5

# Two nodes: whoever runs VMs survives when they lose sight of each other (docs/CLUSTER.md).
CRM = """\
property stonith-enabled=true stonith-timeout=60s no-quorum-policy=stop priority-fencing-delay=15s \\
    dc-deadtime=10s load-threshold=1000% fence-reaction=panic
primitive power stonith:fence_vmferry_lab \\
    params socket={switch} pcmk_host_list="{names}" \\
    op monitor interval=300s timeout=60s
rsc_defaults resource-stickiness=100
"""


def ssh(places, name, command):
    """The command line that runs command, a list, in a node; for the lab's own network."""
    return ["ssh", "-F", "/dev/null", "-i", str(places.key), "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", f"ConnectTimeout={SSH_SECONDS}", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=6",
            f"root@{address('mgmt', name)}", shlex.join(map(str, command))]


def run(places, name, *command, text=None, check=True, seconds=COMMAND_SECONDS):
    """The CompletedProcess of a command in a node; text is its standard input."""
    pid = control.request(places, "state")["pid"]
    argv = ["nsenter", f"--target={pid}", "--net", "--", *ssh(places, name, command)]
    try:
        done = subprocess.run(argv, input=text or "", capture_output=True, text=True, timeout=seconds,
                              check=False)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{name}: {shlex.join(command)} takes longer than {seconds} s") from error
    if check and done.returncode != 0:
        raise LabError(f"{name}: {shlex.join(command)} ended with {done.returncode}: "
                       f"{done.stderr.strip() or done.stdout.strip()}")
    return done


def cluster(places):
    """What Pacemaker says, asked of the first node that answers; None where none does."""
    state = control.request(places, "state")["nodes"]
    for name, node in state.items():
        if node["on"] and not node["frozen"]:
            try:
                done = run(places, name, "crm_mon", "--one-shot", "--output-as=xml", check=False, seconds=30)
                if done.returncode == 0:
                    return cluster_status.parse(ElementTree.fromstring(done.stdout))
            except (LabError, ElementTree.ParseError):
                continue
    return None


def settle(places):
    """Returns when all nodes are up, quorate, with fencing, with vmferryd, and with this computer's time."""
    names = Settings.load(places).names()
    begin = time.monotonic()
    for name in names:
        wait_for(f"{name} to boot; `vmlab console {name}` has its words", BOOT_SECONDS,
                 lambda name=name: run(places, name, "true", check=False).returncode == 0)
    print(f"VM lab {places.name}: nodes have booted after {time.monotonic() - begin:.0f} s")
    wait_for("all nodes online with a DC", CLUSTER_SECONDS, lambda: is_formed(places, names))
    add_power(places, names)
    wait_for("the fence device", CLUSTER_SECONDS, lambda: has_fencing(places))
    for name in names:
        wait_for(f"vmferryd on {name}", CLUSTER_SECONDS, lambda name=name: run(
            places, name, "systemctl", "is-active", "vmferryd", check=False).stdout.strip() == "active")
        run(places, name, "chronyc", "waitsync", str(CLOCK_SECONDS), str(CLOCK_OFF_SECONDS), "0", "1",
            seconds=CLOCK_SECONDS + 30)


def add_power(places, names):
    crm = CRM.format(switch=f"{address('lan')}:{POWER_PORT}", names=" ".join(names))
    run(places, names[0], "crm", "configure", "load", "update", "-", text=crm)


def is_formed(places, names):
    seen = cluster(places)
    return bool(seen and seen["quorate"] and seen["dc"]
                and all(seen["nodes"].get(name, {}).get("online") for name in names))


def has_fencing(places):
    seen = cluster(places)
    return bool(seen and any(each["id"] == "power" and each["role"] == "Started"
                             for each in seen["resources"]))


def wait_for(what, seconds, is_so):
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise LabError(f"waited {seconds} s in vain for {what}")
        time.sleep(POLL_SECONDS)
