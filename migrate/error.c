// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/error.h"

G_DEFINE_QUARK(ferry-error-quark, ferry_error)
