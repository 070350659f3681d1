# SPDX-License-Identifier: GPL-2.0-or-later
"""While vmferryd is up: what it is asked and what becomes of its answer."""
import json
import time
import unittest

from case import (ARGS, CONFIGURED, Case, DEFINITION, GENERIC, NOT_RUNNING, SUCCESS)
from fake_agent import FakeAgent, behaves

OK = {"ocf": 0, "message": ""}


class WithAgent(Case):
    def agent(self, answer):
        agent = FakeAgent(self.run_dir, answer)
        self.addCleanup(agent.close)
        return agent

    def asked(self, *arguments, **changes):
        """The request of a run that succeeds."""
        agent = FakeAgent(self.run_dir, lambda request: OK)
        self.expect(SUCCESS, *arguments, **changes)
        agent.close()
        self.assertEqual(len(agent.requests), 1)
        return agent.requests[0]

    def test_request(self):
        request = self.asked("start", OCF_RESKEY_CRM_meta_timeout="300000")
        timeout_ms = request.pop("timeout_ms")
        self.assertEqual(request, {"op": "start", "vm": "web1", "probe": False,
                                   "definition": json.dumps(DEFINITION)})
        # What is left, less a little for the way back.
        self.assertLessEqual(timeout_ms, 299000)
        self.assertGreater(timeout_ms, 290000)

    def test_stop_leaves_time_to_end_the_vm_without_the_agent(self):
        request = self.asked("stop", OCF_RESKEY_CRM_meta_timeout="300000")
        self.assertLessEqual(request["timeout_ms"], 269000)
        self.assertGreater(request["timeout_ms"], 260000)
        request = self.asked("stop", OCF_RESKEY_CRM_meta_timeout="20000")
        self.assertLessEqual(request["timeout_ms"], 14000)
        self.assertGreater(request["timeout_ms"], 13000)

    def test_no_timeout_means_the_advertised_one(self):
        request = self.asked("migrate_from", OCF_RESKEY_CRM_meta_timeout=None,
                             OCF_RESKEY_CRM_meta_migrate_source="n1")
        self.assertLessEqual(request["timeout_ms"], 59000)
        self.assertGreater(request["timeout_ms"], 50000)

    def test_target(self):
        request = self.asked("migrate_to", OCF_RESKEY_CRM_meta_migrate_target="n2",
                             OCF_RESKEY_CRM_meta_migrate_source="n1")
        self.assertEqual(request["peer"], "n2")

    def test_source(self):
        request = self.asked("migrate_from", OCF_RESKEY_CRM_meta_migrate_target="n2",
                             OCF_RESKEY_CRM_meta_migrate_source="n1")
        self.assertEqual(request["peer"], "n1")

    def test_probe(self):
        self.assertIs(self.asked("monitor", OCF_RESKEY_CRM_meta_interval="0")["probe"], True)

    def test_recurring_monitor(self):
        self.assertIs(self.asked("monitor", OCF_RESKEY_CRM_meta_interval="10000")["probe"], False)

    def test_clone_instance(self):
        self.assertEqual(self.asked("monitor", OCF_RESOURCE_INSTANCE="web1:3")["vm"], "web1")

    def test_large_definition(self):
        text = json.dumps(DEFINITION)
        padded = text[:-1] + "\t" * (65_536 - len(text)) + "}" # twice as long in the request
        request = self.asked("start", OCF_RESKEY_definition=padded)
        self.assertEqual(request["definition"], padded)

    def test_every_action(self):
        self.agent(behaves())
        peers = {"OCF_RESKEY_CRM_meta_migrate_target": "n2",
                 "OCF_RESKEY_CRM_meta_migrate_source": "n1"}
        self.expect(NOT_RUNNING, "monitor")
        self.expect(SUCCESS, "start")
        self.expect(SUCCESS, "monitor")
        self.expect(SUCCESS, "reload-agent")
        self.expect(SUCCESS, "migrate_to", **peers)
        self.expect(NOT_RUNNING, "monitor")
        self.expect(SUCCESS, "migrate_from", **peers)
        self.expect(SUCCESS, "monitor")
        self.expect(SUCCESS, "stop")
        self.expect(NOT_RUNNING, "monitor")

    def test_codes_and_reasons_are_passed_on(self):
        self.agent(lambda request: {"ocf": 1, "message": "n2: LUN not visible;\nlogged in?"})
        for action in ("start", "stop", "monitor", "reload-agent"):
            with self.subTest(action):
                self.assertEqual(self.expect(GENERIC, action), "n2: LUN not visible; logged in?")

    def test_garbage(self):
        for garbage in (b"{", b"[]", b'{"ocf":"0","message":""}', b'{"ocf":0}', b'{"ocf":0,'
                        b'"ocf":7,"message":""}'):
            with self.subTest(garbage), FakeAgent(self.run_dir, lambda request: garbage):
                self.assertIn("not understood", self.expect(GENERIC, "start"))

    def test_peer_missing(self):
        agent = self.agent(lambda request: OK)
        for action in ("migrate_to", "migrate_from"):
            self.expect(ARGS, action)
        self.assertEqual(agent.requests, [])

    def test_bad_definition_is_not_sent(self):
        agent = self.agent(lambda request: OK)
        for action in ("start", "reload-agent"):
            self.expect(CONFIGURED, action, OCF_RESKEY_definition="{}")
        self.assertEqual(agent.requests, [])

    def test_stop_and_monitor_need_no_definition(self):
        self.agent(lambda request: OK)
        for action in ("stop", "monitor"):
            self.expect(SUCCESS, action, OCF_RESKEY_definition=None)

    def test_silent_agent_is_given_up_before_the_timeout(self):
        self.agent(lambda request: FakeAgent.SILENT)
        for action in ("start", "reload-agent"):
            begun = time.monotonic()
            reason = self.expect(GENERIC, action, OCF_RESKEY_CRM_meta_timeout="6000")
            self.assertIn(f"did not finish {action} of web1", reason)
            self.assertGreaterEqual(time.monotonic() - begun, 2.9)
            self.assertLess(time.monotonic() - begun, 6)


if __name__ == "__main__":
    unittest.main()
