# SPDX-License-Identifier: GPL-2.0-or-later
"""The text: storage, the table of cases, and what follows from them."""

import peers

QUIET = 0.1  # of the CPU time

COLUMNS = (
    # head, unit, align right
    ("", "", False), ("runs", "", True), ("blackout", "p50 ms", True), ("p99", "ms", True),
    ("max", "ms", True), ("guest", "p50 ms", True), ("idle", "p50 ms", True), ("total", "s", True),
    ("used", "MiB", True), ("written", "MiB", True), ("read", "MiB", True), ("lost work", "s", True),
    ("lost CPU", "s", True), ("after", "%", True),
)


def number(value, digits=0):
    if value is None:
        return "-"
    if digits and abs(value) >= 100:
        digits = 0
    return f"{value:.{digits}f}"


def _row(case):
    blackout, inside, idle = (case[key] or {} for key in
                              ("blackout_ms", "guest_blackout_ms", "idle_gap_ms"))
    after = case["rate_after"]
    return [
        f"  {case['peer']}", number(case["runs"]), number(blackout.get("p50"), 1),
        number(blackout.get("p99"), 1), number(blackout.get("max"), 1), number(inside.get("p50"), 1),
        number(idle.get("p50"), 1), number(case["total_s"], 1), number(case["used_mib"]),
        number(case["written_mib"]), number(case["read_mib"]), number(case["lost_work_s"], 2),
        number(case.get("lost_cpu_s"), 2),
        number(after * 100 if after is not None else None),
    ]


def _lines(rows, columns):
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    for row in rows:
        cells = [cell.rjust(width) if right else cell.ljust(width)
                 for cell, width, (_, _, right) in zip(row, widths, columns)]
        yield "  ".join(cells).rstrip()


def _limit(case):
    return f"{case['storage_mb_s']} MB/s" if case["storage_mb_s"] else "no limit"


def _table(cases):
    heads = [[column[0] for column in COLUMNS], [column[1] for column in COLUMNS]]
    lines = list(_lines(heads + [_row(case) for case in cases], COLUMNS))
    yield from lines[:2]
    group = None
    for case, line in zip(cases, lines[2:]):
        here = (f"{case['ram_mib']} MiB ({case['filled_mib']} filled), storage: {_limit(case)}, "
                f"dirty {case['dirty_mb_s']} MB/s")
        if group != here:
            yield here
        group = here
        yield line + ("  FAILED" if case["failed"] else "")


def _order(case):
    return (case["ram_mib"], -(case["storage_mb_s"] or 1 << 30), case["dirty_mb_s"],
            list(peers.BY_NAME).index(case["peer"]))


def _validation(storage):
    yield f"storage: {storage['description']}; MB/s as dd measured it"
    for found in storage["validation"]:
        values = ", ".join(f"{key.replace('_', ' ')} {number(value)}" for key, value in found.items()
                           if key not in ("storage_mb_s", "ok"))
        yield f"  {_limit(found):>9}: {values}{'' if found['ok'] else '   THE LIMIT DOES NOT HOLD'}"


def _ratio_line(ratio):
    sizes = f"{ratio['ram_mib']} MiB, " if "ram_mib" in ratio else ""
    return (f"  {number(ratio['value'], 2):>8}  {ratio['what']} ({sizes}{_limit(ratio)}, dirty "
            f"{ratio['dirty_mb_s']})")


def _faults(cases):
    for case in cases:
        if case["faults"]:
            told = ", ".join(f"{key.removeprefix('fault_').removesuffix('_us')} {value}"
                             for key, value in case["faults"].items())
            yield (f"  {case['peer']:<15} {case['ram_mib']:>5} MiB, {_limit(case):>9}, dirty "
                   f"{case['dirty_mb_s']:>2}: {told}")


def text(results, ratios):
    """The whole report, line by line."""
    machine, cases = results["machine"], sorted(results["cases"], key=_order)
    yield f"{machine['cpus']} x {machine['cpu']}, {machine['memory_mib']} MiB, Linux {machine['kernel']}"
    yield f"{machine['qemu']}, TCG; guest: {results['plan']['guest']}"
    if machine["busy_before"] > QUIET:
        yield (f"NOT QUIET: {machine['busy_before']:.0%} of the CPU time was used before anything "
               "began; these figures are worth little")
    yield from _validation(results["storage"])
    yield ""
    yield from _table(cases)
    yield ""
    yield "guest: by the guest's clock.  idle: the longest silence before a move.  lost work: of the 30 s"
    yield "from when the move was asked for.  after: the work's rate then, against before.  --help has all."
    late = [case["probe_late_in_blackout_ms"] for case in cases
            if case["probe_late_in_blackout_ms"] is not None]
    if late:
        yield f"The probe itself was late in a blackout for {max(late):.1f} ms at most."
    for case in cases:
        if case.get("cold_ms"):
            yield (f"{case['peer']}, {case['ram_mib']} MiB: from `cont` with all memory there to the first "
                   f"answer: p50 {number(case['cold_ms']['p50'], 1)} ms.")
    if ratios:
        yield from ["", "ratios"] + [_ratio_line(ratio) for ratio in ratios]
    faults = list(_faults(cases))
    if faults:
        yield from ["", "page faults while pages are loaded, us (the worst move of each case)"] + faults
    for case in cases:
        if case["failed"]:
            yield (f"FAILED {case['peer']} {case['ram_mib']} MiB, storage {_limit(case)}, "
                   f"dirty {case['dirty_mb_s']}: {case['failed']}")
