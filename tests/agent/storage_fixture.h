// SPDX-License-Identifier: GPL-2.0-or-later
// A node with its own /sys, /dev and /etc in a temporary directory, and programs in place of
// open-iscsi, multipath-tools and LVM that do to it what the real ones do.
#pragma once

#include "hvcore/definition.h"

typedef struct {
    char *root;
    char *log; // what was run, a command line each
} Fixture;

void fixture_set_up(Fixture *fixture, gconstpointer unused);
void fixture_tear_down(Fixture *fixture, gconstpointer unused);

// Makes PATH (below the root) hold TEXT.
void fixture_write(const Fixture *fixture, const char *path, const char *text);
char *fixture_read(const Fixture *fixture, const char *path); // NULL where there is none
bool fixture_has(const Fixture *fixture, const char *path);
// PROGRAM's body, in sh: $root is the root.
void fixture_program(const Fixture *fixture, const char *program, const char *body);

// What a login to PORTAL leads to: session NUMBER with DISK at LUN 1, its WWID (as sysfs has it)
// and size.
void fixture_lun(const Fixture *fixture, const char *portal, int number, const char *disk,
                 const char *wwid, unsigned mib);
// iscsiadm's exit code for what has WORD on its command line.
void fixture_exit(const Fixture *fixture, const char *word, int status);
char *fixture_log(const Fixture *fixture);
unsigned fixture_count(const Fixture *fixture, const char *word); // of command lines that hold WORD

// A definition with STORAGE (entries of JSON) of VM "web".
HvDefinition *fixture_definition(const char *storage);
// ERROR says PART; it is freed.
void fixture_assert_error(GError *error, const char *part);
// Makes STORAGE available, as before a start.
bool fixture_available(const char *storage, GError **error);
// It is refused, and the error says PART.
void fixture_assert_refused(const char *storage, const char *part);
// The kernel's name of what the link of storage "data" leads to; NULL where there is none.
char *fixture_device_of_link(void);
