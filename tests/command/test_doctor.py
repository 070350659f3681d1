# SPDX-License-Identifier: GPL-2.0-or-later
"""doctor: what is printed of findings, and the exit code that they lead to."""

import unittest

from case import CommandCase
from fake_api import error


def finding(**more):
    return {"id": "area-bad", "level": "danger", "title": "its state area cannot be used",
            "node": "n1", "vm": "web", "seen": "it has 64 MiB", "why": "its memory cannot be saved",
            "remedy": "make it larger", **more}


def report(verdict, *findings):
    return (200, {"verdict": verdict, "checks": 46, "findings": list(findings)})


class Doctor(CommandCase):
    def doctor(self, answer, *args):
        return self.ask(self.api({"GET /v1/doctor": answer}), "doctor", *args)

    def test_exit_codes(self):
        for verdict, code in (("clean", 0), ("note", 0), ("unknown", 1), ("warning", 1),
                              ("danger", 1), ("of-a-later-release", 1)):
            with self.subTest(verdict=verdict):
                findings = [] if verdict == "clean" else [finding(level=verdict)]
                result = self.expect(self.doctor(report(verdict, *findings)), code)
                self.assertEqual(result.stderr, "")
                shown = self.expect(self.doctor(report(verdict, *findings), "--json"), code)
                self.assertEqual(self.json_of(shown)["findings"], findings)

    def test_a_node_that_could_not_look(self):
        for status in (404, 500, 503, 504):
            with self.subTest(status=status):
                result = self.doctor((status, error("x", "corosync is gone")))
                self.expect(result, 6)
                self.assertEqual(result.stderr, "vmferry: corosync is gone\n")
                self.assertEqual(result.stdout, "")
        self.expect(self.doctor((401, error("unauthorized", "no token"))), 5)
        self.expect(self.doctor((200, b"<html>")), 6)
        self.expect(self.run_command("doctor", "--url", self.dead_url()), 5)

    def test_clean(self):
        self.assertEqual(self.doctor(report("clean")).stdout, "clean (46 checks)\n")

    def test_text(self):
        result = self.doctor(report("danger", finding(), finding(node="n2"),
                                    finding(id="no-kvm", level="note", node=None, vm=None,
                                            title="no node uses KVM")))
        self.assertEqual(result.stdout, """\
DANGER    its state area cannot be used (area-bad)
  seen    n1, VM web: it has 64 MiB
          n2, VM web: it has 64 MiB
  why     its memory cannot be saved
  remedy  make it larger

NOTE      no node uses KVM (no-kvm)
  seen    it has 64 MiB
  why     its memory cannot be saved
  remedy  make it larger

2 dangers, 1 note (46 checks)
""")

    def test_long_lines_are_wrapped(self):
        result = self.doctor(report("note", finding(level="note", seen="word\n" * 60)))
        lines = result.stdout.splitlines()
        self.assertLessEqual(max(map(len, lines)), 80)
        self.assertEqual(result.stdout.count("word"), 60)
        self.assertTrue(lines[2].startswith(" " * 10 + "word"), lines[2])

    def test_control_characters(self):
        result = self.doctor(report("note", finding(level="note", seen="a\x1b[2Jb",
                                                    title="t\x1b[2J", id="i\x1b")))
        self.assertNotIn("\x1b", result.stdout)


if __name__ == "__main__":
    unittest.main()
