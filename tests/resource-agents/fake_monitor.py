# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's second monitor, as far as the resource agent asks it: query-status and
system_powerdown."""
import json
import os
import socket
import threading


class FakeMonitor:
    """STATUS is QEMU's run state. ON_POWERDOWN is called for the ACPI button."""

    def __init__(self, run_dir, status, on_powerdown=None):
        self.status = status
        self.commands = []
        self._on_powerdown = on_powerdown
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(os.path.join(run_dir, "web1", "qmp-aux.sock"))
        self._socket.listen(4)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rw") as stream:
                self._serve_one(stream)

    def _serve_one(self, stream):
        self._say(stream, {"QMP": {"version": {}, "capabilities": []}})
        for line in stream:
            command = json.loads(line)["execute"]
            self.commands.append(command)
            if command == "system_powerdown" and self._on_powerdown:
                self._on_powerdown()
            status = {"status": self.status} if command == "query-status" else {}
            self._say(stream, {"return": status})

    @staticmethod
    def _say(stream, message):
        try:
            stream.write(json.dumps(message) + "\n")
            stream.flush()
        except BrokenPipeError:
            pass
