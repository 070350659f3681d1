# SPDX-License-Identifier: GPL-2.0-or-later
"""Starting a program in namespaces of its own, and entering them."""
import ctypes
import os
import signal
import subprocess
import time

from layout import LabError

PR_SET_PDEATHSIG = 1
NAMESPACES = ("net", "ipc", "uts", "pid", "mnt")  # mnt last: /proc changes with it
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent():
    """Ends the calling process when its parent ends, however that happens."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def spawn_machine(argv, log):
    """Starts argv as first process of new namespaces; it dies with us.

    Returns the process that waits for it. Its standard input is a pipe of ours.
    """
    return subprocess.Popen(
        ["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork",
         "--kill-child=KILL", "--", *argv],
        stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
        preexec_fn=die_with_parent)


def first_process(waiter, seconds=5.0):
    """The pid, as we see it, of the first process in the namespaces of spawn_machine's result."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and waiter.poll() is None:
        with open(f"/proc/{waiter.pid}/task/{waiter.pid}/children", encoding="ascii") as file:
            children = file.read().split()
        if children:
            return int(children[0])
        time.sleep(0.002)
    raise LabError("unshare did not start the machine's first process; is this root?")


def run_inside(pid, argv, env=None, names=NAMESPACES):
    """Runs argv in these namespaces of pid like a shell would; returns its exit code."""
    handles = _open_namespaces(pid, names)
    directory = os.getcwd()
    for handle in handles:
        if _libc.setns(handle, 0) != 0:
            raise OSError(ctypes.get_errno(), "setns: " + os.strerror(ctypes.get_errno()))
        os.close(handle)
    child = os.fork()
    if child == 0:
        _execute(argv, env, directory)
    for number in FORWARDED:
        signal.signal(number, lambda received, _: os.kill(child, received))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def capture_inside(pid, argv, env=None, seconds=10):
    """Runs argv in all namespaces of pid; returns the CompletedProcess with its output."""
    command = ["nsenter", f"--target={pid}", "--mount", "--net", "--pid", "--ipc", "--uts", "--"]
    return subprocess.run(command + argv, env=env, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=seconds, check=False)


def _open_namespaces(pid, names):
    try:
        return [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
                for name in names]
    except FileNotFoundError as error:
        raise LabError("the machine went off meanwhile") from error


def _execute(argv, env, directory):
    die_with_parent()
    try:
        os.chdir(directory)
    except OSError:
        os.chdir("/")
    try:
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
    os._exit(127)
