// SPDX-License-Identifier: GPL-2.0-or-later
// console VM: a VM's serial console on this terminal.
#include "migrate/command/commands.h"
#include "migrate/command/console_open.h"
#include "migrate/command/error.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

enum { LEAVE = 0x1d }; // Ctrl-]

typedef struct {
    bool raw;
    struct termios before;
    int signals; // signalfd: the terminal is put back whatever ends us
} Terminal;

static void terminal_take(Terminal *terminal)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    terminal->signals = signalfd(-1, &set, SFD_CLOEXEC);
    terminal->raw = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &terminal->before) == 0;
    if (!terminal->raw)
        return;
    struct termios raw = terminal->before;
    cfmakeraw(&raw);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static void terminal_give_back(Terminal *terminal)
{
    if (terminal->raw)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal->before);
    close(terminal->signals);
}

static bool write_all(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, length);
        if (written < 0)
            return false;
        bytes += written;
        length -= (size_t)written;
    }
    return true;
}

// False at the console's end.
static bool take_output(Console *console)
{
    char bytes[4096];
    gssize got;
    // TLS may hold more than the socket shows.
    while ((got = console_receive(console, bytes, sizeof bytes)) > 0)
        if (!write_all(bytes, (size_t)got))
            return false;
    return got == 0;
}

typedef enum { INPUT_GOES_ON, INPUT_ENDED, INPUT_LEAVE, INPUT_FAILED } Input;

static Input take_input(Console *console, const Terminal *terminal, GError **error)
{
    char bytes[1024];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
    if (got <= 0)
        return terminal->raw ? INPUT_LEAVE : INPUT_ENDED;
    char *leave = terminal->raw ? memchr(bytes, LEAVE, (size_t)got) : NULL;
    size_t length = leave != NULL ? (size_t)(leave - bytes) : (size_t)got;
    if (!console_send(console, bytes, length, error))
        return INPUT_FAILED;
    return leave != NULL ? INPUT_LEAVE : INPUT_GOES_ON;
}

// Both ways, until the user leaves or the console ends. Input that is no terminal may end before.
static bool shuttle(Console *console, const Terminal *terminal, GError **error)
{
    struct pollfd waited[] = {
        {.fd = console_socket(console), .events = POLLIN},
        {.fd = STDIN_FILENO, .events = POLLIN},
        {.fd = terminal->signals, .events = POLLIN},
    };
    if (!write_all(console->early->str, console->early->len))
        return true;
    while (poll(waited, G_N_ELEMENTS(waited), -1) > 0) {
        if (waited[2].revents != 0)
            return true;
        if (waited[0].revents != 0 && !take_output(console)) {
            g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_FAILED,
                        "the console was closed: the VM stopped or moved, or its node went away");
            return false;
        }
        if (waited[1].revents == 0)
            continue;
        Input input = take_input(console, terminal, error);
        if (input == INPUT_LEAVE || input == INPUT_FAILED)
            return input == INPUT_LEAVE;
        if (input == INPUT_ENDED)
            waited[1].fd = -1;
    }
    return true;
}

bool command_console(Client *client, const Options *options, char **args, GError **error)
{
    g_auto(Console) console = {0};
    Terminal terminal;
    if (!console_open(client, options, args[0], &console, error))
        return false;
    if (isatty(STDIN_FILENO))
        fprintf(stderr, "console of %s; Ctrl-] leaves\n", args[0]);
    terminal_take(&terminal);
    bool good = shuttle(&console, &terminal, error);
    terminal_give_back(&terminal);
    if (terminal.raw)
        fputc('\n', stderr);
    return good;
}
