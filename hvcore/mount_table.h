// SPDX-License-Identifier: GPL-2.0-or-later
// What is mounted, from proc(5)'s mountinfo. Any thread.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct {
    char *point;  // where
    char *source; // what, as mount says it: "/dev/mapper/x", "nas:/vm"
    char *fstype;
    dev_t device;
} HvMount;

void hv_mount_clear(HvMount *mount);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HvMount, hv_mount_clear)

// /proc/self/mountinfo; NULL where it cannot be read. The caller frees it.
char *hv_mount_table(void);
// The topmost mount at POINT in TABLE. False: nothing is mounted just there.
bool hv_mount_at(const char *table, const char *point, HvMount *mount);
// A mount of the block device DEVICE. False: there is none.
bool hv_mount_of(const char *table, dev_t device, HvMount *mount);
