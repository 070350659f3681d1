# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be measured."""

import argparse
from dataclasses import asdict, dataclass

import peers
from guest import KINDS, Bare, Linux

HELP = """\
Measures planned moves of the same guest by vmferry and by its peers, in one run, in a lab of two nodes
on this machine. Needs root; installs what is missing from Debian's packages.

peers:
{peers}

what is measured, for each case (peer x RAM x storage bandwidth x dirty rate):
  blackout        outside: udp-probe on the lab's LAN asks the guest by UDP every millisecond. The
                  longest time between the arrivals of two answers that came one after the other, less
                  the interval of 1 ms, from when the move was asked for to 1.5 s after its end.
                  Nothing is sent twice, so no retransmission timer is in it.
  guest blackout  by the guest's own clock: how long the guest's monotonic clock stood still (its offset
                  to the probe's clock after the blackout less that before; a paused guest does not
                  see its pause) plus the longest time between two ticks of the guest's 1 ms loop
                  around it, by its clock (the stalls that it can see).
  idle gap        the same as blackout, just before the move: what this machine does to a guest that
                  nobody moves.
  cold            qemu-save only, in its own line: from `cont` in the new QEMU, with all memory there, to
                  the first answer. Under TCG the new QEMU has no code translated yet, and the guest has
                  to run some 4,000 pieces of it before it answers: that is in every peer's blackout.
  total           from when the move was asked for until nothing of it is under way: the command is
                  back, Pacemaker idle, the source's QEMU gone, all pages loaded.
  written, read   at the storage's block device (the kernel's counters), from when the move was asked
                  for until its end, what was in the page cache flushed.
  lost work       the guest's work loop computes on all its filled memory. Over the {window:g} s from when
                  the move was asked for: the integral of 1 - rate/baseline, baseline being the rate
                  in the {calm:g} s before. The counter travels in the answers, so the probe's clock counts.
  lost CPU        the same of the CPU time that the guest's vCPU has got, as the host counts it: what the
                  move kept it from running, however fast the machine is meanwhile.
  used            RAM that is not zero, counted in QEMU's memory before the first move.

The guest (1 vCPU, TCG, virtio-net, no disk) has half of its RAM filled with incompressible data; the work
loop reads it in objects of 64 KiB, three of four from an eighth of them that lies scattered, and writes
single pages anywhere at the dirty rate. After a case's moves its memory is checked.

With --guest bare it has no operating system, and answers right after `cont`: what the outside sees is the
move, without what TCG needs for a kernel (cold). Its work loop reads single pages, and it writes none.

The storage is one ext4 on a loop device, mounted in both nodes, limited by the kernel's block throttling,
reads and writes each; --json has what dd got. What a peer saved through the page cache is flushed
and dropped from it before it is restored: on another computer it would not be there.
"""


@dataclass
class Plan:
    """The options after the defaults."""
    peers: list
    ram: list
    storage: list
    dirty: list
    rounds: int         # the peers take turns so often
    runs: dict          # by peer, in each round
    work_runs: int      # of these, so many with the lost work
    window: float       # of the lost work, seconds
    calm: float         # before it
    settle: float | None  # the window ends so long after the move; None = it is not cut
    guest: str
    quick: bool
    most_seconds: float | None  # after which no case begins any more
    usual: bool         # only the cases that belong to the comparison
    json: bool
    out: str | None
    lab: str | None

    def cases(self):
        """Of one round, in the order that boots the fewest guests: (ram, peer, [(storage, dirty), ...])."""
        found = []
        for ram in self.ram:
            for peer in self.peers:
                pairs = [(storage, dirty) for storage in self.storage for dirty in self.dirty
                         if not self.usual or peers.is_usual(peer, dirty)]
                if pairs:
                    found.append((ram, peer, pairs))
        return found

    def runs_of(self, peer, storage_mb_s):
        """Quick: a throttled move takes long, one has to do."""
        return 1 if self.quick and storage_mb_s else self.runs[peer]

    def as_json(self):
        return {key: value for key, value in asdict(self).items()
                if key not in ("json", "out", "lab")}


