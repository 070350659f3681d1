# SPDX-License-Identifier: GPL-2.0-or-later
"""Each subcommand asks for what it should, and says what came of it."""

import json
import unittest

from case import CommandCase
from fake_api import job, MOVED

VM = {"name": "a", "uuid": "d9c3f9de-0000-4000-8000-000000000001", "state": "running",
      "node": "n1", "target_role": "Started", "memory_mib": 512, "vcpus": 2, "pid": 4711,
      "epoch": 3, "record_state": "running", "moving_to": None, "pending": "memory_mib",
      "error": "n2: no memory", "error_at_ms": 1772359200000, "definition_digest": "x",
      "definition": {"state_area": "/shared/a.state"}, "last_move": MOVED}
NODE = {"name": "n1", "online": True, "standby": False, "dc": True, "agent": True,
        "address": "10.77.0.11:7791", "accelerator": "tcg", "accelerator_reason": "no /dev/kvm",
        "qemu_version": "7.2.13", "memory_mib": 8192, "memory_available_mib": 4096, "cpus": 2,
        "userfaultfd": True, "vms": ["a"]}
OFF = {"name": "n2", "online": False, "standby": False, "agent": False, "vms": []}
CLUSTER = {"cluster_name": "lab", "quorate": True, "dc": "n1", "nodes": 2, "vms": 1,
           "pacemaker_connected": True, "stonith_enabled": True, "local_node": "n1"}
JOB_DONE = (200, job("done", result=MOVED))


class Reading(CommandCase):
    def test_list(self):
        api = self.api({"GET /v1/vms": (200, [VM])})
        out = self.expect(self.ask(api, "list"), 0).stdout.splitlines()
        self.assertEqual(out[0].split(), ["NAME", "STATE", "NODE", "MEMORY", "VCPUS"])
        self.assertEqual(out[1].split(), ["a", "running", "n1", "512", "MiB", "2"])

    def test_empty_list_has_headings(self):
        api = self.api({"GET /v1/vms": (200, [])})
        out = self.expect(self.ask(api, "list"), 0).stdout
        self.assertEqual(out.split(), ["NAME", "STATE", "NODE", "MEMORY", "VCPUS"])

    def test_json_is_the_answer(self):
        api = self.api({"GET /v1/vms": (200, [VM])})
        self.assertEqual(self.json_of(self.expect(self.ask(api, "list", "--json"), 0)), [VM])

    def test_show(self):
        api = self.api({"GET /v1/vms/a": (200, VM)})
        out = self.expect(self.ask(api, "show", "a"), 0).stdout
        rows = dict(line.split("  ", 1) for line in out.splitlines())
        rows = {key.strip(): value.strip() for key, value in rows.items()}
        self.assertEqual(rows["state"], "running")
        self.assertEqual(rows["node"], "n1")
        self.assertEqual(rows["memory"], "512 MiB")
        self.assertEqual(rows["state area"], "/shared/a.state")
        self.assertEqual(rows["pending changes"], "memory_mib")
        self.assertEqual(rows["last error"], "n2: no memory (2026-03-01 10:00:00)")
        self.assertEqual(rows["last move"], "n1 -> n2, blackout 12 ms (expected 14 ms +- 6.0 ms), "
                                            "3.4 s in all, 512 MiB written in 3 passes (lazy)")

    def test_control_characters_do_not_reach_the_terminal(self):
        api = self.api({"GET /v1/vms/a": (200, {**VM, "error": "\x1b[2Jgone\nstate  fine"})})
        out = self.expect(self.ask(api, "show", "a"), 0).stdout
        self.assertNotIn("\x1b", out)
        self.assertNotIn("\nstate  fine", out)

    def test_name_is_escaped(self):
        api = self.api()
        self.expect(self.ask(api, "show", "../jobs?x=1"), 3)
        self.assertEqual(api.asked(), ["GET /v1/vms/..%2Fjobs%3Fx%3D1"])

    def test_status(self):
        api = self.api({"GET /v1/cluster": (200, CLUSTER), "GET /v1/nodes": (200, [NODE, OFF]),
                        "GET /v1/vms": (200, [VM])})
        out = self.expect(self.ask(api, "status"), 0).stdout
        self.assertIn("cluster lab: quorate, 2 nodes, 1 VM, designated controller n1\n", out)
        self.assertRegex(out, r"n1 \(dc\) +online +tcg +4 GiB of 8 GiB +1\n")
        self.assertRegex(out, r"n2 +offline +- +- +0\n")
        self.assertRegex(out, r"a +running +n1 +512 MiB +2\n")

    def test_status_json(self):
        api = self.api({"GET /v1/cluster": (200, CLUSTER), "GET /v1/nodes": (200, [NODE]),
                        "GET /v1/vms": (200, [VM])})
        self.assertEqual(self.json_of(self.ask(api, "status", "--json")),
                         {"cluster": CLUSTER, "nodes": [NODE], "vms": [VM]})

    def test_no_quorum_stands_out(self):
        api = self.api({"GET /v1/cluster": (200, {**CLUSTER, "quorate": False}),
                        "GET /v1/nodes": (200, []), "GET /v1/vms": (200, [])})
        self.assertIn("NO QUORUM", self.expect(self.ask(api, "status"), 0).stdout)

    def test_node_names_the_accelerator_and_why(self):
        api = self.api({"GET /v1/nodes/n1": (200, NODE)})
        self.assertIn("tcg (no /dev/kvm)", self.expect(self.ask(api, "node", "n1"), 0).stdout)

    def test_jobs(self):
        jobs = [job(bytes_done=50, bytes_total=100), job("failed", id="n1-6", error="no memory")]
        api = self.api({"GET /v1/jobs": (200, jobs)})
        out = self.expect(self.ask(api, "jobs"), 0).stdout
        self.assertRegex(out, r"n1-7 +10:00:00 +migrate +a +n1 +save 50%")
        self.assertRegex(out, r"n1-6 .*failed +no memory")


