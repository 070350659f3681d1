// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: save and restore under KVM, with a boot sector as guest, where /dev/kvm runs one.
#include "tests/hvcore/isolate.h"
#include "tests/migrate/restore_support.h"

#include <stdio.h>

enum { SKIPPED = 77 };

int main(void)
{
    g_autofree char *reason = NULL;
    Restore f;
    test_isolate();
    restore_set_up(&f, NULL);
    bool kvm = vm_fixture_use_kvm(&f.vm, &reason);
    if (kvm)
        restore_round_trip(&f);
    restore_tear_down(&f, NULL);
    printf("%s\n", reason);
    return kvm ? 0 : SKIPPED;
}
