// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/launch/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool problem(GError **error, const char *what)
{
    g_set_error(error, HV_ERROR, HV_ERROR_START, "cannot %s: %s", what, g_strerror(errno));
    return false;
}

static bool parse(const char *ids, GArray *numbers, GError **error)
{
    g_auto(GStrv) words = g_strsplit(ids, ":", -1);
    for (char **word = words; *word; word++) {
        guint64 number;
        // The largest one means "unchanged" to the kernel; 0 is root, whom this is not for.
        if (!g_ascii_string_to_unsigned(*word, 10, 1, UINT32_MAX - 1, &number, error))
            return false;
        uint32_t id = (uint32_t)number;
        g_array_append_val(numbers, id);
    }
    if (numbers->len >= 2)
        return true;
    g_set_error(error, HV_ERROR, HV_ERROR_START, "--user=%s: it needs UID:GID[:GID...]", ids);
    return false;
}

// What no program that is run from here on can ever get. Wants CAP_SETPCAP, so it goes first.
static bool empty_bounding_set(GError **error)
{
    for (unsigned long number = 0; prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; number++)
        if (prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0)
            return problem(error, "give up capabilities for good");
    return true;
}

static bool drop_capabilities(GError **error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
        syscall(SYS_capset, &header, none) < 0)
        return problem(error, "give up capabilities");
    return true;
}

bool launch_become(const char *ids, GError **error)
{
    g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    if (!parse(ids, numbers, error) || !empty_bounding_set(error))
        return false;
    const uint32_t *number = (const uint32_t *)(const void *)numbers->data;
    uint32_t uid = number[0], gid = number[1];
    if (setgroups(numbers->len - 2, number + 2) < 0 || setresgid(gid, gid, gid) < 0 ||
        setresuid(uid, uid, uid) < 0)
        return problem(error, "become QEMU's user");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return problem(error, "refuse new privileges");
    if (!drop_capabilities(error))
        return false;
    if (setresuid(-1, 0, -1) == 0) { // cannot be; but everything that follows relies on it
        g_set_error(error, HV_ERROR, HV_ERROR_START, "root's rights could be had again");
        return false;
    }
    return true;
}