class Changing(CommandCase):
    def check(self, args, request, body, answer, code=0):
        api = self.api({request: answer, "GET /v1/jobs/n1-7": JOB_DONE})
        result = self.expect(self.ask(api, *args), code)
        method, path, sent, headers = api.requests[0]
        self.assertEqual("%s %s" % (method, path), request)
        self.assertEqual(json.loads(sent) if sent else None, body)
        self.assertEqual(headers.get("Authorization"), "Bearer a-token-of-the-cluster")
        return result

    def test_jobs_of_a_vm(self):
        began = (202, {"job": "n1-7"})
        for args, verb, body in (
                (["start", "a"], "start", None),
                (["save", "a"], "save", None),
                (["stop", "a"], "stop", None),
                (["stop", "a", "--save"], "stop", {"mode": "save"}),
                (["stop", "--shutdown", "a"], "stop", {"mode": "shutdown"}),
                (["stop", "a", "--poweroff"], "stop", {"mode": "poweroff"}),
                (["migrate", "a"], "migrate", None),
                (["migrate", "a", "--to", "n2"], "migrate", {"to": "n2"})):
            with self.subTest(args=args):
                self.check(args, "POST /v1/vms/a/" + verb, body, began)

    def test_simple_changes(self):
        for args, request, body in (
                (["undefine", "a"], "DELETE /v1/vms/a", None),
                (["discard", "a"], "POST /v1/vms/a/discard", None),
                (["standby", "n1"], "PUT /v1/nodes/n1/standby", {"standby": True}),
                (["unstandby", "n1"], "PUT /v1/nodes/n1/standby", {"standby": False})):
            with self.subTest(args=args):
                self.check(args, request, body, (200, {}))

    def test_define_starts(self):
        path = self.file("a.json", '{"name": "a"}')
        self.check(["define", path], "POST /v1/vms?start=true", {"name": "a"},
                   (201, {"name": "a", "job": "n1-7"}))

    def test_define_from_stdin_without_start(self):
        api = self.api({"POST /v1/vms?start=false": (201, {"name": "a"})})
        result = self.expect(self.ask(api, "define", "-", "--no-start", stdin='{"name":"a"}'), 0)
        self.assertEqual(result.stdout, "a: defined\n")
        self.assertEqual(api.asked(), ["POST /v1/vms?start=false"])

    def test_define_large(self):
        text = json.dumps({"name": "a", "description": "x" * 200000})
        path = self.file("a.json", text)
        self.check(["define", path, "--no-start"], "POST /v1/vms?start=false", json.loads(text),
                   (201, {"name": "a"}))

    def test_update_names_what_is_pending(self):
        path = self.file("a.json", '{"name": "a"}')
        result = self.check(["define", path, "--update"], "PUT /v1/vms/a", {"name": "a"},
                            (200, {"name": "a", "pending": "memory_mib"}))
        self.assertEqual(result.stdout, "a: changed; at its next start: memory_mib\n")

    def test_define_checks_before_it_asks(self):
        api = self.api()
        cases = ((self.file("bad.json", '{\n  "name": "a",\n  "vcpus" 2\n}'), 4, "line 3, column"),
                 (self.file("list.json", "[]"), 4, '"name"'),
                 (self.file("twice.json", '{"name": "a", "name": "b"}'), 4, "duplicate"),
                 (self.dir + "/none.json", 1, "none.json"))
        for path, code, text in cases:
            with self.subTest(path=path):
                self.assertIn(text, self.expect(self.ask(api, "define", path), code).stderr)
        self.assertEqual(api.asked(), [])


if __name__ == "__main__":
    unittest.main()
