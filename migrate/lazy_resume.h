// SPDX-License-Identifier: GPL-2.0-or-later
// A load whose pager went away goes on with another one: QEMU tells which pages it has. Private to
// load_lazy.
#pragma once

#include "migrate/lazy_send.h"

// Asks QEMU at FD for the bitmap of each of DESCRIPTOR's blocks and tells SEND what QEMU has.
// Nobody else reads from FD meanwhile. FERRY_ERROR_STREAM.
bool ferry_lazy_resume(int fd, FerryStreamOut *out, const FerryDescriptor *descriptor,
                       FerryLazySend *send, GError **error);
