// SPDX-License-Identifier: GPL-2.0-or-later
// Runs a test in a PID, mount and network namespace of its own, so that every QEMU it leaves behind
// dies with it, however it ends. To be called first in main. Without the privilege it does nothing.
#pragma once

void test_isolate(void);
