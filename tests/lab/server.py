# SPDX-License-Identifier: GPL-2.0-or-later
"""What a lab's daemon is, whatever its nodes are: its main loop and its answers."""
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time

from layout import LabError

REQUEST_SECONDS = 2.0
LONGEST_REQUEST = 4096
POWER_VERBS = ("on", "off", "status", "list")


def log(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def unix_listener(path):
    """The path is there once somebody listens."""
    early = f"{path}.new"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(early)
    os.chmod(early, 0o600)
    listener.listen(16)
    os.rename(early, path)
    return listener


class Machines:
    """A lab's nodes, and how the main loop learns that one has ended: by _ended(machine). handle() of a
    machine is a descriptor that becomes readable then."""

    def __init__(self, nodes, selector):
        self.nodes = nodes
        self._selector = selector
        self._handles = {}

    def _watch(self, machine):
        handle = machine.handle()
        self._handles[machine.name] = handle
        self._selector.register(handle, selectors.EVENT_READ, lambda: self._ended(machine))

    def _unwatch(self, machine):
        handle = self._handles.pop(machine.name)
        self._selector.unregister(handle)
        os.close(handle)

    def _node(self, name):
        if name not in self.nodes:
            raise LabError(f"no node {name!r}; nodes: {' '.join(self.nodes)}")
        return self.nodes[name]


class Server:
    """One JSON request and one JSON reply a connection: {"verb": ..., "node": ...}."""

    def __init__(self, listener, serve, selector):
        self._serve = serve
        self._socket = listener
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    def _accept(self):
        connection, _ = self._socket.accept()
        with connection:
            connection.settimeout(REQUEST_SECONDS)
            try:
                reply = self._answer(connection)
                connection.sendall(json.dumps(reply).encode() + b"\n")
            except OSError as error:
                log(f"a client went away: {error}")

    def _answer(self, connection):
        try:
            request = json.loads(connection.makefile("rb").readline(LONGEST_REQUEST))
            return {"ok": True, "result": self._serve(request["verb"], request.get("node"))}
        except (ValueError, KeyError, TypeError) as error:
            return {"ok": False, "error": f"not a request: {error!r}"}
        except (LabError, OSError, subprocess.SubprocessError) as error:
            log(f"request failed: {error}")
            return {"ok": False, "error": str(error)}


class Daemon:
    """The main loop of whatever owns a lab, until it is told "down".

    make_lab(selector) returns the lab, with build(), boot(), close(), on(node), off(node), state(), and
    serve(verb, node) for the verbs that it has besides; listen_power() the power switch's socket. Until
    the lab is said to be running, the end of the descriptor parent ends it, too.
    """

    def __init__(self, layout, make_lab, listen_power, parent):
        self._layout = layout
        self._listen_power = listen_power
        self._parent = parent
        os.set_inheritable(parent, False)
        self._selector = selectors.DefaultSelector()
        self._lab = make_lab(self._selector)
        self._down = False

    def run(self):
        lock = os.open(self._layout.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            self._lab.build()
            Server(self._listen_power(), self._serve_power, self._selector)
            self._lab.boot()
            Server(unix_listener(self._layout.control), self._serve, self._selector)
            self._selector.register(self._parent, selectors.EVENT_READ, self._parent_ended)
            while not self._down:
                for key, _ in self._selector.select():
                    key.data()
        finally:
            self._lab.close()
            log("down")

    def _parent_ended(self):
        log("lab up went away before the lab was running")
        self._down = True

    def _serve(self, verb, node):
        if verb == "state":
            return self._lab.state()
        if verb == "running":
            return self._running()
        if verb == "down":
            self._down = True
            return None
        if verb in POWER_VERBS:
            return self._serve_power(verb, node)
        return self._lab.serve(verb, node)

    def _running(self):
        """From now on the lab outlives the program that brought it up."""
        if self._parent is not None:
            self._selector.unregister(self._parent)
            os.close(self._parent)
            self._parent = None

    def _serve_power(self, verb, node):
        if verb not in POWER_VERBS:
            raise LabError(f"no verb {verb!r}")
        if verb == "list":
            return list(self._lab.nodes)
        if verb == "on":
            return self._lab.on(node)
        if verb == "off":
            return self._lab.off(node)
        state = self._lab.state()["nodes"].get(node)
        if state is None:
            raise LabError(f"no node {node!r}")
        return "on" if state["on"] else "off"
