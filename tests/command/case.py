# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of the command share: the built binary ($VMFERRY) against fake nodes."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import unittest

from fake_api import Api

BINARY = os.environ["VMFERRY"]


class CommandCase(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="vmferry-command-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.token = self.file("token", "a-token-of-the-cluster\n")

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def api(self, answers=None, **options):
        api = Api(answers, **options)
        self.addCleanup(api.stop)
        return api

    def dead_url(self):
        """A URL where nobody listens: the port is bound, so that no one else can take it."""
        holder = socket.socket()
        holder.bind(("127.0.0.1", 0))
        self.addCleanup(holder.close)
        return "http://127.0.0.1:%d" % holder.getsockname()[1]

    def environment(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("VMFERRY")}
        return {**env, "LC_ALL": "C.UTF-8", "TZ": "UTC", "VMFERRY_TOKEN_FILE": self.token, **more}

    def run_command(self, *args, stdin="", **env):
        return subprocess.run([BINARY, *args], input=stdin, capture_output=True, text=True,
                              timeout=60, env=self.environment(**env), check=False)

    def ask(self, api, *args, **more):
        return self.run_command("--url", api.url, *args, **more)

    def expect(self, result, code):
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result

    def json_of(self, result):
        return json.loads(result.stdout)
