# SPDX-License-Identifier: GPL-2.0-or-later
"""One move's figures, from what the probe saw."""

from dataclasses import dataclass

SILENCES = 5  # to tell: when they began and how long they were
AFTER_SECONDS = 1.5   # of probing after a move
GUEST_SECONDS = 0.5   # around a silence: where the guest's own longest gap is looked for
RATE_SECONDS = 3.0    # at the end of the window: the rate after the move


@dataclass
class Move:
    """When a move was asked for, when nothing of it was under way any more, and, where that is known,
    when the guest was let run again with all of its memory there (Unix times)."""
    asked: float
    settled: float
    resumed: float | None = None


def ms(seconds):
    return round(seconds * 1000, 3)


def figures(seen, move, calm):
    """Without the lost work. CALM: seconds of probing before the move."""
    gap = seen.longest_gap(move.asked, move.settled + AFTER_SECONDS)
    stopped = max(0.0, seen.clock_stood_still(gap.start, gap.end))
    ticks = seen.guest_gap(gap.start - GUEST_SECONDS, gap.end + GUEST_SECONDS)
    idle = seen.longest_gap(move.asked - calm + 0.2, move.asked - 0.05)
    return {
        "blackout_ms": ms(gap.blackout),
        "blackout_begins_s": round(gap.start - move.asked, 4),
        "probe_late_in_it_ms": ms(seen.probe_late(gap)),
        "silences": [[round(each.start - move.asked, 4), ms(each.blackout)] for each in
                     seen.longest_gaps(move.asked, move.settled + AFTER_SECONDS, SILENCES)],
        "guest_blackout_ms": ms(stopped + ticks),
        "guest_clock_stopped_ms": ms(stopped),
        "guest_longest_gap_ms": ms(ticks),
        "idle_gap_ms": ms(idle.blackout),
        "cold_ms": ms(seen.first_after(move.resumed) - move.resumed) if move.resumed else None,
        "total_s": round(move.settled - move.asked, 3),
        "probe": seen.summary,
    }


def _deficit(done_at, move, calm, end):
    """How many seconds of what was done before the move are missing until END, and how much that was in one."""
    begin = move.asked - calm + 0.2
    rate = (done_at(move.asked) - done_at(begin)) / (move.asked - begin)
    return end - move.asked - (done_at(end) - done_at(move.asked)) / rate, rate


def lost_work(seen, move, calm, seconds, until):
    """The integral of the throughput's deficit over SECONDS from when the move was asked for. Probing
    ended at UNTIL: what would come later counts as no loss."""
    end = min(move.asked + seconds, until)
    deficit, baseline = _deficit(seen.work_at, move, calm, end)
    after = seen.rate(max(move.asked, end - RATE_SECONDS), end) / baseline
    return {"lost_work_s": round(deficit, 3), "window_s": round(end - move.asked, 1),
            "rate_pages_s": round(baseline), "rate_after": round(after, 3)}


def lost_cpu(cpu, move, calm, seconds, until):
    """As lost_work(), of the vCPU's CPU time: what the guest could not run, whatever the rate it ran at."""
    deficit, share = _deficit(cpu.at, move, calm, min(move.asked + seconds, until))
    return {"lost_cpu_s": round(deficit, 3), "cpu_share": round(share, 3)}
