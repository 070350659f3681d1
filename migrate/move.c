// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/move.h"

#include <string.h>

static const char *const message_names[FERRY_N_MESSAGES] = {
    [FERRY_MESSAGE_REHEARSE] = "rehearse", [FERRY_MESSAGE_READY] = "ready",
    [FERRY_MESSAGE_REFUSED] = "refused",   [FERRY_MESSAGE_AHEAD] = "ahead",
    [FERRY_MESSAGE_SEALED] = "sealed",     [FERRY_MESSAGE_RUNNING] = "running",
    [FERRY_MESSAGE_ABORT] = "abort",       [FERRY_MESSAGE_ABORTED] = "aborted",
};

const char *ferry_message_name(FerryMessageType type)
{
    return message_names[type];
}

bool ferry_message_from_name(const char *name, FerryMessageType *type)
{
    for (int i = 0; i < FERRY_N_MESSAGES; i++) {
        if (strcmp(name, message_names[i]) == 0) {
            *type = (FerryMessageType)i;
            return true;
        }
    }
    return false;
}

const char *ferry_phase_name(FerryPhase phase)
{
    switch (phase) {
    case FERRY_PHASE_REHEARSE:
        return "rehearse";
    case FERRY_PHASE_READY:
        return "ready";
    case FERRY_PHASE_SAVE:
        return "save";
    case FERRY_PHASE_PAUSE:
        return "pause";
    case FERRY_PHASE_LOAD:
        return "load";
    case FERRY_PHASE_COMMIT:
        return "commit";
    case FERRY_PHASE_CLEAN:
        return "clean";
    case FERRY_PHASE_RETURN:
        return "return";
    }
    return "?";
}
