# SPDX-License-Identifier: GPL-2.0-or-later
"""Talking to labd."""
import fcntl
import json
import os
import signal
import socket
import struct
import time

from layout import LabError

REPLY_SECONDS = 30.0


def is_running(layout):
    """Whether a labd owns the lab's directory."""
    try:
        handle = os.open(layout.directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


def request(layout, verb, node=None):
    """Sends one request to labd; returns its result."""
    try:
        with _connect(layout) as connection:
            connection.sendall(json.dumps({"verb": verb, "node": node}).encode() + b"\n")
            line = connection.makefile("rb").readline()
    except (FileNotFoundError, ConnectionError) as error:
        raise LabError(f"lab {layout.name!r} is not up") from error
    except TimeoutError as error:
        raise LabError(f"labd does not answer; see {layout.log}") from error
    if not line:
        raise LabError(f"labd ended; see {layout.log}")
    reply = json.loads(line)
    if not reply["ok"]:
        raise LabError(reply["error"])
    return reply["result"]


def end(layout):
    """Ends labd, by force where it does not listen, and waits until it is gone."""
    if not is_running(layout):
        return
    try:
        pid = _server_pid(layout)
    except OSError:
        pid = None
    try:
        request(layout, "down")
    except LabError:
        pass
    if _wait_until_gone(layout, 10.0):
        return
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    if not _wait_until_gone(layout, 5.0):
        raise LabError(f"labd of {layout.directory} does not end")


def _wait_until_gone(layout, seconds):
    deadline = time.monotonic() + seconds
    while is_running(layout):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _connect(layout):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(REPLY_SECONDS)
    try:
        connection.connect(str(layout.control))
    except OSError:
        connection.close()
        raise
    return connection


def _server_pid(layout):
    with _connect(layout) as connection:
        size = struct.calcsize("3i")
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return struct.unpack("3i", credentials)[0]
