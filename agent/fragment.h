// SPDX-License-Identifier: GPL-2.0-or-later
// Splits a message into fragments that fit a CPG multicast and joins them again. Pure. A sender's
// fragments arrive in order (CPG is totally ordered), other senders' may come between them: one
// FragmentJoin per sender and life of its process.
//
// A fragment is a header of four 32-bit big-endian words (magic "VMF1", message id, index, count)
// and its part of the message.
#pragma once

#include "agent/error.h"
#include <stdbool.h>
#include <stdint.h>

#define FRAGMENT_HEADER 16u
#define FRAGMENT_MESSAGE_MAX (4u * 1024 * 1024) // bytes of one whole message

// GBytes, in order, each at most FRAGMENT_MAX bytes long with its header (more than
// FRAGMENT_HEADER). AGENT_ERROR_INVALID where the message is longer than FRAGMENT_MESSAGE_MAX.
GPtrArray *fragment_split(uint32_t message_id, const void *message, size_t length,
                          size_t fragment_max, GError **error);

typedef struct FragmentJoin FragmentJoin;
FragmentJoin *fragment_join_new(void);
void fragment_join_free(FragmentJoin *join);

// Takes the next fragment. True: fine, and OUT_MESSAGE is the whole message or NULL when more is to
// come. False with AGENT_ERROR_INVALID: a malformed or unexpected fragment; what was collected of
// that message is dropped and the next message starts afresh.
bool fragment_join_add(FragmentJoin *join, const void *fragment, size_t length,
                       GBytes **out_message, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(FragmentJoin, fragment_join_free)
