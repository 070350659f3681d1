# SPDX-License-Identifier: GPL-2.0-or-later
"""A node's power, seen at the lab's switch: Pacemaker's own history knows only whole seconds."""

import threading
import time

import control
from layout import Layout

STEP_SECONDS = 0.02


class PowerCut:
    """Cuts a node's power and watches for the fencing, which ends with turning it on again."""

    def __init__(self, lab_name, node):
        self._layout, self._node = Layout(lab_name), node
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.on_again = None  # Unix time

    def __enter__(self):
        control.request(self._layout, "off", self._node)  # as `lab kill`, without its start
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self):
        while self.on_again is None and not self._over.wait(STEP_SECONDS):
            if control.request(self._layout, "state")["nodes"][self._node]["on"]:
                self.on_again = time.time()
