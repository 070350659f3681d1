// SPDX-License-Identifier: GPL-2.0-or-later
// How a save ends that nobody reads any more.
//
// Not by migrate_cancel: where that comes when QEMU (before 10.0) is about to stop the guest for
// the last pass, QEMU goes through with the stop, gives its disks up as a source does that has
// migrated, and lets the guest run on without taking them back. The guest's next write ends QEMU
// ("Assertion
// `!(bs->open_flags & BDRV_O_INACTIVE)' failed"). A stream that is cut fails the migration, and
// then the disks are taken back.
#include "hvcore/vm_private.h"

enum { POLL_MS = 20, PATIENCE_MS = 5000 };

static void ended(HvVm *vm)
{
    HvDoneFn done = vm->save_end.done;
    vm->save_end.done = NULL;
    done(vm, NULL, vm->save_end.data);
}

static void known(HvVm *vm, const HvMigration *migration, const GError *error, gpointer data);

static gboolean look(gpointer pointer)
{
    HvVm *vm = pointer;
    vm->save_end.timer = 0;
    hv_vm_query_migration(vm, known, NULL);
    return G_SOURCE_REMOVE;
}

static void known(HvVm *vm, const HvMigration *migration, const GError *error, gpointer data)
{
    (void)data;
    if (error || migration->status != HV_MIGRATION_ACTIVE) {
        ended(vm);
        return;
    }
    if (vm->save_end.cancel_us != 0 && g_get_monotonic_time() >= vm->save_end.cancel_us) {
        vm->save_end.cancel_us = 0;
        hv_vm_simple(vm, "migrate_cancel", NULL, NULL);
    }
    vm->save_end.timer = g_timeout_add(POLL_MS, look, vm);
}

void hv_vm_save_end(HvVm *vm, HvDoneFn done, gpointer data)
{
    bool under_way = vm->save_end.done != NULL;
    vm->save_end.done = done;
    vm->save_end.data = data;
    vm->save_end.cancel_us = g_get_monotonic_time() + (gint64)PATIENCE_MS * 1000;
    if (!under_way)
        (void)look(vm);
}
