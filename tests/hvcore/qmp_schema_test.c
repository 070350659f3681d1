// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: the commands and events that the fake peer knows are the real QEMU's.
#include "hvcore/process_file.h"
#include "hvcore/qmp_blocking.h"
#include "tests/hvcore/fake_qmp.h"
#include "tests/hvcore/isolate.h"
#include "tests/hvcore/vm_fixture.h"

#include <string.h>

static bool has(json_t *schema, const char *type, const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(
        schema, i,
        entry) if (strcmp(json_string_value(json_object_get(entry, "meta-type")), type) == 0 &&
                   strcmp(json_string_value(json_object_get(entry, "name")), name) ==
                       0) return true;
    return false;
}

static json_t *ask_schema(VmFixture *f)
{
    g_autofree char *path = hv_vm_file(f->run_dir, "web1", "qmp-aux.sock");
    g_autoptr(GError) error = NULL;
    g_auto(QmpBlocking) qmp = {.fd = -1};
    gint64 end_us = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;
    g_assert_true(qmp_blocking_open(&qmp, path, end_us, &error));
    json_t *schema = qmp_blocking_execute(&qmp, "query-qmp-schema", &error);
    g_assert_no_error(error);
    return schema;
}

static void test_schema(VmFixture *f, gconstpointer data)
{
    (void)data;
    vm_fixture_launch(f);
    json_t *schema = ask_schema(f);
    for (size_t i = 0; fake_qmp_commands[i]; i++)
        if (!has(schema, "command", fake_qmp_commands[i]))
            g_error("QEMU has no command %s", fake_qmp_commands[i]);
    for (size_t i = 0; fake_qmp_events[i]; i++)
        if (!has(schema, "event", fake_qmp_events[i]))
            g_error("QEMU has no event %s", fake_qmp_events[i]);
    json_decref(schema);
}

int main(int argc, char **argv)
{
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    g_test_add("/qmp/schema", VmFixture, NULL, vm_fixture_count, test_schema, vm_fixture_clear);
    return g_test_run();
}
