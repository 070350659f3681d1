// SPDX-License-Identifier: GPL-2.0-or-later
// Saving and loading a VM's memory.
#include "hvcore/clean_bits.h"
#include "hvcore/vm_dir.h"
#include "hvcore/vm_private.h"

#include <string.h>

enum { THROTTLE_STEP = 20 }; // per cent

static json_t *capability(const char *name, bool state)
{
    return json_pack("{s:s, s:b}", "capability", name, "state", (int)state);
}

json_t *hv_capabilities(bool with_postcopy, bool postcopy)
{
    json_t *list = json_array();
    json_array_append_new(list, capability("events", true));
    if (with_postcopy)
        json_array_append_new(list, capability("postcopy-ram", postcopy));
    return json_pack("{s:o}", "capabilities", list);
}

static json_t *uri(const char *path)
{
    g_autofree char *text = g_strconcat("unix:", path, NULL);
    return json_pack("{s:s}", "uri", text);
}

// auto-converge is none of the capabilities that the stream's configuration section names: it does
// not matter to the one who loads.
static json_t *save_capabilities(unsigned max_throttle)
{
    json_t *arguments = hv_capabilities(true, false);
    json_array_append_new(json_object_get(arguments, "capabilities"),
                          capability("auto-converge", max_throttle > 0));
    return arguments;
}

static json_t *save_parameters(unsigned downtime_ms, unsigned max_throttle)
{
    json_t *arguments =
        json_pack("{s:i, s:I}", "max-bandwidth", 0, "downtime-limit", (json_int_t)downtime_ms);
    if (max_throttle == 0)
        return arguments;
    json_object_set_new(arguments, "cpu-throttle-initial",
                        json_integer(MIN(THROTTLE_STEP, max_throttle)));
    json_object_set_new(arguments, "cpu-throttle-increment", json_integer(THROTTLE_STEP));
    json_object_set_new(arguments, "max-cpu-throttle", json_integer(max_throttle));
    return arguments;
}

void hv_vm_save(HvVm *vm, const char *path, unsigned downtime_ms, HvDoneFn done, gpointer data)
{
    g_autoptr(GError) error = NULL;
    if (vm->pid && !hv_vm_dir_give(path, vm->pid, &error)) {
        hv_vm_answer_later(vm, done, data, g_steal_pointer(&error));
        return;
    }
    HvSteps *steps = hv_steps_new(HV_COMMAND_MS);
    // A VM that was restored lazily still has postcopy-ram on, which would change the stream.
    hv_steps_add(steps, "migrate-set-capabilities", save_capabilities(vm->max_throttle), NULL);
    hv_steps_add(steps, "migrate-set-parameters", save_parameters(downtime_ms, vm->max_throttle),
                 NULL);
    hv_steps_add(steps, "migrate", uri(path), NULL);
    hv_steps_run(steps, vm, done, data);
}

void hv_vm_set_max_throttle(HvVm *vm, unsigned percent)
{
    vm->max_throttle = percent;
}

void hv_vm_save_limit(HvVm *vm, unsigned downtime_ms, HvDoneFn done, gpointer data)
{
    HvSteps *steps = hv_steps_new(HV_COMMAND_MS);
    hv_steps_add(steps, "migrate-set-parameters",
                 json_pack("{s:I}", "downtime-limit", (json_int_t)downtime_ms), NULL);
    hv_steps_run(steps, vm, done, data);
}

void hv_vm_load(HvVm *vm, const char *path, bool lazy, HvDoneFn done, gpointer data)
{
    HvSteps *steps = hv_steps_new(HV_COMMAND_MS);
    hv_steps_add(steps, "migrate-set-capabilities", hv_capabilities(true, lazy), NULL);
    hv_steps_add(steps, "migrate-incoming", uri(path), NULL);
    hv_steps_run(steps, vm, done, data);
}

// --- query-migrate ---

typedef struct {
    HvVm *vm; // held
    HvMigrationFn done;
    gpointer data;
} Query;

static void query_free(gpointer pointer)
{
    Query *query = pointer;
    hv_vm_release(query->vm);
    g_free(query);
}

static uint64_t number(json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static void fill_in(const HvVm *vm, HvMigration *migration, json_t *result)
{
    json_t *ram = json_object_get(result, "ram");
    const char *problem = json_string_value(json_object_get(result, "error-desc"));
    uint64_t page_size = number(ram, "page-size");
    migration->status = hv_clean_bits_status(vm, result);
    migration->ram_total = number(ram, "total");
    migration->ram_remaining = number(ram, "remaining");
    migration->ram_transferred = number(ram, "transferred");
    migration->dirty_rate = number(ram, "dirty-pages-rate") * (page_size ? page_size : 4096);
    migration->passes = (uint32_t)MIN(number(ram, "dirty-sync-count"), G_MAXUINT32);
    migration->throttle =
        (uint32_t)MIN(number(result, "cpu-throttle-percentage"), (uint64_t)100);
    migration->downtime_ms = (uint32_t)MIN(number(result, "downtime"), G_MAXUINT32);
    const char *end;
    g_strlcpy(migration->error, problem ? problem : "", sizeof migration->error);
    if (!g_utf8_validate(migration->error, -1, &end)) // cut within a letter
        migration->error[end - migration->error] = '\0';
}

static void on_migration_info(json_t *result, const GError *error, gpointer pointer)
{
    Query *query = pointer;
    HvMigration migration = {0};
    if (query->vm->freed)
        return;
    if (!error)
        fill_in(query->vm, &migration, result);
    query->done(query->vm, &migration, error, query->data);
}

void hv_vm_query_migration(HvVm *vm, HvMigrationFn done, gpointer data)
{
    Query *query = g_new(Query, 1);
    *query = (Query){hv_vm_hold(vm), done, data};
    hv_vm_command(vm, "query-migrate", NULL, HV_COMMAND_MS, on_migration_info, query, query_free);
}
