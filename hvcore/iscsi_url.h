// SPDX-License-Identifier: GPL-2.0-or-later
// iscsi://HOST[:PORT]/TARGET-IQN/LUN, the form libiscsi and QEMU use, without credentials.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    char *portal; // "host:port"; an IPv6 address keeps its brackets
    char *target;
    uint32_t lun; // 0 to 16383
} HvIscsiUrl;

enum { HV_ISCSI_LUN_MAX = 16383 };

// "host", "host:port", "[v6]" or "[v6]:port" to "host:port"; NULL where it is none of these. The caller
// frees it.
char *hv_iscsi_portal(const char *authority);

// On failure returns false and *REASON says why in a few words (static text).
bool hv_iscsi_url_parse(const char *url, HvIscsiUrl *out, const char **reason);
void hv_iscsi_url_clear(HvIscsiUrl *url);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HvIscsiUrl, hv_iscsi_url_clear)
