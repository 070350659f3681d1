#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""First process of a machine (a node, or the LAN's own): mounts, services, orphans.

usage: init.py SPEC.json

The specification is written by machines.py. The machine is set up after one line comes on
standard input: by then its network link is there. Everything ends with this process.
"""
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
import uuid

RESPAWN_SECONDS = 1.0


def log(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def mount(source, target, kind, options):
    command = ["mount", "--bind"] if kind == "bind" else ["mount", "-t", kind]
    if options:
        command += ["-o", options]
    subprocess.run(command + [source, target], check=True)


def make_directory(path, mode, owner):
    os.makedirs(path, exist_ok=True)
    os.chmod(path, int(mode, 8))
    if owner:
        shutil.chown(path, *owner)


def make_device(path, major, minor):
    os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(major, minor))


def shield_machine():
    """A node's panic must end the node, not the computer; and each boot has its own id."""
    if os.path.exists("/proc/sysrq-trigger"):
        mount("/dev/null", "/proc/sysrq-trigger", "bind", None)
    with open("/run/boot_id", "w", encoding="ascii") as file:
        file.write(f"{uuid.uuid4()}\n")
    mount("/run/boot_id", "/proc/sys/kernel/random/boot_id", "bind", None)


def set_up(spec):
    for source, target, kind, options in spec["mounts"]:
        mount(source, target, kind, options)
    for path, mode, owner in spec["directories"]:
        make_directory(path, mode, owner)
    for source, target, kind, options in spec["inner_mounts"]:
        mount(source, target, kind, options)
    for path, major, minor in spec["devices"]:
        make_device(path, major, minor)
    shield_machine()
    with open("/proc/sys/kernel/hostname", "w", encoding="ascii") as file:
        file.write(spec["name"])
    for command in spec["commands"]:
        subprocess.run(command, check=True)


class Service:
    """A daemon in the foreground, with its output in a file."""

    def __init__(self, description, environment):
        self.name = description["name"]
        self.argv = description["argv"]
        self.log = description["log"]
        self.ready = description["ready"]
        self.patience = description["patience"]
        self.respawn = description["respawn"]
        self.environment = environment
        self.pid = None
        self.due = None

    def start(self):
        with open(self.log, "ab") as output:
            try:
                self.pid = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=output, env=self.environment,
                                            start_new_session=True).pid
            except OSError as error:
                log(f"{self.name}: {error}")
                self.ended("could not be started")
                return
        self.due = None
        log(f"{self.name}: started as {self.pid}")

    def ended(self, how):
        log(f"{self.name}: {how}")
        self.pid = None
        self.due = time.monotonic() + RESPAWN_SECONDS if self.respawn else None

    def is_ready(self):
        return subprocess.run(self.ready, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env=self.environment,
                              check=False).returncode == 0


class Supervisor:
    """Starts services one after the other, reaps every orphan, respawns what is to be respawned."""

    def __init__(self, services):
        self.services = services
        self.wake_up, write = os.pipe()
        os.set_blocking(self.wake_up, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def boot(self):
        for service in self.services:
            service.start()
            self._await(service)
        log("all services started")

    def run(self):
        while True:
            self._turn(self._sleep_time())

    def _await(self, service):
        deadline = time.monotonic() + service.patience
        while service.ready and time.monotonic() < deadline:
            if service.is_ready():
                return
            self._turn(0.05)
        if service.ready:
            log(f"{service.name}: not ready after {service.patience} s; going on")

    def _turn(self, seconds):
        select.select([self.wake_up], [], [], seconds)
        try:
            os.read(self.wake_up, 4096)
        except BlockingIOError:
            pass
        self._reap()
        now = time.monotonic()
        for service in self.services:
            if service.due is not None and service.due <= now:
                service.start()

    def _sleep_time(self):
        due = [service.due for service in self.services if service.due is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for service in self.services:
                if service.pid == pid:
                    service.ended(f"ended with {os.waitstatus_to_exitcode(status)}")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    if not sys.stdin.readline():
        sys.exit("init: labd went away before the network link was there")
    set_up(spec)
    supervisor = Supervisor([Service(each, spec["environment"]) for each in spec["services"]])
    supervisor.boot()
    supervisor.run()


if __name__ == "__main__":
    main()
