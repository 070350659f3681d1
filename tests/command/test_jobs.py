# SPDX-License-Identifier: GPL-2.0-or-later
"""Following a job: to its end, to its failure, over to another node."""

import os
import pty
import signal
import subprocess
import time
import unittest

from case import BINARY, CommandCase
from fake_api import Handler, MOVED, error, job

BEGAN = {"POST /v1/vms/a/migrate": (202, {"job": "n1-7"})}
POLL = "GET /v1/jobs/n1-7"
RUNNING = (200, job(phase="save", bytes_done=1 << 28, bytes_total=1 << 29, rate=1 << 27,
                    eta_s=2.0))
DONE = (200, job("done", phase="clean", result=MOVED))
FAILED = (200, job("failed", error="n2: not enough memory"))
FORECAST = {"expected_blackout_ms": 14.2, "expected_blackout_margin_ms": 6.0}
LINE = ("a: n1 -> n2, blackout 12 ms (expected 14 ms +- 6.0 ms), 3.4 s in all, "
        "512 MiB written in 3 passes\n")


class Follow(CommandCase):
    def test_to_the_end(self):
        steps = [(200, job(phase="rehearse")), RUNNING, RUNNING, DONE]
        api = self.api({**BEGAN, POLL: steps})
        result = self.expect(self.ask(api, "migrate", "a"), 0)
        self.assertEqual(result.stdout, LINE)
        self.assertEqual(result.stderr,
                         "migrate a: rehearse\nmigrate a: save\nmigrate a: clean\n")
        self.assertEqual(api.asked("GET"), [POLL] * 4)

    def test_forecast_is_shown_once_it_counts(self):
        steps = [(200, job(phase="save", **FORECAST)), (200, job(phase="pause", **FORECAST)),
                 (200, job("done", phase="clean", result=MOVED, **FORECAST))]
        api = self.api({**BEGAN, POLL: steps})
        result = self.expect(self.ask(api, "migrate", "a"), 0)
        self.assertEqual(result.stderr,
                         "migrate a: save\nmigrate a: expected blackout 14 ms +- 6.0 ms\n"
                         "migrate a: pause\nmigrate a: clean\n")

    def test_last_move_without_a_forecast(self):
        plain = {key: value for key, value in MOVED.items() if not key.startswith("expected")}
        api = self.api({**BEGAN, POLL: (200, job("done", phase="clean", result=plain))})
        result = self.expect(self.ask(api, "migrate", "a"), 0)
        self.assertIn("blackout 12 ms, 3.4 s in all", result.stdout)

    def test_json_is_the_finished_job(self):
        api = self.api({**BEGAN, POLL: [RUNNING, DONE]})
        self.assertEqual(self.json_of(self.expect(self.ask(api, "migrate", "a", "--json"), 0)),
                         DONE[1])

    def test_failure(self):
        api = self.api({**BEGAN, POLL: [RUNNING, FAILED]})
        result = self.expect(self.ask(api, "migrate", "a"), 1)
        self.assertIn("vmferry: migrate of a failed: n2: not enough memory\n", result.stderr)
        self.assertEqual(result.stdout, "")

    def test_failure_json(self):
        api = self.api({**BEGAN, POLL: FAILED})
        result = self.expect(self.ask(api, "migrate", "a", "--json"), 1)
        self.assertEqual(self.json_of(result), FAILED[1])
        self.assertIn("vmferry: migrate of a failed", result.stderr)

    def test_no_wait(self):
        api = self.api(BEGAN)
        self.assertEqual(self.expect(self.ask(api, "migrate", "a", "--no-wait"), 0).stdout,
                         "n1-7\n")
        result = self.expect(self.ask(api, "--no-wait", "migrate", "a", "--json"), 0)
        self.assertEqual(self.json_of(result), {"job": "n1-7"})
        self.assertEqual(api.asked("GET"), [])

    def test_refused_at_once(self):
        api = self.api({"POST /v1/vms/a/migrate": (422, error("refused", "no node fits"))})
        self.expect(self.ask(api, "migrate", "a"), 4)
        self.assertEqual(api.asked("GET"), [])

    def test_ends_of_other_kinds(self):
        for verb, more, line in (("start", {"result": {"vm": "a", "node": "n2"}},
                                  "a: running on n2\n"),
                                 ("stop", {"result": {"vm": "a", "node": None}}, "a: stopped\n"),
                                 ("save", {}, "a: saved\n")):
            with self.subTest(verb=verb):
                api = self.api({"POST /v1/vms/a/" + verb: (202, {"job": "n1-7"}),
                                POLL: (200, job("done", kind=verb, **more))})
                self.assertEqual(self.expect(self.ask(api, verb, "a"), 0).stdout, line)

    def test_name_of_the_job_missing(self):
        api = self.api({"POST /v1/vms/a/migrate": (202, {})})
        self.expect(self.ask(api, "migrate", "a"), 1)


