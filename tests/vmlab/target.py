# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's iSCSI target: tgtd with a portal in each of the two storage networks."""
import os
import subprocess
import time

from places import CHAP_USER, ISCSI_PORT, LUNS, TARGET, LabError, address, target_id
from namespaces import die_with_parent

READY_SECONDS = 10


class Target:
    """Ends with this process. Its admin's socket is in /run, which is the lab's own."""

    def __init__(self, places, secret, log):
        self._places = places
        self._secret = secret
        portals = ",".join(f"portal={address(net)}:{ISCSI_PORT}" for net in ("san1", "san2"))
        self._daemon = subprocess.Popen(["tgtd", "-f", "--iscsi", portals], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log, preexec_fn=die_with_parent)
        self._wait()
        self._admin("--op", "new", "--mode", "account", "--user", CHAP_USER, "--password", secret)
        for name in LUNS:
            self._export(name)

    def _wait(self):
        end = time.monotonic() + READY_SECONDS
        while not self._try("--op", "show", "--mode", "target"):
            if self._daemon.poll() is not None or time.monotonic() > end:
                raise LabError(f"tgtd does not answer; see {self._places.log}")
            time.sleep(0.05)

    def _export(self, name):
        target = ["--tid", str(target_id(name))]
        self._admin("--op", "new", "--mode", "target", *target, "--targetname", name)
        for number, size in LUNS[name].items():
            path = self._places.lun(name, number)
            path.parent.mkdir(exist_ok=True)
            with open(path, "ab") as file:
                os.truncate(file.fileno(), size)
            self._admin("--op", "new", "--mode", "logicalunit", *target, "--lun", str(number),
                        "--backing-store", str(path))
        if name == TARGET:
            self._admin("--op", "bind", "--mode", "account", *target, "--user", CHAP_USER)
        self._admin("--op", "bind", "--mode", "target", *target, "--initiator-address", "ALL")

    @staticmethod
    def _run(arguments):
        return subprocess.run(["tgtadm", "--lld", "iscsi", *arguments], capture_output=True, text=True,
                              check=False)

    def _try(self, *arguments):
        return self._run(arguments).returncode == 0

    def _admin(self, *arguments):
        done = self._run(arguments)
        if done.returncode != 0:
            raise LabError(f"tgtadm {' '.join(arguments[:4])}: {done.stderr.strip()}")
