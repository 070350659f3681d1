// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/http_listen.h"

#include "agent/error.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 64, SOCKET_FLAGS = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC };

// Closes FD and says in ERROR what errno says.
static int fail(int fd, const char *address, const char *remedy, GError **error)
{
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_FAILED, "cannot listen on %s: %s; %s", address,
                g_strerror(errno), remedy);
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool split(const char *address, char **host, char **port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address)
        return false;
    *port = g_strdup(colon + 1);
    bool bracketed = address[0] == '[' && colon[-1] == ']';
    *host = bracketed ? g_strndup(address + 1, (gsize)(colon - address - 2))
                      : g_strndup(address, (gsize)(colon - address));
    guint64 number;
    return (bracketed || strchr(*host, ':') == NULL) && (*host)[0] != '\0' &&
           g_ascii_string_to_unsigned(*port, 10, 1, 65535, &number, NULL);
}

static struct addrinfo *parse(const char *address, GError **error)
{
    g_autofree char *host = NULL, *port = NULL;
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (!split(address, &host, &port) || getaddrinfo(host, port, &hints, &found) != 0) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                    "listen: \"%s\" is not ADDRESS:PORT; an IPv6 address stands in [ ], names are "
                    "not looked up",
                    address);
        return NULL;
    }
    return found;
}

static bool set_option(int fd, int level, int option)
{
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof on) == 0;
}

// A node boots faster than its network: an address that is not there yet will be.
static bool bind_early(int fd, const struct addrinfo *at)
{
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0)
        return true;
    if (errno != EADDRNOTAVAIL)
        return false;
    bool free_bind = at->ai_family == AF_INET6 ? set_option(fd, IPPROTO_IPV6, IPV6_FREEBIND)
                                               : set_option(fd, IPPROTO_IP, IP_FREEBIND);
    return free_bind && bind(fd, at->ai_addr, at->ai_addrlen) == 0;
}

static bool bind_and_listen(int fd, const struct addrinfo *at)
{
    if (!set_option(fd, SOL_SOCKET, SO_REUSEADDR))
        return false;
    if (at->ai_family == AF_INET6 && !set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY))
        return false;
    return bind_early(fd, at) && listen(fd, BACKLOG) == 0;
}

int http_listen_tcp(const char *address, GError **error)
{
    struct addrinfo *at = parse(address, error);
    if (at == NULL)
        return -1;
    int fd = socket(at->ai_family, SOCKET_FLAGS, 0);
    bool listens = fd >= 0 && bind_and_listen(fd, at);
    freeaddrinfo(at);
    return listens ? fd : fail(fd, address, "does another program have the port?", error);
}
