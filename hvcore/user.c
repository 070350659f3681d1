// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

enum { BUFFER = 16 * 1024, GROUPS_MAX = 256 };

static char *list_ids(const struct passwd *entry)
{
    gid_t groups[GROUPS_MAX];
    int n = GROUPS_MAX;
    GString *ids = g_string_new(NULL);
    g_string_printf(ids, "%u:%u", entry->pw_uid, entry->pw_gid);
    if (getgrouplist(entry->pw_name, entry->pw_gid, groups, &n) < 0)
        n = GROUPS_MAX; // the others do not matter to QEMU
    for (int i = 0; i < n; i++)
        if (groups[i] != entry->pw_gid)
            g_string_append_printf(ids, ":%u", groups[i]);
    return g_string_free(ids, FALSE);
}

static void clear(gpointer pointer)
{
    HvUser *user = pointer;
    g_free(user->name);
    g_free(user->ids);
}

HvUser *hv_user_find(const char *name, GError **error)
{
    g_autofree char *buffer = g_malloc(BUFFER);
    struct passwd entry, *found = NULL;
    int problem = getpwnam_r(name, &entry, buffer, BUFFER, &found);
    if (!found) {
        g_set_error(error, HV_ERROR, HV_ERROR_START, "qemu_user: the user \"%s\" %s%s", name,
                    problem ? "cannot be looked up: "
                            : "does not exist; systemd-sysusers makes it "
                              "from vmferry's sysusers.d file",
                    problem ? g_strerror(problem) : "");
        return NULL;
    }
    HvUser *user = g_rc_box_new0(HvUser);
    *user = (HvUser){g_strdup(name), entry.pw_uid, entry.pw_gid, list_ids(&entry)};
    return user;
}

HvUser *hv_user_ref(HvUser *user)
{
    return user ? g_rc_box_acquire(user) : NULL;
}

void hv_user_unref(HvUser *user)
{
    if (user)
        g_rc_box_release_full(user, clear);
}
