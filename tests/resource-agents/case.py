# SPDX-License-Identifier: GPL-2.0-or-later
"""What the resource agent's tests share: a run directory, the agent's environment, a process."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

RA = os.environ["VMFERRY_RA"]

DEFINITION = {
    "name": "web1",
    "uuid": "3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60",
    "memory_mib": 64,
    "machine": "pc-q35-7.2",
    "state_area": "/shared/web1.state",
}

SUCCESS, GENERIC, ARGS, UNIMPLEMENTED, INSTALLED, CONFIGURED, NOT_RUNNING = 0, 1, 2, 3, 5, 6, 7


class Case(unittest.TestCase):
    def setUp(self):
        self.run_dir = tempfile.mkdtemp(prefix="ra-")
        self.addCleanup(shutil.rmtree, self.run_dir)
        self.environment = {
            "PATH": os.environ["PATH"],
            "OCF_RESOURCE_INSTANCE": "web1",
            "OCF_RESKEY_definition": json.dumps(DEFINITION),
            "OCF_RESKEY_run_dir": self.run_dir,
            "OCF_RESKEY_CRM_meta_timeout": "20000",
            "OCF_RESKEY_CRM_meta_interval": "0",
            "OCF_EXIT_REASON_PREFIX": "ocf-exit-reason:",
        }

    def begin(self, *arguments, **changes):
        """The resource agent, started. CHANGES are to its environment; None takes a variable
        away."""
        environment = {**self.environment, **changes}
        environment = {key: value for key, value in environment.items() if value is not None}
        process = subprocess.Popen([RA, *arguments], env=environment, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        return process

    def end(self, process):
        """Its exit code and stderr."""
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    def ra(self, *arguments, **changes):
        return self.end(self.begin(*arguments, **changes))

    def expect(self, code, *arguments, **changes):
        """Runs it; checks the exit code, and that there is a reason where there has to be one.
        Returns the reason."""
        found, errors = self.ra(*arguments, **changes)
        self.assertEqual(found, code, errors)
        if code in (SUCCESS, NOT_RUNNING):
            self.assertEqual(errors, "")
            return ""
        self.assertEqual(errors.count("\n"), 1, errors)
        self.assertTrue(errors.startswith("ocf-exit-reason:"), errors)
        return errors.removeprefix("ocf-exit-reason:").strip()

    def process(self):
        """A process recorded as web1's QEMU; it has no monitor."""
        process = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(self.reap, process)
        self.record(process.pid, start_time(process.pid))
        return process

    @staticmethod
    def reap(process):
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()

    def record(self, pid, ticks, **more):
        directory = pathlib.Path(self.run_dir, "web1")
        directory.mkdir(exist_ok=True)
        boot_id = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        directory.joinpath("process.json").write_text(json.dumps({
            "pid": pid, "start_time": ticks, "boot_id": boot_id, "uuid": DEFINITION["uuid"],
            "epoch": 5, "definition": DEFINITION, **more}))


def start_time(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[19])