FULL = {"ram": [512, 2048, 4096], "storage": [0, 500, 250, 125], "dirty": [0, 10, 50], "runs": 5,
        "work_runs": 1, "window": 30.0, "calm": 10.0}
QUICK = {"ram": [512], "storage": [0, 125], "dirty": [0], "runs": 2, "work_runs": 1, "window": 30.0,
         "calm": 3.0}
QUICK_SETTLE = 4.0
QUICK_SECONDS = 260.0  # a case takes up to half a minute


def _numbers(text):
    return [int(part) for part in text.split(",")]


def _peers(text):
    names = text.split(",")
    unknown = set(names) - set(peers.BY_NAME)
    if unknown:
        raise argparse.ArgumentTypeError(
            f"no peer {', '.join(sorted(unknown))}; there are {', '.join(peers.BY_NAME)}")
    return names


def _runs(text):
    """N, or N,PEER=N,...: {None: N, PEER: N}."""
    found = {}
    for part in text.split(","):
        peer, equals, number = part.rpartition("=")
        if equals and peer not in peers.BY_NAME:
            raise argparse.ArgumentTypeError(f"no peer {peer}")
        found[peer or None] = int(number)
    if min(found.values()) < 1:
        raise argparse.ArgumentTypeError("at least one run")
    return found


def _rounds(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one round")
    return number


def parse(argv):
    listed = "\n".join(f"  {name:<27} {what}".replace("\n", "\n" + " " * 30)
                       for name, what in peers.TEXTS.items())
    parser = argparse.ArgumentParser(
        prog="tests/bench/blackout", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=HELP.format(peers=listed, window=FULL["window"], calm=FULL["calm"]))
    add = parser.add_argument
    add("--peers", type=_peers, metavar="NAME,...", help="default: all that are usual")
    add("--ram", type=_numbers, metavar="MIB,...", help="default 512,2048,4096")
    add("--storage", type=_numbers, metavar="MB/S,...", help="0 = no limit; default 0,500,250,125")
    add("--dirty", type=_numbers, metavar="MB/S,...", help="default 0,10,50")
    add("--runs", type=_runs, metavar="N[,PEER=N...]", help="moves in a case; default 5")
    add("--rounds", type=_rounds, metavar="N", default=1,
        help="the peers take turns N times, with so many moves each time and guests booted anew: what else the "
             "machine does meets all of them alike; default 1")
    add("--work-runs", type=int, metavar="N",
        help="so many of them, in each round, with the lost work, which takes 40 s each; default 1")
    add("--guest", choices=list(KINDS), default=Linux.name, help="default %(default)s")
    add("--quick", action="store_true",
        help="the smallest honest subset, in at most 5 minutes: 512 MiB, dirty rate 0, without a limit "
             "(2 moves) and 125 MB/s (1); the lost work's window ends 4 s after a move's end, what would "
             "come later counts as no loss")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    add("--out", metavar="FILE", help="keep the results in FILE after each case; cases that are in it "
                                      "already and did not fail are not measured again")
    add("--lab", metavar="NAME", help="the lab's name; default benchPID")
    given = parser.parse_args(argv)
    if given.guest == Bare.name:
        given.dirty = given.dirty or [0]
        if any(given.dirty):
            parser.error("the bare guest writes nothing: --guest bare needs --dirty 0")
    return _plan(given)


def _plan(options):
    usual = QUICK if options.quick else FULL

    def chosen(name):
        given = getattr(options, name)
        return usual[name] if given is None else given
    names = options.peers or list(peers.BY_NAME)
    runs = chosen("runs")
    runs = runs if isinstance(runs, dict) else {None: runs}
    default = runs.get(None, usual["runs"])
    return Plan(peers=names, ram=chosen("ram"), storage=chosen("storage"), dirty=chosen("dirty"),
                rounds=options.rounds, runs={name: runs.get(name, default) for name in names},
                work_runs=chosen("work_runs"), window=usual["window"], calm=usual["calm"],
                settle=QUICK_SETTLE if options.quick else None, guest=options.guest, quick=options.quick,
                most_seconds=QUICK_SECONDS if options.quick else None,
                usual=options.peers is None, json=options.json, out=options.out, lab=options.lab)
