// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/http_token.h"

#include "agent/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOKEN_MIN = 16, FILE_MAX = 4096 };

static bool refuse(GError **error, const char *path, const char *what)
{
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                "token_file %s: %s; make one with (umask 077; openssl rand -hex 32 > %s)", path,
                what, path);
    return false;
}

static bool check_file(int fd, const char *path, GError **error)
{
    struct stat found;
    if (fstat(fd, &found) != 0)
        return refuse(error, path, g_strerror(errno));
    if (!S_ISREG(found.st_mode))
        return refuse(error, path, "it is not a regular file");
    if (found.st_uid != geteuid())
        return refuse(error, path, "it belongs to another user");
    mode_t mode = found.st_mode & 07777;
    if (mode != 0600 && mode != 0400)
        return refuse(error, path, "its mode is not 0600, so others may know the token");
    if (found.st_size > FILE_MAX)
        return refuse(error, path, "it is too long for a token");
    return true;
}

static bool check_text(const char *text, const char *path, GError **error)
{
    size_t length = strlen(text);
    if (length < TOKEN_MIN)
        return refuse(error, path, "its token is shorter than 16 characters");
    for (size_t i = 0; i < length; i++)
        if (!g_ascii_isgraph(text[i]))
            return refuse(error, path, "it has to be one line without spaces");
    return true;
}

static bool read_file(int fd, const char *path, char *text, GError **error)
{
    if (!check_file(fd, path, error))
        return false;
    ssize_t length = read(fd, text, FILE_MAX);
    if (length < 0)
        return refuse(error, path, g_strerror(errno));
    text[length] = '\0';
    if (length > 0 && text[length - 1] == '\n')
        text[length - 1] = '\0';
    return check_text(text, path, error);
}

char *http_token_load(const char *path, GError **error)
{
    // O_NONBLOCK: a FIFO in its place must not hang the agent.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        refuse(error, path, g_strerror(errno));
        return NULL;
    }
    char text[FILE_MAX + 1];
    bool good = read_file(fd, path, text, error);
    close(fd);
    return good ? g_strdup(text) : NULL;
}

bool http_token_matches(const char *token, const char *header)
{
    static const char scheme[] = "Bearer ";
    if (header == NULL || g_ascii_strncasecmp(header, scheme, strlen(scheme)) != 0)
        return false;
    const char *shown = header + strlen(scheme);
    size_t length = strlen(token), shown_length = strlen(shown);
    volatile unsigned char difference = length != shown_length;
    for (size_t i = 0; i < shown_length; i++)
        difference |= (unsigned char)(token[i % length] ^ shown[i]);
    return difference == 0;
}
