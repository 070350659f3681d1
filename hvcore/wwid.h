// SPDX-License-Identifier: GPL-2.0-or-later
// What a LUN is called by itself (SCSI VPD page 0x83), whoever writes it down.
#pragma once

#include <stdbool.h>

// "wwn-0x600...", "0x600...", "naa.600...", "scsi-3600...", "dm-uuid-mpath-3600..." and
// "mpath-3600..." are all "3600...", as scsi_id and multipath write it; "eui." becomes "2..." and
// "t10." becomes "1..." likewise; an LV's "LVM-..." and what else there is stay as they are. The
// caller frees it.
char *hv_wwid_normalize(const char *name);
