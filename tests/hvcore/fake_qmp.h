// SPDX-License-Identifier: GPL-2.0-or-later
// A scripted QMP peer on a socket pair, driven by the main loop: commands are expected in order;
// one that is not expected, or that QEMU does not know, fails the test.
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct {
    const char *expect; // the command; NULL ends the script
    // Sent in answer, "$ID" replaced by the command's id; NULL: no answer; "CUT": hangs up.
    const char *reply;
} FakeStep;

typedef struct FakeQmp FakeQmp;

// Greets at once unless GREETING says otherwise (NULL: QEMU's; "" none).
FakeQmp *fake_qmp_new(int *client_fd, const char *greeting, const FakeStep *steps);
void fake_qmp_free(FakeQmp *fake);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FakeQmp, fake_qmp_free)

// Sends TEXT as it is ("$LAST" is the id of the last command) and a newline.
void fake_qmp_send(FakeQmp *fake, const char *text);
void fake_qmp_send_raw(FakeQmp *fake, const char *text);
void fake_qmp_hang_up(FakeQmp *fake);
bool fake_qmp_done(gpointer fake); // the whole script was played

// Commands and events that scripts may use; schema_test compares them with the real QEMU.
extern const char *const fake_qmp_commands[];
extern const char *const fake_qmp_events[];
