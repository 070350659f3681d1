// SPDX-License-Identifier: GPL-2.0-or-later
// What hvcore's tests share.
#pragma once

#include "hvcore/vm.h"
#include <jansson.h>

// A private directory that is removed at the end of the scope, with what lies in it.
typedef char TestDir;
TestDir *test_dir_new(void);
void test_dir_free(TestDir *dir);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestDir, test_dir_free)

// Runs the default main context until *CONDITION, SECONDS at most; false where it did not come.
// Wakes up for events only.
bool test_wait(const bool *condition, unsigned seconds);
// The same for a condition that has to be asked for after each event.
bool test_wait_for(bool (*condition)(gpointer data), gpointer data, unsigned seconds);

// A small valid definition; DISK may be NULL, EXTRA ("" or ",\"vcpus\":2") is put in.
char *test_definition_text(const char *disk, const char *extra);
HvDefinition *test_definition(const char *disk, const char *extra);
// Parses; asserts that it is refused with HV_ERROR_DEFINITION and that the message begins with
// PREFIX and holds PART.
void test_refused(const char *text, const char *prefix, const char *part);

// Writes a boot sector that runs CODE. The caller frees the path.
char *test_boot_disk(const char *dir, const unsigned char *code, size_t length);

// The answer to one asynchronous call.
typedef struct {
    bool called;
    unsigned count;
    GError *error;
} TestAnswer;
void test_answer_done(HvVm *vm, const GError *error, gpointer data);
void test_answer_clear(TestAnswer *answer);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TestAnswer, test_answer_clear)
// Waits for it, asserts that it is called and without error.
void test_answer_ok(TestAnswer *answer);

// What HvVmEvents told. DATA of the VM must point to one.
typedef struct {
    bool exited;
    int exit_status;
    HvMigrationStatus migration;
    char *shutdown_reason;
} TestEvents;
extern const HvVmEvents test_events;
void test_events_clear(TestEvents *events);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TestEvents, test_events_clear)

// QEMU of this machine under TCG.
HvNode *test_node(void);
// Kills a VM's QEMU and waits for its end; for the end of a test, however it went.
void test_vm_reap(HvVm *vm);
void test_vm_wait_state(HvVm *vm, HvRunState state);

static inline void test_json_decref(json_t *json)
{
    json_decref(json);
}
