// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

// OCF 1.1 meta-data as XML, a constant.
const char *metadata_xml(void);
// ACTION's timeout as the meta-data have it, for where Pacemaker gives none; 0: there is no such action.
unsigned metadata_timeout_ms(const char *action);
