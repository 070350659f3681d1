// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/error.h"

G_DEFINE_QUARK(vmferry - agent - error - quark, agent_error)
