# SPDX-License-Identifier: GPL-2.0-or-later
"""Events: the list, and following over server-sent events."""

import json
import subprocess
import threading
import unittest

from case import BINARY, CommandCase
from fake_api import error


def event(number, second=None, message="a started", **more):
    return {"id": number, "time": "2026-03-01T10:00:%02d.000Z" % (second or number), "node": "n1",
            "vm": "a", "type": "vm.started", "level": "info", "message": message, **more}


def stream(*events, stay=None):
    """An answer that sends EVENTS, then ends, or STAYs (an Event) until the test is over."""
    def send(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        handler.wfile.write(b": keep-alive\n\n")
        for item in events:
            text = "id: %d\nevent: %s\ndata: %s\n\n" % (item["id"], item["type"], json.dumps(item))
            # In two pieces: lines need not come whole.
            handler.wfile.write(text[:7].encode())
            handler.wfile.flush()
            handler.wfile.write(text[7:].encode())
        handler.wfile.flush()
        if stay:
            stay.wait(30)
        handler.close_connection = True
    return send


class Listing(CommandCase):
    def test_lines(self):
        other = {k: v for k, v in event(2, level="warning", message="no quorum").items()
                 if k != "vm"}
        api = self.api({"GET /v1/events": (200, [event(1), other])})
        lines = self.expect(self.ask(api, "events"), 0).stdout.splitlines()
        self.assertEqual([line.split() for line in lines],
                         [["2026-03-01", "10:00:01", "n1", "info", "a", "a", "started"],
                          ["2026-03-01", "10:00:02", "n1", "warning", "-", "no", "quorum"]])

    def test_since_and_json_lines(self):
        api = self.api({"GET /v1/events?since=4": (200, [event(5), event(6)])})
        out = self.expect(self.ask(api, "events", "--since", "4", "--json"), 0).stdout
        self.assertEqual([json.loads(line) for line in out.splitlines()], [event(5), event(6)])


class Following(CommandCase):
    def follow(self, *args, urls):
        process = subprocess.Popen([BINARY, "--url", ",".join(urls), "events", "-f", *args],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=self.environment())

        def end():
            process.kill()
            process.communicate()
        self.addCleanup(end)
        return process

    def ids(self, process, count):
        return [json.loads(process.stdout.readline())["id"] for _ in range(count)]

    def stay(self):
        stay = threading.Event()
        self.addCleanup(stay.set)
        return stay

    def test_list_then_stream_then_again_after_a_cut(self):
        stay = self.stay()
        api = self.api({"GET /v1/events": [(200, [event(1), event(2)]),
                                           (200, [event(n) for n in range(1, 5)])],
                        "GET /v1/events?since=2": stream(event(3), event(4)),
                        "GET /v1/events?since=4": stream(event(5), stay=stay)})
        process = self.follow("--json", urls=[api.url])
        self.assertEqual(self.ids(process, 5), [1, 2, 3, 4, 5])
        streams = [r for r in api.requests if r[3].get("Accept") == "text/event-stream"]
        self.assertEqual([r[3]["Last-Event-ID"] for r in streams], ["2", "4"])
        self.assertTrue(all("Authorization" in r[3] for r in streams))

    def test_first_shows_the_last_ten(self):
        stay = self.stay()
        api = self.api({"GET /v1/events": (200, [event(n) for n in range(1, 21)]),
                        "GET /v1/events?since=20": stream(event(21), stay=stay)})
        process = self.follow("--json", urls=[api.url])
        self.assertEqual(self.ids(process, 11), list(range(11, 22)))

    def test_since(self):
        stay = self.stay()
        api = self.api({"GET /v1/events": (200, [event(n) for n in range(1, 21)]),
                        "GET /v1/events?since=20": stream(event(21), stay=stay)})
        process = self.follow("--json", "--since", "19", urls=[api.url])
        self.assertEqual(self.ids(process, 2), [20, 21])

    def test_agent_that_began_anew(self):
        """Its ids are small again: what counts is the time."""
        stay = self.stay()
        api = self.api({"GET /v1/events": [(200, [event(30)]),
                                           (200, [event(1, 30), event(2, 31)])],
                        "GET /v1/events?since=30": stream(),
                        "GET /v1/events?since=2": stream(event(3, 32), stay=stay)})
        process = self.follow("--json", urls=[api.url])
        self.assertEqual(self.ids(process, 3), [30, 2, 3])

    def test_wrong_token_ends_it(self):
        api = self.api({"GET /v1/events": (401, error("unauthorized", "wrong token"))})
        process = self.follow(urls=[api.url])
        self.assertIn("wrong token", process.communicate(timeout=20)[1])
        self.assertEqual(process.returncode, 5)

    def test_unreachable_at_first_ends_it(self):
        process = self.follow(urls=[self.dead_url()])
        process.communicate(timeout=20)
        self.assertEqual(process.returncode, 5)


if __name__ == "__main__":
    unittest.main()
