# SPDX-License-Identifier: GPL-2.0-or-later
"""A fake vmferryd for the tests of the command: canned answers, and a record of what was asked."""

import http.server
import json
import os
import socketserver
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def address_string(self):  # the base class wants an IP address, a unix socket has none
        return "client"

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.server.api.note(self.command, self.path, body, dict(self.headers))
        answer = self.server.api.answer(self.command, self.path)
        if callable(answer):
            answer(self)
        else:
            self.reply(*answer)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def reply(self, status, value):
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def cut(self):
        """Ends the connection without a word."""
        self.close_connection = True


class TcpServer(http.server.ThreadingHTTPServer):
    daemon_threads = True


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class Api:
    """answers: {"GET /v1/vms": (200, [...]) | function(handler) | list of those, the last stays}"""

    def __init__(self, answers=None, socket=None):
        self.answers = dict(answers or {})
        self.requests = []
        self.lock = threading.Lock()
        self.socket = socket
        server = UnixServer(socket, Handler) if socket else TcpServer(("127.0.0.1", 0), Handler)
        self.server = server
        self.server.api = self
        self.url = "unix:" + socket if socket else "http://127.0.0.1:%d" % self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def address(self):
        return "127.0.0.1:%d" % self.server.server_port

    def note(self, method, path, body, headers):
        with self.lock:
            self.requests.append((method, path, body, headers))

    def answer(self, method, path):
        with self.lock:
            answer = self.answers.get("%s %s" % (method, path))
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer or (404, error("not-found", "nothing at %s %s" % (method, path)))

    def asked(self, method=None):
        """What was asked: ["GET /v1/vms", ...]."""
        with self.lock:
            return ["%s %s" % r[:2] for r in self.requests if method in (None, r[0])]

    def last(self):
        with self.lock:
            return self.requests[-1]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        if self.socket and os.path.exists(self.socket):
            os.unlink(self.socket)


def error(code, message, **more):
    return {"error": {"code": code, "message": message, **more}}


def job(state="running", **more):
    base = {"id": "n1-7", "kind": "migrate", "vm": "a", "node": "n1", "state": state,
            "phase": "save", "bytes_done": 0, "bytes_total": 0, "rate": 0, "eta_s": None,
            "expected_blackout_ms": None, "expected_blackout_margin_ms": None,
            "started": "2026-03-01T10:00:00Z", "ended": None, "error": None, "result": None}
    return {**base, **more}


MOVED = {"from": "n1", "to": "n2", "mode": "lazy", "blackout_ms": 12.3, "total_ms": 3400.0,
         "expected_blackout_ms": 14.2, "expected_blackout_margin_ms": 6.0,
         "bytes_written": 536870912, "passes": 3}
