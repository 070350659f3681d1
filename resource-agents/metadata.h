// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

// OCF 1.1 meta-data as XML, a constant.
const char *metadata_xml(void);
