// SPDX-License-Identifier: GPL-2.0-or-later
// RUN_DIR/NAME/process.json: all that is needed to find a VM's QEMU again. Written before QEMU runs
// its first instruction; where there is none, there is no QEMU. Internal to hvcore.
#pragma once

#include "hvcore/definition.h"
#include <sys/types.h>

typedef struct {
    pid_t pid;
    uint64_t start_time; // field 22 of /proc/PID/stat: clock ticks since boot
    char *boot_id;
    uint64_t epoch;
    HvDefinition *definition; // as QEMU was started with
    int rescue_fd;            // what QEMU has it as (hvcore/rescue.h); -1: it has none
} HvProcessFile;

void hv_process_file_clear(HvProcessFile *file);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HvProcessFile, hv_process_file_clear)

char *hv_vm_dir(const char *run_dir, const char *name);                    // caller frees
char *hv_vm_file(const char *run_dir, const char *name, const char *file); // caller frees

bool hv_process_file_write(const char *run_dir, const HvProcessFile *file, GError **error);
// HV_ERROR_NOT_RUNNING: there is none. HV_ERROR_UNKNOWN: it cannot be read or understood.
bool hv_process_file_read(const char *run_dir, const char *name, HvProcessFile *file,
                          GError **error);
// This boot's id; the caller frees it.
char *hv_boot_id(GError **error);
