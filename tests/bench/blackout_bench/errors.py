# SPDX-License-Identifier: GPL-2.0-or-later
"""Why something could not be measured."""


class BenchError(Exception):
    """A case, or all, failed; the text says why."""
