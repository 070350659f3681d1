// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/process_file.h"

#include "hvcore/definition_private.h"
#include "hvcore/fs.h"
#include "hvcore/vm.h"
#include <errno.h>
#include <string.h>

void hv_process_file_clear(HvProcessFile *file)
{
    g_clear_pointer(&file->boot_id, g_free);
    g_clear_pointer(&file->definition, hv_definition_unref);
}

char *hv_vm_dir(const char *run_dir, const char *name)
{
    return g_build_filename(run_dir, name, NULL);
}

char *hv_vm_file(const char *run_dir, const char *name, const char *file)
{
    return g_build_filename(run_dir, name, file, NULL);
}

char *hv_boot_id(GError **error)
{
    char *text = NULL;
    g_autoptr(GError) problem = NULL;
    if (g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, &problem))
        return g_strstrip(text);
    g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "%s", problem->message);
    return NULL;
}

bool hv_process_file_write(const char *run_dir, const HvProcessFile *file, GError **error)
{
    g_autofree char *path = hv_vm_file(run_dir, file->definition->name, "process.json");
    g_autoptr(json_t) root = json_pack(
        "{s:I, s:I, s:s, s:s, s:I, s:o}", "pid", (json_int_t)file->pid, "start_time",
        (json_int_t)file->start_time, "boot_id", file->boot_id, "uuid", file->definition->uuid,
        "epoch", (json_int_t)file->epoch, "definition", hv_definition_as_json(file->definition));
    if (file->rescue_fd >= 0)
        json_object_set_new(root, "rescue_fd", json_integer(file->rescue_fd));
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS);
    bool written = hv_fs_replace(path, text, error);
    free(text);
    return written;
}

static bool from_json(json_t *root, const char *name, HvProcessFile *file, GError **error)
{
    json_int_t pid, start_time, epoch, rescue_fd = -1;
    const char *boot_id;
    json_t *definition;
    json_error_t problem;
    if (json_unpack_ex(root, &problem, 0, "{s:I, s:I, s:s, s:I, s:o, s?I}", "pid", &pid,
                       "start_time", &start_time, "boot_id", &boot_id, "epoch", &epoch,
                       "definition", &definition, "rescue_fd", &rescue_fd) < 0 ||
        pid <= 0 || pid > G_MAXINT || start_time < 0 || epoch < 0 || rescue_fd < -1 ||
        rescue_fd > G_MAXINT) {
        g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "process.json of %s is damaged: %s", name,
                    problem.text[0] != '\0' ? problem.text : "a number is out of range");
        return false;
    }
    g_autoptr(GError) reason = NULL;
    g_autoptr(HvDefinition) parsed = hv_definition_from_json(definition, &reason);
    if (!parsed || !g_str_equal(parsed->name, name)) {
        g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "process.json of %s is damaged: %s", name,
                    reason ? reason->message : "it is another VM's");
        return false;
    }
    *file = (HvProcessFile){(pid_t)pid,      (uint64_t)start_time,     g_strdup(boot_id),
                            (uint64_t)epoch, g_steal_pointer(&parsed), (int)rescue_fd};
    return true;
}

bool hv_process_file_read(const char *run_dir, const char *name, HvProcessFile *file,
                          GError **error)
{
    g_autofree char *path = hv_vm_file(run_dir, name, "process.json");
    g_autofree char *text = NULL;
    g_autoptr(GError) problem = NULL;
    if (!g_file_get_contents(path, &text, NULL, &problem)) {
        bool none = g_error_matches(problem, G_FILE_ERROR, G_FILE_ERROR_NOENT);
        g_set_error(error, HV_ERROR, none ? HV_ERROR_NOT_RUNNING : HV_ERROR_UNKNOWN, "%s",
                    none ? "no QEMU was started for this VM on this node" : problem->message);
        return false;
    }
    json_error_t syntax;
    g_autoptr(json_t) root = json_loads(text, JSON_REJECT_DUPLICATES, &syntax);
    if (root)
        return from_json(root, name, file, error);
    g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "%s is damaged: %s", path, syntax.text);
    return false;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **hv_vm_list(const char *run_dir, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) problem = NULL;
    g_autoptr(GDir) dir = g_dir_open(run_dir, 0, &problem);
    if (!dir && !g_error_matches(problem, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "%s", problem->message);
        return NULL;
    }
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = hv_vm_file(run_dir, name, "process.json");
        if (g_file_test(path, G_FILE_TEST_EXISTS))
            g_ptr_array_add(names, g_strdup(name));
    }
    g_ptr_array_sort(names, compare_names);
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_steal(names, NULL);
}

HvDefinition *hv_vm_recorded(const char *run_dir, const char *name, uint64_t *epoch, GError **error)
{
    g_auto(HvProcessFile) file = {0};
    if (!hv_process_file_read(run_dir, name, &file, error))
        return NULL;
    if (epoch)
        *epoch = file.epoch;
    return g_steal_pointer(&file.definition);
}
