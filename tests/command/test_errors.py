# SPDX-License-Identifier: GPL-2.0-or-later
"""Exit codes, messages and --json errors."""

import subprocess
import unittest

from case import BINARY, CommandCase
from fake_api import error

STATUS_TO_EXIT = {400: 4, 401: 5, 404: 3, 405: 1, 409: 4, 413: 4, 422: 4, 500: 1, 503: 1, 504: 1}


class Errors(CommandCase):
    def test_exit_code_of_each_status(self):
        for status, code in STATUS_TO_EXIT.items():
            with self.subTest(status=status):
                api = self.api({"GET /v1/vms/a": (status, error("x", "because of it"))})
                result = self.expect(self.ask(api, "show", "a"), code)
                self.assertTrue(result.stderr.startswith("vmferry: because of it"), result.stderr)
                self.assertEqual(result.stdout, "")

    def test_json_error(self):
        api = self.api({"POST /v1/vms/a/start": (409, error("conflict", "a runs already"))})
        result = self.expect(self.ask(api, "start", "a", "--json"), 4)
        self.assertEqual(self.json_of(result), error("conflict", "a runs already"))

    def test_answer_that_is_no_json(self):
        for status, code in ((200, 1), (502, 1)):
            with self.subTest(status=status):
                api = self.api({"GET /v1/vms": (status, b"<html>")})
                self.expect(self.ask(api, "list"), code)

    def test_unreachable(self):
        result = self.expect(self.run_command("list", "--json", "--url", self.dead_url()), 5)
        self.assertEqual(self.json_of(result)["error"]["code"], "unreachable")
        self.assertIn("Connection refused", result.stderr)

    def test_usage(self):
        for args in ([], ["frobnicate"], ["--frobnicate", "list"], ["list", "--frobnicate"],
                     ["list", "--to", "n2"], ["show"], ["show", "a", "b"], ["show", ""],
                     ["stop", "a", "--save", "--poweroff"], ["events", "--since", "x"],
                     ["events", "--since", "-3"], ["define", "-", "--update", "--no-start"],
                     ["list", "--url", "n1:7791"], ["list", "--url", ","],
                     ["list", "--url", "ftp://n1"], ["list", "--url", "http://n1:1/v1"],
                     ["list", "--url", "http://u:p@n1"], ["help", "frobnicate"], ["list", "--url"]):
            with self.subTest(args=args):
                result = self.expect(self.run_command(*args), 2)
                self.assertTrue(result.stderr.startswith("vmferry: "), result.stderr)

    def test_json_usage_error(self):
        result = self.expect(self.run_command("--json", "show"), 2)
        self.assertEqual(self.json_of(result)["error"]["code"], "usage")

    def test_help_and_version(self):
        for args in (["help"], ["--help"], ["-h"], ["help", "migrate"], ["migrate", "--help"],
                     ["--version"], ["list", "--version"]):
            with self.subTest(args=args):
                result = self.expect(self.run_command(*args), 0)
                self.assertEqual(result.stderr, "")
                self.assertNotEqual(result.stdout, "")
        self.assertIn("Exit status:", self.run_command("help").stdout)
        self.assertIn("--to=NODE", self.run_command("help", "migrate").stdout)
        self.assertIn("--to=NODE", self.run_command("migrate", "--help").stdout)

    def test_full_disk(self):
        api = self.api({"GET /v1/vms": (200, [])})
        with open("/dev/full", "w", encoding="ascii") as full:
            process = subprocess.run([BINARY, "--url", api.url, "list"], stdout=full, check=False,
                                     stderr=subprocess.PIPE, env=self.environment(), timeout=30)
        self.assertEqual(process.returncode, 1)
        self.assertIn(b"standard output cannot be written", process.stderr)


if __name__ == "__main__":
    unittest.main()
