# SPDX-License-Identifier: GPL-2.0-or-later
"""Which node is asked, and with which token."""

import os
import unittest

from case import CommandCase
from fake_api import Handler, error

LIST = {"GET /v1/vms": (200, [])}
DISCARD = {"POST /v1/vms/a/discard": (200, {})}


class Endpoints(CommandCase):
    def test_options_stand_anywhere(self):
        api = self.api(LIST)
        for args in (["--json", "--url", api.url, "list"], ["list", "--url=" + api.url, "--json"],
                     ["--url", api.url, "list", "--json"]):
            self.assertEqual(self.json_of(self.expect(self.run_command(*args), 0)), [])

    def test_environment_and_its_rank(self):
        named, other = self.api(LIST), self.api(LIST)
        self.expect(self.run_command("list", VMFERRY_URL=named.url), 0)
        self.expect(self.run_command("list", "--url", other.url, VMFERRY_URL=named.url), 0)
        self.assertEqual((len(named.asked()), len(other.asked())), (1, 1))

    def test_next_one_where_the_first_is_dead(self):
        api = self.api({**LIST, **DISCARD})
        for args in (["list"], ["discard", "a"]):
            urls = "%s, %s/" % (self.dead_url(), api.url)
            self.expect(self.run_command(*args, "--url", urls), 0)
        self.assertEqual(api.asked(), ["GET /v1/vms", "POST /v1/vms/a/discard"])

    def test_reading_moves_on_from_a_cut_connection(self):
        cutting, api = self.api({"GET /v1/vms": Handler.cut}), self.api(LIST)
        self.expect(self.run_command("list", "--url", cutting.url + "," + api.url), 0)
        self.assertEqual(len(api.asked()), 1)

    def test_change_is_never_sent_twice(self):
        cutting = self.api({"POST /v1/vms/a/discard": Handler.cut})
        api = self.api(DISCARD)
        result = self.run_command("discard", "a", "--url", cutting.url + "," + api.url)
        self.assertIn("unknown", self.expect(result, 5).stderr)
        self.assertEqual((len(cutting.asked()), api.asked()), (1, []))

    def test_error_answers_do_not_move_on(self):
        first, second = self.api(), self.api({"GET /v1/vms/a": (200, {})})
        self.expect(self.run_command("show", "a", "--url", first.url + "," + second.url), 3)
        self.assertEqual(second.asked(), [])

    def test_node_that_has_not_joined_is_passed_over(self):
        apart = (503, error("not-joined", "n1 has not joined the cluster yet"))
        first = self.api({"GET /v1/vms": apart, "POST /v1/vms/a/discard": apart})
        second = self.api({**LIST, **DISCARD})
        for args in (["list"], ["discard", "a"]):
            self.expect(self.run_command(*args, "--url", first.url + "," + second.url), 0)
        self.assertEqual(second.asked(), ["GET /v1/vms", "POST /v1/vms/a/discard"])
        result = self.expect(self.run_command("list", "--url", first.url + "," + self.dead_url()), 1)
        self.assertIn("no node is left to ask; n1 has not joined the cluster yet", result.stderr)
        self.assertEqual(self.expect(self.ask(first, "list"), 1).stderr,
                         "vmferry: n1 has not joined the cluster yet\n")

    def test_unix_socket_gets_no_token(self):
        api = self.api(LIST, socket=os.path.join(self.dir, "api.sock"))
        self.expect(self.ask(api, "list", VMFERRY_TOKEN_FILE="/nowhere"), 0)
        self.assertNotIn("Authorization", api.last()[3])
        # Nor where there is one, for another URL.
        self.expect(self.run_command("list", "--url", self.dead_url() + "," + api.url), 0)
        self.assertNotIn("Authorization", api.last()[3])

    def test_proxy_is_not_used(self):
        api = self.api(LIST)
        self.expect(self.ask(api, "list", http_proxy=self.dead_url()), 0)


class Token(CommandCase):
    def sent(self, *args, **env):
        api = self.api(LIST)
        self.expect(self.ask(api, "list", *args, **env), 0)
        return api.last()[3].get("Authorization")

    def test_option_before_environment(self):
        other = self.file("other", "another-token\n")
        self.assertEqual(self.sent(), "Bearer a-token-of-the-cluster")
        self.assertEqual(self.sent("--token-file", other), "Bearer another-token")

    def test_file_that_cannot_be_read(self):
        api = self.api(LIST)
        result = self.expect(self.ask(api, "list", "--token-file", "/nowhere/token"), 5)
        self.assertIn("/nowhere/token", result.stderr)
        self.assertEqual(api.asked(), [])

    def test_token_with_a_line_break_makes_no_header(self):
        api = self.api(LIST)
        bad = self.file("bad", "one\r\nX-Evil: 1\n")
        self.expect(self.ask(api, "list", "--token-file", bad), 5)
        self.assertEqual(api.asked(), [])


if __name__ == "__main__":
    unittest.main()
