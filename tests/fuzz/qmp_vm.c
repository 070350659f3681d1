// SPDX-License-Identifier: GPL-2.0-or-later
// What a VM makes of QEMU's events and of its answers to query-status and query-migrate.
#include "tests/fuzz/fuzz.h"

#include "hvcore/unix_socket.h"
#include "hvcore/vm_private.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char definition_text[] =
    "{\"name\":\"web\",\"uuid\":\"3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60\",\"memory_mib\":64,"
    "\"machine\":\"pc-q35-7.2\",\"state_area\":\"/dev/null\"}";

static char *run_dir, *vm_dir, *socket_path;
static int listener;
static HvDefinition *definition;

static void clean_up(void)
{
    (void)g_unlink(socket_path);
    (void)g_rmdir(vm_dir);
    (void)g_rmdir(run_dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    g_autoptr(GError) error = NULL;
    fuzz_log_quietly();
    definition = hv_definition_parse(definition_text, &error);
    FUZZ_REQUIRE(definition != NULL, "%s", error->message);
    run_dir = g_dir_make_tmp("fuzz-qmp-XXXXXX", NULL);
    vm_dir = g_build_filename(run_dir, definition->name, NULL);
    socket_path = g_build_filename(vm_dir, "qmp.sock", NULL);
    FUZZ_REQUIRE(g_mkdir(vm_dir, 0700) == 0, "%s cannot be made", vm_dir);
    listener = hv_unix_listen(socket_path, &error);
    FUZZ_REQUIRE(listener >= 0, "%s", error->message);
    atexit(clean_up);
    return 0;
}

static void on_exited(HvVm *vm, int status, gpointer data)
{
    (void)vm, (void)status, (void)data;
    FUZZ_REQUIRE(false, "a process has ended that there never was");
}

static void on_run_state(HvVm *vm, HvRunState state, gpointer data)
{
    (void)data;
    FUZZ_REQUIRE(state == hv_vm_run_state(vm), "told another state");
    FUZZ_REQUIRE(state == HV_RUN_UNKNOWN || strcmp(hv_run_state_name(state), "unknown") != 0,
                 "state %d has no name", (int)state);
}

static void on_migration(HvVm *vm, HvMigrationStatus status, gpointer data)
{
    (void)vm, (void)data;
    FUZZ_REQUIRE(status >= HV_MIGRATION_NONE && status <= HV_MIGRATION_CANCELLED, "status %d",
                 (int)status);
}

static void on_guest_shutdown(HvVm *vm, const char *reason, gpointer data)
{
    (void)vm, (void)data;
    FUZZ_REQUIRE(g_utf8_validate(reason, -1, NULL), "a reason that is not UTF-8");
}

static void on_migration_info(HvVm *vm, const HvMigration *migration, const GError *error,
                              gpointer data)
{
    (void)vm;
    ++*(unsigned *)data;
    FUZZ_REQUIRE(error != NULL || migration->throttle <= 100, "%u per cent", migration->throttle);
    FUZZ_REQUIRE(memchr(migration->error, '\0', sizeof migration->error) != NULL, "endless error");
    FUZZ_REQUIRE(g_utf8_validate(migration->error, -1, NULL), "an error that is cut in a letter");
}

static void on_done(HvVm *vm, const GError *error, gpointer data)
{
    (void)vm, (void)error;
    ++*(unsigned *)data;
}

static const HvVmEvents vm_events = {.exited = on_exited,
                                     .run_state = on_run_state,
                                     .migration = on_migration,
                                     .guest_shutdown = on_guest_shutdown};

static void answer(HvVm *vm, int peer, FuzzInput *input)
{
    unsigned answers = 0;
    char sent[4096];
    hv_vm_query_status(vm, 1000 * 1000, on_done, &answers);
    hv_vm_query_migration(vm, on_migration_info, &answers);
    hv_vm_save(vm, "/dev/null", 10, on_done, &answers);
    while (input->size > 0) {
        size_t length;
        const uint8_t *bytes = fuzz_bytes(input, 4096, &length);
        if (send(peer, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        fuzz_run_loop();
        while (recv(peer, sent, sizeof sent, MSG_DONTWAIT) > 0)
            ;
    }
    shutdown(peer, SHUT_WR);
    fuzz_run_loop();
    FUZZ_REQUIRE(answers == 3, "%u answers to 3 questions", answers);
    FUZZ_REQUIRE(hv_vm_run_state(vm) == HV_RUN_UNKNOWN, "a state without a monitor");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    FuzzInput input = {data, size};
    HvNode node = {.qemu_path = (char *)"/bin/false", .accelerator = (char *)"tcg"};
    guint mark = fuzz_sources_mark();
    g_autoptr(HvVm) vm = hv_vm_new(definition, &node, run_dir, &vm_events, NULL);
    FUZZ_REQUIRE(hv_vm_connect(vm, &error), "%s", error->message);
    int peer = accept(listener, NULL, NULL);
    vm->run_state = (HvRunState)(fuzz_u8(&input) % (HV_RUN_ERROR + 1));
    answer(vm, peer, &input);
    close(peer);
    g_clear_pointer(&vm, hv_vm_free);
    fuzz_sources_drop(mark);
    return 0;
}
