// SPDX-License-Identifier: GPL-2.0-or-later
// A text in place of /proc/self/mountinfo, and its lines as WWIDs: what is found is whole, and a
// name that was normalized stays as it is.
#include "tests/fuzz/fuzz.h"

#include "hvcore/mount_table.h"
#include "hvcore/wwid.h"

#include <string.h>

static void check_line(const char *table, const char *line)
{
    g_auto(GStrv) fields = g_strsplit(line, " ", -1);
    for (char **field = fields; *field != NULL; field++) {
        g_auto(HvMount) found = {0};
        g_auto(HvMount) same = {0};
        g_autofree char *once = hv_wwid_normalize(*field);
        FUZZ_REQUIRE(once != NULL, "no name for %s", *field);
        if (!hv_mount_at(table, *field, &found))
            continue;
        FUZZ_REQUIRE(strcmp(found.point, *field) == 0 && found.source != NULL &&
                         found.fstype != NULL,
                     "at %s: half a mount", *field);
        FUZZ_REQUIRE(hv_mount_of(table, found.device, &same), "at %s: no mount of its device",
                     *field);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput input = {data, size};
    g_autofree char *table = fuzz_rest(&input);
    g_auto(GStrv) lines = g_strsplit(table, "\n", 64);
    for (char **line = lines; *line != NULL; line++)
        check_line(table, *line);
    return 0;
}
