# SPDX-License-Identifier: GPL-2.0-or-later
"""storage list, check, login, logout."""

import json
import unittest

from case import CommandCase

PATHS = [{"name": "sda", "portal": "10.0.0.9:3260", "state": "LOGGED_IN", "up": True},
         {"portal": "10.1.0.9:3260", "state": "no session", "up": False}]


def entry(**more):
    return {"name": "data", "type": "iscsi", "state": "ready", "path": "/run/vmferry/web/storage-data",
            "device": "dm-0", "wwid": "3600a", "size_mib": 10240, "paths": [], "problem": None, **more}


def view(node="n1", error=None, **more):
    return {"node": node, "vm": "web", "error": error, "storage": [entry(**more)]}


BAD = view(state="degraded", problem="1 of its 2 paths is down", paths=PATHS)
SILENT = {"node": "n2", "vm": None, "error": "it did not answer in time", "storage": []}


class Storage(CommandCase):
    def storage(self, answer, *args, request="GET /v1/storage/web"):
        api = self.api({request: (200, answer)})
        result = self.ask(api, "storage", *args)
        self.requests = api.requests
        return result

    def test_list(self):
        result = self.storage([view(), view("n2", state="absent", device=None, size_mib=None)], "list",
                              request="GET /v1/storage")
        lines = [line.split() for line in self.expect(result, 0).stdout.splitlines()]
        self.assertEqual(lines[0], ["VM", "NODE", "STORAGE", "TYPE", "STATE", "DEVICE", "SIZE", "PROBLEM"])
        self.assertEqual(lines[1], ["web", "n1", "data", "iscsi", "ready", "dm-0", "10", "GiB", "-"])
        self.assertEqual(lines[2], ["web", "n2", "data", "iscsi", "absent", "-", "-", "-"])

    def test_a_node_that_cannot_tell(self):
        result = self.expect(self.storage([view(), SILENT], "list", request="GET /v1/storage"), 1)
        self.assertIn("it did not answer in time", result.stdout)

    def test_check(self):
        result = self.expect(self.storage([view(), BAD], "check", "web"), 1)
        self.assertEqual(result.stderr, "")
        self.assertIn("1 of its 2 paths is down", result.stdout)
        self.assertIn("sda at 10.0.0.9:3260: LOGGED_IN", result.stdout)
        self.assertIn("- at 10.1.0.9:3260: no session", result.stdout)
        self.expect(self.storage([view()], "check", "web"), 0)
        self.expect(self.storage([view(state="absent")], "check", "web"), 0)

    def test_login_and_logout(self):
        for verb in ("login", "logout"):
            request = "POST /v1/storage/web/" + verb
            self.expect(self.storage([view()], verb, "web", request=request), 0)
            self.assertEqual(self.requests[0][2], b"")
            self.expect(self.storage([view()], verb, "web", "--node", "n2", request=request), 0)
            self.assertEqual(json.loads(self.requests[0][2]), {"node": "n2"})
            result = self.storage([view(error="the portal does not answer")], verb, "web",
                                  request=request)
            self.assertIn("the portal does not answer", self.expect(result, 1).stdout)

    def test_json(self):
        result = self.expect(self.storage([BAD], "check", "web", "--json"), 1)
        self.assertEqual(self.json_of(result), [BAD])

    def test_control_characters(self):
        result = self.storage([view(error="a\x1b[2Jb", problem="c\x1b")], "check", "web")
        self.assertNotIn("\x1b", result.stdout)

    def test_usage(self):
        for args in (["storage"], ["storage", "mount", "web"], ["storage", "check"],
                     ["storage", "login"], ["storage", "check", "web", "--node", "n1"],
                     ["storage", "list", "a", "b"]):
            with self.subTest(args=args):
                self.expect(self.ask(self.api(), *args), 2)


if __name__ == "__main__":
    unittest.main()
