// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: save and restore under KVM, with a boot sector as guest, where /dev/kvm runs one.
// With --hugepages its memory is in huge pages, which this machine gets for the test, and is loaded
// lazily.
#include "hvcore/hugepages.h"
#include "tests/hvcore/isolate.h"
#include "tests/migrate/restore_support.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SKIPPED = 77, TWO_GUESTS = 64 };

static void set_pool(uint64_t pages)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT "\n", pages);
    int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, text, strlen(text)) < 0)
        printf("nr_hugepages cannot be set\n");
    if (fd >= 0)
        close(fd);
}

static bool in_hugepages(Restore *f, uint64_t pool)
{
    HvHugepages pages = {0};
    set_pool(pool + TWO_GUESTS);
    f->vm.definition->hugepages = true; // nobody has read it yet
    f->lazy = true;
    return hv_hugepages_look(&pages) && pages.available >= TWO_GUESTS;
}

// The guest's memory does come from the pool.
static void check_use(void)
{
    HvHugepages pages;
    g_assert_true(hv_hugepages_look(&pages));
    g_assert_cmpuint(pages.total - pages.available, >=, TWO_GUESTS / 2);
}

int main(int argc, char **argv)
{
    g_autofree char *reason = NULL;
    bool hugepages = argc > 1 && strcmp(argv[1], "--hugepages") == 0;
    HvHugepages before = {0};
    Restore f;
    test_isolate();
    restore_set_up(&f, NULL);
    hv_hugepages_look(&before);
    bool possible =
        vm_fixture_use_kvm(&f.vm, &reason) && (!hugepages || in_hugepages(&f, before.total));
    if (possible)
        restore_round_trip(&f);
    if (possible && hugepages)
        check_use();
    restore_tear_down(&f, NULL);
    if (hugepages)
        set_pool(before.total);
    printf("%s\n", reason);
    return possible ? 0 : SKIPPED;
}
