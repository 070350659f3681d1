// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "migrate/command/client.h"

enum { EVENTS_SILENCE_S = 60 }; // of a stream; then it is opened anew, at another node

// A line about EVENT.
void events_print(json_t *event, const Options *options);
// Prints new events until something ends the command; comes back only with an ERROR that time does
// not heal (the token is wrong).
bool events_follow(Client *client, const Options *options, GError **error);
