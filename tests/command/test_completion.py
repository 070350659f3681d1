# SPDX-License-Identifier: GPL-2.0-or-later
"""The completion for bash, with the two functions of bash-completion that it uses stubbed."""

import os
import shlex
import subprocess
import unittest

from case import BINARY, CommandCase

COMPLETION = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                          "../../config/completion/vmferry")
SCRIPT = """
_init_completion() { cur=${words_in[-1]} prev=${words_in[-2]} words=("${words_in[@]}")
                     cword=$((${#words_in[@]} - 1)); }
_filedir() { COMPREPLY=(FILES); }
source %s
words_in=(%s)
_vmferry
printf '%%s\\n' "${COMPREPLY[@]}"
"""


class Completion(CommandCase):
    def complete(self, *words):
        script = SCRIPT % (shlex.quote(COMPLETION), shlex.join([BINARY, *words]))
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30,
                              env=self.environment(), check=False)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_commands_and_options(self):
        self.assertEqual(self.complete("st"), ["status", "start", "stop", "storage", "standby"])
        self.assertEqual(self.complete("--url", "http://n1:1", "mi"), ["migrate"])
        self.assertEqual(self.complete("stop", "a", "--s"), ["--save", "--shutdown"])
        self.assertEqual(self.complete("define", ""), ["FILES"])
        self.assertEqual(self.complete("show", "a", ""), [])
        self.assertEqual(self.complete("storage", "lo"), ["login", "logout"])
        self.assertEqual(self.complete("storage", "login", "a", "--n"), ["--no-wait", "--node"])

    def test_every_command_of_the_help_is_offered(self):
        text = self.run_command("help").stdout.split("Commands:\n")[1].split("\n\n")[0]
        names = {line.split()[0] for line in text.splitlines()}
        self.assertEqual(set(self.complete("")), names)

    def test_names_from_the_api(self):
        vm = {"name": "web", "state": "running", "node": "n1", "memory_mib": 1, "vcpus": 1}
        node = {"name": "n1", "online": True, "dc": True}
        api = self.api({"GET /v1/vms": (200, [vm, {**vm, "name": "db"}]),
                        "GET /v1/nodes": (200, [node])})
        self.assertEqual(self.complete("--url", api.url, "show", ""), ["web", "db"])
        self.assertEqual(self.complete("--url=" + api.url, "migrate", "web", "--to", ""), ["n1"])
        self.assertEqual(self.complete("standby", "--url", api.url, ""), ["n1"])
        self.assertEqual(self.complete("storage", "check", "--url", api.url, ""), ["web", "db"])
        self.assertEqual(self.complete("--url", api.url, "storage", "login", "web", "--node", ""), ["n1"])

    def test_no_node_no_names(self):
        self.assertEqual(self.complete("--url", self.dead_url(), "show", ""), [])


if __name__ == "__main__":
    unittest.main()
