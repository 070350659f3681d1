// SPDX-License-Identifier: GPL-2.0-or-later
// open-iscsi's node records: plain files that only root reads, where also the CHAP secret goes. It
// has no other way in but iscsiadm's command line, which every user of the node can read. Internal
// to agent/storage*.c; blocking, on any thread.
#pragma once

#include "hvcore/definition.h"

// Where open-iscsi keeps them, in "nodes": /var/lib/iscsi where its package has that (Debian 13's, which moves them
// there at an upgrade), else /etc/iscsi.
const char *storage_records_directory(void);
// Files of the records for PORTAL ("host:port") of TARGET; empty where there is none. Free with
// g_strfreev.
char **storage_records(const char *target, const char *portal);
// Whether it was made without discovery, as vmferry makes them.
bool storage_record_is_static(const char *file);
// Puts STORAGE's CHAP user and secret into the record FILE. FRESH: it was made just now, and logs
// in when it is told to only. The secret stays in memory that no core dump has and is wiped.
bool storage_record_complete(const char *file, const HvStorage *storage, bool fresh,
                             GError **error);
