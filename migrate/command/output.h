// SPDX-License-Identifier: GPL-2.0-or-later
// What goes to standard output and standard error.
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

void output_json(json_t *json);      // indented
void output_json_line(json_t *json); // one line, for streams
// "vmferry: MESSAGE" on stderr and, where JSON, the API's error object on stdout.
void output_error(const GError *error, bool json);
// OBJECT's KEY as text: a string itself, "-" for null or none. Borrowed from OBJECT.
const char *output_text(json_t *object, const char *key);
// Writes TEXT without the control characters that would move the terminal's cursor: messages
// come from other machines. The caller frees.
char *output_clean(const char *text);
