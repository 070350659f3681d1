// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/commands.h"

#include "migrate/error.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

struct FerryCommands {
    int fd; // -1: it ended
    size_t length;
    char bytes[4096];
};

FerryCommands *ferry_commands_new(int fd)
{
    FerryCommands *commands = g_new0(FerryCommands, 1);
    commands->fd = fd;
    return commands;
}

void ferry_commands_free(FerryCommands *commands)
{
    g_free(commands);
}

bool ferry_commands_ended(const FerryCommands *commands)
{
    return commands->fd < 0;
}

int ferry_commands_fd(const FerryCommands *commands)
{
    return commands->fd;
}

static void read_more(FerryCommands *commands)
{
    struct pollfd input = {.fd = commands->fd, .events = POLLIN};
    if (poll(&input, 1, 0) != 1)
        return;
    ssize_t n = read(commands->fd, commands->bytes + commands->length,
                     sizeof(commands->bytes) - commands->length);
    if (n > 0)
        commands->length += (size_t)n;
    else if (n == 0 || errno != EINTR)
        commands->fd = -1;
}

static json_t *not_understood(const char *line, GError **error)
{
    g_autofree char *valid = g_utf8_make_valid(line, -1);
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_CHILD, "command not understood: \"%s\"", valid);
    return NULL;
}

static json_t *take_line(FerryCommands *commands, size_t length, GError **error)
{
    g_autofree char *line = g_strndup(commands->bytes, length);
    commands->length -= length + 1;
    memmove(commands->bytes, commands->bytes + length + 1, commands->length);
    json_t *command = json_loads(line, 0, NULL);
    if (json_string_value(json_object_get(command, "cmd")) != NULL)
        return command;
    json_decref(command);
    return not_understood(line, error);
}

json_t *ferry_commands_next(FerryCommands *commands, GError **error)
{
    char *end = memchr(commands->bytes, '\n', commands->length);
    if (end == NULL && commands->fd >= 0) {
        read_more(commands);
        end = memchr(commands->bytes, '\n', commands->length);
    }
    if (end != NULL)
        return take_line(commands, (size_t)(end - commands->bytes), error);
    if (commands->length == sizeof(commands->bytes))
        return not_understood("a line too long", error);
    return NULL;
}
