// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/iscsi_url.h"

#include <string.h>

enum { DEFAULT_PORT = 3260 };

void hv_iscsi_url_clear(HvIscsiUrl *url)
{
    g_clear_pointer(&url->portal, g_free);
    g_clear_pointer(&url->target, g_free);
}

static bool host_is_valid(const char *host)
{
    if (host[0] == '[')
        return strspn(host + 1, "0123456789abcdefABCDEF:.") == strlen(host) - 2 &&
               g_str_has_suffix(host, "]");
    return *host && strspn(host, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS ".-") == strlen(host);
}

char *hv_iscsi_portal(const char *authority)
{
    const char *colon = strrchr(authority, ':');
    if (colon && strchr(colon, ']'))
        colon = NULL;
    guint64 port = DEFAULT_PORT;
    if (colon && !g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &port, NULL))
        return NULL;
    g_autofree char *host =
        colon ? g_strndup(authority, (gsize)(colon - authority)) : g_strdup(authority);
    return host_is_valid(host) ? g_strdup_printf("%s:%u", host, (unsigned)port) : NULL;
}

bool hv_iscsi_url_parse(const char *url, HvIscsiUrl *out, const char **reason)
{
    static const char iqn_chars[] = G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS ".:-_";
    *reason = "must have the form iscsi://HOST[:PORT]/TARGET/LUN";
    if (!g_str_has_prefix(url, "iscsi://"))
        return false;
    g_auto(GStrv) parts = g_strsplit(url + strlen("iscsi://"), "/", 4);
    if (g_strv_length(parts) != 3)
        return false;
    if (strchr(parts[0], '@')) {
        *reason = "holds a user or password; secrets do not belong in a VM definition, which every "
                  "cluster user can read: let the target admit the nodes' initiators instead";
        return false;
    }
    guint64 lun;
    g_autofree char *portal = hv_iscsi_portal(parts[0]);
    if (!portal || !parts[1][0] || strspn(parts[1], iqn_chars) != strlen(parts[1]) ||
        !g_ascii_string_to_unsigned(parts[2], 10, 0, HV_ISCSI_LUN_MAX, &lun, NULL))
        return false;
    *out = (HvIscsiUrl){g_steal_pointer(&portal), g_strdup(parts[1]), (uint32_t)lun};
    return true;
}
