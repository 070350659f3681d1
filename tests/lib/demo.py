# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo's frame: brings a lab up, lets demo_acts.py play in its LAN, tells, takes it down."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True

import demo_text

HERE = Path(__file__).resolve().parent
LAB = HERE.parent / "lab/lab"
UP_SECONDS = 120
DOWN_SECONDS = 60
ENDING_SECONDS = 10


class Interrupted(Exception):
    """Somebody wants us to end; the lab goes down first."""


def interrupt(number, _):
    raise Interrupted(signal.Signals(number).name)


def ignore_interrupts():
    """From here on the end is under way; a second Ctrl-C would only leave a lab behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def play(lab, name, tell):
    """Runs the acts in the lab; gives each part of the report to TELL as soon as it is known."""
    report = {}
    acts = subprocess.Popen(
        [*lab, "client", "--net", "python3", str(HERE / "demo_acts.py"), name],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        for line in acts.stdout:
            part = json.loads(line)
            report |= part
            tell(part)
        code = acts.wait()
    finally:
        if acts.poll() is None:
            end(acts)
    if code != 0 and "failed" not in report:
        report["failed"] = [f"the demo itself ended with {code}; see above"]
    return report


def end(process):
    process.terminate()
    try:
        process.wait(timeout=ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def perform(tell):
    name = f"demo{os.getpid()}"
    lab = [str(LAB), "--name", name]
    try:
        print("bringing a cluster of three nodes up", file=sys.stderr)
        subprocess.run([*lab, "up"], check=True, stdout=sys.stderr, timeout=UP_SECONDS)
        return play(lab, name, tell)
    except subprocess.SubprocessError as error:
        return {"failed": [f"the lab did not come up: {error}"]}
    except Interrupted as error:
        return {"failed": [f"ended by {error}"]}
    finally:
        ignore_interrupts()
        subprocess.run([*lab, "down"], check=False, stdout=sys.stderr, timeout=DOWN_SECONDS)


def main(argv):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    as_json = argv == ["--json"]
    report = perform((lambda part: None) if as_json else demo_text.tell)
    report.setdefault("failed", [])
    report["ok"] = not report["failed"]
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        demo_text.tell_verdict(report)
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
