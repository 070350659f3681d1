// SPDX-License-Identifier: GPL-2.0-or-later
// Between the seal and the package of a lazy load: pages that QEMU has not got, or got before they
// changed, and that its devices and its guest want at once. One by one each of them costs a page
// fault's way to the pager and back, while the guest waits. Private to load_ahead.
#pragma once

#include "migrate/image_reader.h"
#include "migrate/reads.h"
#include "migrate/stream_out.h"

// Reads PAGES (uint64_t; gets sorted), verifies and sends them. Blocks; nothing is under way in READS.
// FERRY_ERROR_CORRUPT: a page is not what the index says; the errors of storage and stream.
bool ferry_freshen(FerryImageReader *reader, FerryReads *reads, FerryStreamOut *out, GArray *pages,
                   GError **error);
