// SPDX-License-Identifier: GPL-2.0-or-later
// Opens a VM's serial console: an HTTP upgrade, at the node that runs the VM.
#pragma once

#include "migrate/command/client.h"

enum {
    CONSOLE_ANSWER_MS = 10 * 1000,
    CONSOLE_SEND_MS = 10 * 1000,
    CONSOLE_IDLE_S = 15, // without a word; then the node is asked for a sign of life (TCP keepalive)
    CONSOLE_PROBE_S = 5, // and again
};

typedef struct {
    CURL *handle;
    GString *early; // console output that came along with the answer
} Console;

// False with ERROR where there is no console to be had; then CONSOLE is empty.
bool console_open(Client *client, const Options *options, const char *vm, Console *console,
                  GError **error);
void console_clear(Console *console);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Console, console_clear)

// Waits until all is sent.
bool console_send(Console *console, const char *bytes, size_t length, GError **error);
// Bytes received, 0 where there are none now, -1 where the console was closed.
gssize console_receive(Console *console, char *bytes, size_t room);
int console_socket(const Console *console);
