# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's monitor, as a script would use it."""

import json
import socket
import time

from errors import BenchError

REPLY_SECONDS = 60


class Qmp:
    """One connection; events are kept until somebody waits for them."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(REPLY_SECONDS)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self._events = []
        self._read()  # the greeting
        self.do("qmp_capabilities")

    def close(self):
        self._lines.close()
        self._socket.close()

    def do(self, command, **arguments):
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            message = self._read()
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise BenchError(f"QEMU refuses {command}: {message['error']['desc']}")
            self._events.append(message)

    def wait_event(self, matches, seconds):
        """Until an event for which MATCHES is true."""
        end = time.monotonic() + seconds
        while True:
            while self._events:
                event = self._events.pop(0)
                if matches(event):
                    return event
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                self._events.append(self._read())
            except TimeoutError:
                raise BenchError(f"QEMU did not tell in {seconds} s what was waited for") from None
            finally:
                self._socket.settimeout(REPLY_SECONDS)

    def wait_migrated(self, seconds):
        """Until a migration has ended; only a good end returns."""
        def ended(event):
            return (event.get("event") == "MIGRATION"
                    and event["data"]["status"] in ("completed", "failed", "cancelled"))
        status = self.wait_event(ended, seconds)["data"]["status"]
        if status != "completed":
            raise BenchError(f"QEMU's migration {status}: {self.do('query-migrate')}")

    def _read(self):
        line = self._lines.readline()
        if not line:
            raise BenchError("QEMU closed its monitor")
        return json.loads(line)
