// SPDX-License-Identifier: GPL-2.0-or-later
// Tells a QEMU whose load was cut to listen again, past its main loop, which may itself wait for a
// page. Blocks.
#pragma once

// The second monitor of the VM in RUN_DIR/NAME, while its main loop still answers. Close it.
int oob_monitor_open(const char *run_dir, const char *name);
// QEMU listens on SOCKET_PATH for another pager; tried again until it has noticed that the one
// before is gone.
void oob_monitor_recover(int fd, const char *socket_path);
