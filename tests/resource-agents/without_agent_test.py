# SPDX-License-Identifier: GPL-2.0-or-later
"""While vmferryd is down, away for a moment, or silent."""
import fcntl
import os
import select
import signal
import time
import unittest

from case import Case, GENERIC, NOT_RUNNING, SUCCESS, start_time
from fake_agent import FakeAgent
from fake_monitor import FakeMonitor

OK = {"ocf": 0, "message": ""}
SHORT = {"OCF_RESKEY_CRM_meta_timeout": "2000"}


class Retry(Case):
    def test_agent_comes_later(self):
        for action in ("start", "stop", "reload-agent"):
            with self.subTest(action):
                process = self.begin(action)
                with self.assertRaises(TimeoutError):
                    self.await_end(process, 0.3)
                with FakeAgent(self.run_dir, lambda request: OK) as agent:
                    code, errors = self.end(process)
                self.assertEqual((code, errors), (SUCCESS, ""))
                self.assertEqual([request["op"] for request in agent.requests], [action])

    @staticmethod
    def await_end(process, seconds):
        pidfd = os.pidfd_open(process.pid)
        try:
            if not select.select([pidfd], [], [], seconds)[0]:
                raise TimeoutError
        finally:
            os.close(pidfd)

    def test_lost_connection_is_asked_again(self):
        peers = {"OCF_RESKEY_CRM_meta_migrate_target": "n2",
                 "OCF_RESKEY_CRM_meta_migrate_source": "n1"}
        for action in ("start", "stop", "reload-agent", "migrate_to", "migrate_from"):
            replies = iter([FakeAgent.LOSE, FakeAgent.LOSE, OK])
            with self.subTest(action), \
                    FakeAgent(self.run_dir, lambda request: next(replies)) as agent:
                self.expect(SUCCESS, action, **peers)
                self.assertEqual([request["op"] for request in agent.requests], [action] * 3)

    def test_stale_socket(self):
        agent = FakeAgent(self.run_dir, lambda request: OK)
        os.link(agent.path, agent.path + ".kept")
        agent.close()
        os.rename(agent.path + ".kept", agent.path)
        self.assertIn("vmferryd does not answer", self.expect(GENERIC, "start", **SHORT))

    def test_never_comes(self):
        for action in ("start", "reload-agent"):
            begun = time.monotonic()
            self.assertIn("is vmferryd.service running?", self.expect(GENERIC, action, **SHORT))
            self.assertGreaterEqual(time.monotonic() - begun, 0.9)
            self.assertLess(time.monotonic() - begun, 2)


class FileSystem(Case):
    """A file system that only the owner mounts is noted as mounted (hvcore/filesystem.h)."""

    def note(self):
        os.mkdir(os.path.join(self.run_dir, "web1"))
        path = os.path.join(self.run_dir, "web1", "mounted-fs")
        with open(path, "w", encoding="utf-8") as file:
            file.write("/nowhere")
        return path

    def test_monitor_sees_it(self):
        self.note()
        self.assertIn("still mounted here", self.expect(GENERIC, "monitor"))

    def test_stop_gives_it_back(self):
        path = self.note()
        self.expect(SUCCESS, "stop", **SHORT)
        self.assertFalse(os.path.exists(path))
        self.expect(NOT_RUNNING, "monitor")

    def test_a_mount_that_has_not_come_back(self):
        path = self.note()
        with open(path, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertIn("may still come about", self.expect(GENERIC, "stop", **SHORT))
        self.assertTrue(os.path.exists(path))


class Monitor(Case):
    def test_gone(self):
        self.expect(NOT_RUNNING, "monitor")

    def test_gone_with_record(self):
        process = self.process()
        process.kill()
        process.wait()
        self.expect(NOT_RUNNING, "monitor")

    def test_another_process_has_the_pid(self):
        process = self.process()
        self.record(process.pid, start_time(process.pid) - 1)
        self.expect(NOT_RUNNING, "monitor")

    def test_damaged_record(self):
        self.process()
        self.record("1", 2)
        self.assertIn("cannot be told", self.expect(GENERIC, "monitor"))

    def test_silent_monitor_counts_as_running(self):
        self.process()
        self.expect(SUCCESS, "monitor")

    def test_run_states(self):
        self.process()
        monitor = FakeMonitor(self.run_dir, "")
        self.addCleanup(monitor.close)
        expected = {"running": SUCCESS, "paused": SUCCESS, "postmigrate": SUCCESS,
                    "finish-migrate": SUCCESS, "inmigrate": NOT_RUNNING, "prelaunch": GENERIC,
                    "shutdown": GENERIC, "internal-error": GENERIC, "guest-panicked": GENERIC}
        for status, code in expected.items():
            with self.subTest(status):
                monitor.status = status
                self.expect(code, "monitor")

    def test_lost_connection(self):
        self.process()
        with FakeAgent(self.run_dir, lambda request: FakeAgent.LOSE) as agent:
            self.expect(SUCCESS, "monitor")
            self.assertEqual(len(agent.requests), 1)

    def test_silent_agent(self):
        with FakeAgent(self.run_dir, lambda request: FakeAgent.SILENT):
            self.expect(NOT_RUNNING, "monitor", **SHORT)


class Stop(Case):
    def test_gone(self):
        self.expect(SUCCESS, "stop", **SHORT)

    def test_waits_for_the_agent_first(self):
        process = self.process()
        stopping = self.begin("stop", OCF_RESKEY_CRM_meta_timeout="20000")
        with FakeAgent(self.run_dir, lambda request: OK):
            self.assertEqual(self.end(stopping), (SUCCESS, ""))
        self.assertIsNone(process.poll()) # the agent's word; nobody else touched it

    def test_deaf_process_is_killed(self):
        process = self.process()
        self.expect(SUCCESS, "stop", **SHORT)
        self.assertEqual(process.poll(), -signal.SIGKILL)

    def test_guest_is_powered_down(self):
        process = self.process()
        monitor = FakeMonitor(self.run_dir, "running", process.terminate)
        self.addCleanup(monitor.close)
        self.expect(SUCCESS, "stop", **SHORT)
        self.assertEqual(process.poll(), -signal.SIGTERM) # by itself, not by SIGKILL
        self.assertIn("system_powerdown", monitor.commands)

    def test_silent_agent(self):
        process = self.process()
        with FakeAgent(self.run_dir, lambda request: FakeAgent.SILENT):
            self.expect(SUCCESS, "stop", **SHORT)
        self.assertEqual(process.poll(), -signal.SIGKILL)

    def test_no_proof_no_success(self):
        process = self.process()
        self.record("1", 2)
        self.assertIn("not proven stopped", self.expect(GENERIC, "stop", **SHORT))
        self.assertIsNone(process.poll())

    def test_refused_by_the_agent(self):
        process = self.process()
        with FakeAgent(self.run_dir, lambda request: {"ocf": 1, "message": "storage hangs"}):
            self.assertEqual(self.expect(GENERIC, "stop"), "storage hangs")
        self.assertIsNone(process.poll())


if __name__ == "__main__":
    unittest.main()
