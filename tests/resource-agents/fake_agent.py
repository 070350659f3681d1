# SPDX-License-Identifier: GPL-2.0-or-later
"""A scripted vmferryd: serves RUN_DIR/ra.sock one request after another."""
import json
import os
import socket
import threading

MOST = 256 * 1024


class FakeAgent:
    """Each connection is given to ANSWER(request): it returns the reply (a dict, or bytes as they
    are), LOSE to cut the connection, or SILENT to leave it open without a word."""

    LOSE = object()
    SILENT = object()

    def __init__(self, run_dir, answer):
        self.path = os.path.join(run_dir, "ra.sock")
        self.answer = answer
        self.requests = []
        self._open = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(self.path)
        self._socket.listen(16)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Stops listening and cuts what is open; the socket's file goes too."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for connection in self._open:
            connection.close()
        os.unlink(self.path)

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._serve_one(connection)

    def _serve_one(self, connection):
        text = connection.recv(MOST)
        if not text:
            connection.close()
            return
        request = json.loads(text)
        self.requests.append(request)
        reply = self.answer(request)
        if reply is self.SILENT:
            self._open.append(connection)
            return
        if reply is not self.LOSE:
            connection.send(reply if isinstance(reply, bytes) else json.dumps(reply).encode())
        connection.close()


def behaves():
    """An ANSWER as a sound agent gives it: VMs start and stop at once."""
    running = set()

    def answer(request):
        operation, vm = request["op"], request["vm"]
        if operation in ("start", "migrate_from"):
            running.add(vm)
        elif operation in ("stop", "migrate_to"):
            running.discard(vm)
        elif operation == "monitor" and vm not in running:
            return {"ocf": 7, "message": ""}
        return {"ocf": 0, "message": ""}

    return answer
