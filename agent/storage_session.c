// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/storage_session.h"

#include "agent/storage_tool.h"

#include <string.h>

#define SESSIONS "/sys/class/iscsi_session"
#define CONNECTIONS "/sys/class/iscsi_connection"

static void session_free(gpointer data)
{
    StorageSession *session = data;
    g_free(session->id);
    g_free(session->target);
    g_free(session->portal);
    g_free(session->state);
    g_free(session);
}

static char *attribute(const char *class, const char *id, const char *name)
{
    g_autofree char *path = g_build_filename(class, id, name, NULL);
    return storage_line(path);
}

// open-iscsi has one connection for each session: "connection3:0" of "session3".
static char *portal_of(const char *id)
{
    g_autofree char *connection = g_strdup_printf("connection%s:0", id + strlen("session"));
    g_autofree char *address = attribute(CONNECTIONS, connection, "persistent_address");
    g_autofree char *port = attribute(CONNECTIONS, connection, "persistent_port");
    if (address == NULL || port == NULL)
        return g_strdup("");
    return g_strdup_printf(strchr(address, ':') != NULL ? "[%s]:%s" : "%s:%s", address, port);
}

GPtrArray *storage_sessions(const char *target)
{
    GPtrArray *found = g_ptr_array_new_with_free_func(session_free);
    g_auto(GStrv) names = storage_names(SESSIONS);
    for (char **name = names; *name != NULL; name++) {
        g_autofree char *its_target = attribute(SESSIONS, *name, "targetname");
        if (!g_str_has_prefix(*name, "session") || g_strcmp0(its_target, target) != 0)
            continue;
        StorageSession *session = g_new0(StorageSession, 1);
        session->id = g_strdup(*name);
        session->target = g_steal_pointer(&its_target);
        session->portal = portal_of(*name);
        session->state = attribute(SESSIONS, *name, "state");
        g_ptr_array_add(found, session);
    }
    return found;
}

const StorageSession *storage_session_find(const GPtrArray *sessions, const char *portal)
{
    for (guint i = 0; i < sessions->len; i++) {
        const StorageSession *session = g_ptr_array_index(sessions, i);
        if (strcmp(session->portal, portal) == 0)
            return session;
    }
    return NULL;
}

bool storage_session_is_up(const StorageSession *session)
{
    return g_strcmp0(session->state, "LOGGED_IN") == 0;
}

// "2:0:0:1" is LUN 1.
static bool is_lun(const char *unit, uint32_t lun)
{
    const char *colon = strrchr(unit, ':');
    guint64 number;
    return colon != NULL &&
           g_ascii_string_to_unsigned(colon + 1, 10, 0, G_MAXUINT32, &number, NULL) &&
           number == lun;
}

static void add_disks(GStrvBuilder *disks, const char *directory, const uint32_t *lun)
{
    g_auto(GStrv) units = storage_names(directory);
    for (char **unit = units; *unit != NULL; unit++) {
        g_autofree char *block = g_build_filename(directory, *unit, "block", NULL);
        if (lun != NULL && !is_lun(*unit, *lun))
            continue;
        g_auto(GStrv) names = storage_names(block);
        g_strv_builder_addv(disks, (const char **)names);
    }
}

// Of all LUNs, or of one.
static char **disks_of(const StorageSession *session, const uint32_t *lun)
{
    g_autofree char *device = g_build_filename(SESSIONS, session->id, "device", NULL);
    g_auto(GStrv) targets = storage_names(device);
    g_autoptr(GStrvBuilder) disks = g_strv_builder_new();
    for (char **target = targets; *target != NULL; target++) {
        g_autofree char *directory = g_build_filename(device, *target, NULL);
        if (g_str_has_prefix(*target, "target"))
            add_disks(disks, directory, lun);
    }
    return g_strv_builder_end(disks);
}

char **storage_session_disks(const StorageSession *session)
{
    return disks_of(session, NULL);
}

char *storage_session_disk(const StorageSession *session, uint32_t lun)
{
    g_auto(GStrv) disks = disks_of(session, &lun);
    return g_strdup(disks[0]);
}
