# SPDX-License-Identifier: GPL-2.0-or-later
"""The console: an upgraded connection, on the node that runs the VM."""

import os
import pty
import subprocess
import termios
import time
import unittest

from case import BINARY, CommandCase
from fake_api import error

PATH = "GET /v1/vms/a/console"


def echo(handler):
    """Accepts the upgrade, greets along with the answer, echoes in capitals until "quit"."""
    handler.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: vmferry-console\r\n"
                        b"Connection: Upgrade\r\n\r\nlogin: ")
    handler.wfile.flush()
    handler.close_connection = True
    while True:
        data = handler.connection.recv(4096)
        if not data or b"quit" in data:
            return
        handler.wfile.write(data.upper())
        handler.wfile.flush()


class Console(CommandCase):
    def terminal(self, *args):
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        before = termios.tcgetattr(theirs)
        process = subprocess.Popen([BINARY, *args], stdin=theirs, stdout=theirs, stderr=theirs,
                                   env=self.environment())
        return process, ours, theirs, before

    def read_until(self, fd, text):
        seen = b""
        deadline = time.monotonic() + 20
        while text not in seen and time.monotonic() < deadline:
            seen += os.read(fd, 4096)
        self.assertIn(text, seen)

    def test_typing_and_leaving(self):
        sock = os.path.join(self.dir, "api.sock")
        for api in (self.api({PATH: echo}), self.api({PATH: echo}, socket=sock)):
            with self.subTest(url=api.url):
                process, fd, theirs, before = self.terminal("--url", api.url, "console", "a")
                self.read_until(fd, b"login: ")
                os.write(fd, b"root\x03")  # Ctrl-C is the guest's
                self.read_until(fd, b"ROOT\x03")
                os.write(fd, b"\x1d")
                self.assertEqual(process.wait(timeout=20), 0)
                self.assertEqual(termios.tcgetattr(theirs), before)
                headers = api.last()[3]
                self.assertEqual(headers["Upgrade"], "vmferry-console")
                self.assertEqual(headers["Connection"], "Upgrade")
                self.assertEqual("Authorization" in headers, api.socket is None)

    def test_terminal_is_given_back_when_terminated(self):
        api = self.api({PATH: echo})
        process, fd, theirs, before = self.terminal("--url", api.url, "console", "a")
        self.read_until(fd, b"login: ")
        process.terminate()
        self.assertEqual(process.wait(timeout=20), 0)
        self.assertEqual(termios.tcgetattr(theirs), before)

    def test_pipe(self):
        api = self.api({PATH: echo})
        result = self.ask(api, "console", "a", stdin="quit\n")
        self.assertIn("the console was closed", self.expect(result, 1).stderr)
        self.assertEqual(result.stdout, "login: ")

    def test_other_node(self):
        there = self.api({PATH: echo})
        sock = os.path.join(self.dir, "api.sock")
        moved = (409, error("conflict", "a runs on n2", node="n2", address=there.address))
        for api in (self.api({PATH: moved}), self.api({PATH: moved}, socket=sock)):
            with self.subTest(url=api.url):
                result = self.ask(api, "console", "a", stdin="quit\n")
                self.assertEqual(result.stdout, "login: ")
                self.assertEqual(there.last()[3]["Authorization"],
                                 "Bearer a-token-of-the-cluster")

    def test_two_nodes_that_name_each_other(self):
        answers = {}
        there = self.api(answers)
        conflict = (409, error("conflict", "not here", address=there.address))
        there.answers[PATH] = conflict
        api = self.api({PATH: conflict})
        self.expect(self.ask(api, "console", "a"), 4)
        self.assertEqual((len(api.asked()), len(there.asked())), (1, 1))

    def test_errors(self):
        for status, name, code in ((409, "conflict", 4), (404, "not-found", 3),
                                   (401, "unauthorized", 5)):
            with self.subTest(status=status):
                api = self.api({PATH: (status, error(name, "because of it"))})
                result = self.expect(self.ask(api, "console", "a", "--json"), code)
                self.assertIn("because of it", self.json_of(result)["error"]["message"])

    def test_dead_node_first(self):
        api = self.api({PATH: echo})
        result = self.run_command("console", "a", "--url", self.dead_url() + "," + api.url,
                                  stdin="quit\n")
        self.assertEqual(result.stdout, "login: ")


if __name__ == "__main__":
    unittest.main()
