// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/return_path.h"

#include <string.h>

enum { HEAD = 4, RANGE = 12 };

// enum mig_rp_message_type of QEMU's migration.h
enum {
    RP_SHUT = 1,
    RP_PONG = 2,
    RP_REQ_PAGES_ID = 3,
    RP_REQ_PAGES = 4,
    RP_RECV_BITMAP = 5,
    RP_RESUME_ACK = 6,
    RP_SWITCHOVER_ACK = 7,
};

typedef struct {
    uint16_t type, length;
    const uint8_t *data;
} Raw;

static uint16_t get16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static uint32_t get32(const uint8_t *bytes)
{
    return (uint32_t)get16(bytes) << 16 | get16(bytes + 2);
}

static bool refuse(const Raw *raw, const char *what, GError **error)
{
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_STREAM,
                "QEMU's return path: message %u with %u bytes: %s; is this version of QEMU "
                "supported?",
                raw->type, raw->length, what);
    return false;
}

// A length byte and the name fill the data from AT to its end.
static bool take_name(const Raw *raw, size_t at, char *name, GError **error)
{
    if (raw->length < at + 2 || raw->data[at] != raw->length - at - 1)
        return refuse(raw, "the block's name does not fit", error);
    size_t length = raw->data[at];
    if (memchr(raw->data + at + 1, '\0', length) != NULL)
        return refuse(raw, "the block's name is none", error);
    memcpy(name, raw->data + at + 1, length);
    name[length] = '\0';
    return true;
}

static bool take_pages(FerryReturnPath *path, const Raw *raw, FerryReturnMessage *message,
                       GError **error)
{
    bool named = raw->type == RP_REQ_PAGES_ID;
    if (named ? raw->length < RANGE : raw->length != RANGE)
        return refuse(raw, "a request has another length", error);
    if (named && !take_name(raw, RANGE, path->block, error))
        return false;
    if (path->block[0] == '\0')
        return refuse(raw, "the first request has no name", error);
    message->kind = FERRY_RETURN_PAGES;
    message->start = (uint64_t)get32(raw->data) << 32 | get32(raw->data + 4);
    message->length = get32(raw->data + 8);
    memcpy(message->block, path->block, sizeof(message->block));
    return true;
}

static bool take_status(const Raw *raw, FerryReturnKind kind, FerryReturnMessage *message,
                        GError **error)
{
    if (raw->length != sizeof(uint32_t))
        return refuse(raw, "a status has 4 bytes", error);
    message->kind = kind;
    message->status = get32(raw->data);
    return true;
}

static bool take(FerryReturnPath *path, const Raw *raw, FerryReturnMessage *message,
                 GError **error)
{
    switch (raw->type) {
    case RP_SHUT:
        return take_status(raw, FERRY_RETURN_SHUT, message, error);
    case RP_PONG:
        return take_status(raw, FERRY_RETURN_OTHER, message, error);
    case RP_RESUME_ACK:
        return take_status(raw, FERRY_RETURN_RESUME_ACK, message, error);
    case RP_REQ_PAGES:
    case RP_REQ_PAGES_ID:
        return take_pages(path, raw, message, error);
    case RP_RECV_BITMAP:
        message->kind = FERRY_RETURN_BITMAP;
        return take_name(raw, 0, message->block, error);
    case RP_SWITCHOVER_ACK:
        message->kind = FERRY_RETURN_OTHER;
        return raw->length == 0 || refuse(raw, "an acknowledgement is empty", error);
    default:
        return refuse(raw, "unknown", error);
    }
}

ptrdiff_t ferry_return_path_parse(FerryReturnPath *path, const uint8_t *bytes, size_t length,
                                  FerryReturnMessage *message, GError **error)
{
    if (length < HEAD)
        return 0;
    Raw raw = {get16(bytes), get16(bytes + 2), bytes + HEAD};
    if (raw.length > FERRY_RETURN_MAX - HEAD)
        return refuse(&raw, "too long", error) ? 0 : -1;
    if (length - HEAD < raw.length)
        return 0;
    *message = (FerryReturnMessage){.kind = FERRY_RETURN_OTHER};
    return take(path, &raw, message, error) ? HEAD + raw.length : -1;
}
