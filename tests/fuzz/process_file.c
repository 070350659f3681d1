// SPDX-License-Identifier: GPL-2.0-or-later
// RUN_DIR/NAME/process.json: what is accepted is written and read again as the same.
#include "tests/fuzz/fuzz.h"

#include "hvcore/process_file.h"
#include "hvcore/vm.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define VM "web"

static char *run_dir, *vm_dir, *path;

static void clean_up(void)
{
    (void)g_unlink(path);
    (void)g_rmdir(vm_dir);
    (void)g_rmdir(run_dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_log_quietly();
    run_dir = g_dir_make_tmp("fuzz-process-XXXXXX", NULL);
    vm_dir = hv_vm_dir(run_dir, VM);
    path = hv_vm_file(run_dir, VM, "process.json");
    FUZZ_REQUIRE(g_mkdir(vm_dir, 0700) == 0, "%s cannot be made", vm_dir);
    atexit(clean_up);
    return 0;
}

static bool read_file(HvProcessFile *file)
{
    g_autoptr(GError) error = NULL;
    bool read = hv_process_file_read(run_dir, VM, file, &error);
    fuzz_check_error_names(read, error, VM);
    FUZZ_REQUIRE(error == NULL || g_error_matches(error, HV_ERROR, HV_ERROR_UNKNOWN),
                 "a damaged file means code %d", error->code);
    return read;
}

// However damaged the file is, the VM is known.
static void check_listed(void)
{
    g_autoptr(GError) error = NULL, damage = NULL;
    uint64_t epoch;
    g_auto(GStrv) names = hv_vm_list(run_dir, &error);
    FUZZ_REQUIRE(names != NULL && g_strv_length(names) == 1 && strcmp(names[0], VM) == 0,
                 "it is not listed");
    g_autoptr(HvDefinition) recorded = hv_vm_recorded(run_dir, VM, &epoch, &damage);
    fuzz_check_error(recorded != NULL, damage);
}

static void check_accepted(const HvProcessFile *file)
{
    g_autoptr(GError) error = NULL;
    g_auto(HvProcessFile) again = {0};
    FUZZ_REQUIRE(file->pid > 0 && strcmp(file->definition->name, VM) == 0, "pid %d of %s",
                 (int)file->pid, file->definition->name);
    FUZZ_REQUIRE(file->epoch <= G_MAXINT64, "epoch %" G_GUINT64_FORMAT, file->epoch);
    FUZZ_REQUIRE(hv_process_file_write(run_dir, file, &error), "not written: %s", error->message);
    FUZZ_REQUIRE(read_file(&again), "what was written is refused");
    FUZZ_REQUIRE(again.pid == file->pid && again.start_time == file->start_time &&
                     again.epoch == file->epoch && again.rescue_fd == file->rescue_fd &&
                     strcmp(again.boot_id, file->boot_id) == 0,
                 "read anew as something else");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_auto(HvProcessFile) file = {0};
    fuzz_write_file(path, data, size);
    check_listed();
    if (read_file(&file))
        check_accepted(&file);
    return 0;
}