class NodesGoAway(CommandCase):
    def test_other_node_goes_on(self):
        first = self.api({**BEGAN, POLL: [RUNNING, Handler.cut]})
        second = self.api({POLL: [RUNNING, DONE]})
        result = self.run_command("migrate", "a", "--url", first.url + "," + second.url)
        self.assertEqual(self.expect(result, 0).stdout, LINE)
        self.assertEqual(second.asked(), [POLL, POLL])

    def test_node_comes_back(self):
        api = self.api({**BEGAN, POLL: [RUNNING, Handler.cut, Handler.cut,
                                        (503, error("unavailable", "joining")), DONE]})
        result = self.expect(self.ask(api, "migrate", "a"), 0)
        self.assertIn("save\nno node can tell how the job is; asking on\nmigrate a: clean\n",
                      result.stderr)

    def test_node_that_knows_nothing_is_no_answer(self):
        forgetful = self.api({**BEGAN, POLL: (404, error("not-found", "no job n1-7"))})
        knowing = self.api({POLL: [RUNNING, DONE]})
        urls = forgetful.url + "," + knowing.url
        self.expect(self.run_command("migrate", "a", "--url", urls), 0)

    def test_job_that_nobody_knows(self):
        unknown = (404, error("not-found", "no job n1-7"))
        first = self.api({**BEGAN, POLL: [RUNNING, unknown]})
        second = self.api({POLL: unknown})
        result = self.run_command("migrate", "a", "--url", first.url + "," + second.url)
        self.assertIn("no node knows job n1-7 any more", self.expect(result, 1).stderr)

    def test_token_that_is_withdrawn(self):
        api = self.api({**BEGAN, POLL: [RUNNING, (401, error("unauthorized", "who?"))]})
        self.expect(self.ask(api, "migrate", "a"), 5)


class Terminal(CommandCase):
    def start(self, api):
        """The command with standard error on a terminal."""
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        process = subprocess.Popen([BINARY, "--url", api.url, "migrate", "a"], stderr=theirs,
                                   stdout=subprocess.PIPE, env=self.environment(), text=True)
        os.close(theirs)
        self.addCleanup(process.stdout.close)
        return process, ours

    def read_until(self, fd, text):
        seen = b""
        deadline = time.monotonic() + 20
        while text not in seen and time.monotonic() < deadline:
            try:
                seen += os.read(fd, 4096)
            except OSError:  # EIO: the other side is closed
                break
        self.assertIn(text, seen)
        return seen

    def test_bar(self):
        process, fd = self.start(self.api({**BEGAN, POLL: [RUNNING] * 3 + [DONE]}))
        seen = self.read_until(fd, b"left")
        self.assertIn(b"50%  256 MiB of 512 MiB  128 MiB/s  2.0 s left", seen)
        self.assertIn(b"[####", seen)
        self.assertEqual(process.communicate(timeout=20)[0], LINE)

    def test_interrupt_leaves_the_job_alone(self):
        api = self.api({**BEGAN, POLL: RUNNING})
        process, fd = self.start(api)
        self.read_until(fd, b"left")
        process.send_signal(signal.SIGINT)
        self.read_until(fd, b"job n1-7 goes on")
        self.assertEqual(process.wait(timeout=20), 130)
        self.assertEqual(api.asked("POST"), ["POST /v1/vms/a/migrate"])


if __name__ == "__main__":
    unittest.main()
