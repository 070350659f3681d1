# SPDX-License-Identifier: GPL-2.0-or-later
"""What follows from the cases of one run."""

from peers import LIVE

KEY = ("ram_mib", "storage_mb_s", "dirty_mb_s")


def _median(case):
    return case["blackout_ms"]["p50"] if case and case["blackout_ms"] else None


def _ratio(what, above, below, case, keys=KEY):
    """None where it would say nothing: lost work can be less than nothing, as rates vary."""
    if above is None or below is None or above < 0 or below <= 0:
        return None
    return {"what": what, "value": round(above / below, 3)} | {key: case[key] for key in keys}


def _against_peers(case, beside):
    for peer in ("virtualdomain-save", "qemu-save", *LIVE):
        yield _ratio(f"{peer}'s blackout / vmferry's", _median(beside.get(peer)), _median(case), case)
    for peer, other in beside.items():
        if peer != "vmferry":
            for what, key in (("work", "lost_work_s"), ("CPU time", "lost_cpu_s")):
                yield _ratio(f"vmferry's lost {what} / {peer}'s", case.get(key), other.get(key), case)
    yield _ratio("vmferry: written / RAM that is not zero", case["written_mib"], case["used_mib"], case)


def _validates(case):
    """Saving and restoring take at least 2 x what is saved / bandwidth."""
    if not case["storage_mb_s"] or not case["blackout_ms"]:
        return None
    expected = 2 * case["used_mib"] * 1.048576 / case["storage_mb_s"] * 1000
    return _ratio("virtualdomain-save: blackout / (2 x used RAM / bandwidth)", _median(case), expected,
                  case)


def _flat(cases):
    sizes = sorted({case["ram_mib"] for case in cases})
    if len(sizes) < 2:
        return
    for case in cases:
        if case["ram_mib"] != sizes[0]:
            continue
        big = next((other for other in cases if other["ram_mib"] == sizes[-1]
                    and all(other[key] == case[key] for key in KEY[1:])), None)
        yield _ratio(f"vmferry: blackout of {sizes[-1]} MiB / of {sizes[0]} MiB", _median(big),
                     _median(case), case, KEY[1:])


def derive(cases):
    """A list of {what, value, and the case's sizes}."""
    good = [case for case in cases if not case["failed"]]
    found = []
    for case in good:
        if case["peer"] == "vmferry":
            beside = {other["peer"]: other for other in good
                      if all(other[key] == case[key] for key in KEY)}
            found += _against_peers(case, beside)
        if case["peer"] == "virtualdomain-save":
            found.append(_validates(case))
    found += _flat([case for case in good if case["peer"] == "vmferry"])
    return [ratio for ratio in found if ratio is not None]
