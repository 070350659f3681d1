// SPDX-License-Identifier: GPL-2.0-or-later
// A VM of the real QEMU under TCG with a boot sector as guest.
#pragma once

#include "tests/hvcore/support.h"

typedef struct {
    TestDir *dir;
    char *run_dir; // holds a comma, at which QEMU must not split
    HvNode *node;
    HvDefinition *definition;
    TestEvents events;
    HvVm *vm;
} VmFixture;

// The guest powers itself off at once, counts in memory for ever, or writes 448 KiB over and over.
void vm_fixture_power_off(VmFixture *f, gconstpointer data);
void vm_fixture_count(VmFixture *f, gconstpointer data);
void vm_fixture_write(VmFixture *f, gconstpointer data);
// The guest's next launch is under KVM. False where KVM does not run a guest; REASON (caller frees).
bool vm_fixture_use_kvm(VmFixture *f, char **reason);
void vm_fixture_clear(VmFixture *f, gconstpointer data);
void vm_fixture_launch(VmFixture *f);
void vm_fixture_cont(VmFixture *f);
