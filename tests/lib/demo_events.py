# SPDX-License-Identifier: GPL-2.0-or-later
"""The cluster's events and fencings, on the clock of an act."""

import json
from datetime import datetime, timezone
from xml.etree import ElementTree


def unix(text):
    """Seconds since 1970 of the API's and of Pacemaker's points in time."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def ms(seconds):
    return round(seconds * 1000, 1)


def since(cluster, begin):
    """What happened since BEGIN (Unix time), each with its milliseconds since then as "at_ms"."""
    lines = cluster.vmferry("--json", "events").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    events = [event | {"at_ms": ms(unix(event["time"]) - begin)} for event in events]
    return [event for event in events if event["at_ms"] >= 0]


def first(cluster, begin, kind, matches=lambda event: True):
    """The first event of this kind, or None."""
    return next((event for event in since(cluster, begin)
                 if event["type"] == kind and matches(event)), None)


def fencing(cluster, begin, asked, lost):
    """What Pacemaker on node ASKED remembers of the fencing of LOST since BEGIN, or None."""
    history = cluster.on(asked, "stonith_admin", "--history", lost, "--output-as=xml", check=False)
    if history.returncode != 0:
        return None
    for event in ElementTree.fromstring(history.stdout).iter("fence_event"):
        completed = event.get("completed")
        if event.get("status") == "success" and completed and unix(completed) >= int(begin):
            return {key: event.get(key) for key in ("action", "delegate", "origin", "completed")}
    return None
