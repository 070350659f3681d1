// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/fragment.h"
#include <string.h>

#define MAGIC 0x564d4631u // "VMF1"

typedef struct {
    uint32_t magic, id, index, count; // big-endian on the wire
} Header;

G_STATIC_ASSERT(sizeof(Header) == FRAGMENT_HEADER);

struct FragmentJoin {
    GByteArray *message; // NULL between messages
    uint32_t id, next, count;
};

static GBytes *make_fragment(uint32_t id, uint32_t index, uint32_t count, const guint8 *part,
                             size_t length)
{
    Header header = {
        .magic = GUINT32_TO_BE(MAGIC),
        .id = GUINT32_TO_BE(id),
        .index = GUINT32_TO_BE(index),
        .count = GUINT32_TO_BE(count),
    };
    guint8 *buffer = g_malloc(sizeof(header) + length);

    memcpy(buffer, &header, sizeof(header));
    memcpy(buffer + sizeof(header), part, length);
    return g_bytes_new_take(buffer, sizeof(header) + length);
}

GPtrArray *fragment_split(uint32_t message_id, const void *message, size_t length,
                          size_t fragment_max, GError **error)
{
    size_t part_max = fragment_max - FRAGMENT_HEADER;
    uint32_t count;
    GPtrArray *fragments;

    if (length == 0 || length > FRAGMENT_MESSAGE_MAX) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                    "a message of %zu bytes cannot be sent to the agents: the limit is %u", length,
                    FRAGMENT_MESSAGE_MAX);
        return NULL;
    }
    count = (uint32_t)((length + part_max - 1) / part_max);
    fragments = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    for (uint32_t index = 0; index < count; index++) {
        size_t from = index * part_max;

        g_ptr_array_add(fragments,
                        make_fragment(message_id, index, count, (const guint8 *)message + from,
                                      MIN(part_max, length - from)));
    }
    return fragments;
}

FragmentJoin *fragment_join_new(void)
{
    return g_new0(FragmentJoin, 1);
}

static void drop(FragmentJoin *join)
{
    if (join->message)
        g_byte_array_unref(g_steal_pointer(&join->message));
}

void fragment_join_free(FragmentJoin *join)
{
    if (!join)
        return;
    drop(join);
    g_free(join);
}

static bool read_header(const void *fragment, size_t length, Header *out, GError **error)
{
    Header wire;

    if (length > sizeof(wire)) {
        memcpy(&wire, fragment, sizeof(wire));
        *out = (Header){.magic = GUINT32_FROM_BE(wire.magic),
                        .id = GUINT32_FROM_BE(wire.id),
                        .index = GUINT32_FROM_BE(wire.index),
                        .count = GUINT32_FROM_BE(wire.count)};
        if (out->magic == MAGIC && out->index < out->count)
            return true;
    }
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                "not a vmferry message (%zu bytes); does another program use the group?", length);
    return false;
}

static bool expected(const FragmentJoin *join, const Header *header)
{
    if (!join->message)
        return header->index == 0;
    return header->id == join->id && header->index == join->next && header->count == join->count;
}

bool fragment_join_add(FragmentJoin *join, const void *fragment, size_t length,
                       GBytes **out_message, GError **error)
{
    Header header;

    *out_message = NULL;
    if (!read_header(fragment, length, &header, error)) {
        drop(join);
        return false;
    }
    // A first fragment always opens a message: its sender gave up the one before.
    if (header.index == 0)
        drop(join);
    if (!expected(join, &header)) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                    "fragment %u of %u of message %u came out of turn", header.index, header.count,
                    header.id);
        drop(join);
        return false;
    }
    if (!join->message) {
        join->message = g_byte_array_new();
        join->id = header.id;
        join->count = header.count;
    }
    if (length - sizeof(header) > FRAGMENT_MESSAGE_MAX - join->message->len) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                    "message %u is longer than the limit of %u bytes", header.id,
                    FRAGMENT_MESSAGE_MAX);
        drop(join);
        return false;
    }
    g_byte_array_append(join->message, (const guint8 *)fragment + sizeof(header),
                        (guint)(length - sizeof(header)));
    join->next = header.index + 1;
    if (join->next == join->count)
        *out_message = g_byte_array_free_to_bytes(g_steal_pointer(&join->message));
    return true;
}
