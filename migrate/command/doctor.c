// SPDX-License-Identifier: GPL-2.0-or-later
// doctor: what is missing or dangerous in the cluster, what was seen of it, why it matters, and the
// remedy.
#include "migrate/command/commands.h"
#include "migrate/command/error.h"
#include "migrate/command/format.h"
#include "migrate/command/output.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { INDENT = 10, WIDTH = 80, WIDTH_MIN = 40, WIDTH_MAX = 100 };

static glong terminal_width(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return WIDTH;
    return CLAMP((glong)size.ws_col, WIDTH_MIN, WIDTH_MAX);
}

// "  KEY     TEXT", its further lines indented as the first one's text.
static void print_wrapped(const char *key, const char *text)
{
    g_autofree char *clean = output_clean(text);
    g_auto(GStrv) words = g_strsplit_set(clean, " \n\t", -1);
    glong width = terminal_width(), column = INDENT;

    printf("  %-*s", INDENT - 2, key);
    for (char **word = words; *word != NULL; word++) {
        glong length = g_utf8_strlen(*word, -1);

        if (length == 0)
            continue;
        if (column > INDENT && column + 1 + length > width) {
            printf("\n%*s", INDENT, "");
            column = INDENT;
        } else if (column > INDENT) {
            putchar(' ');
            column++;
        }
        fputs(*word, stdout);
        column += length;
    }
    putchar('\n');
}

static const char *text(json_t *finding, const char *key)
{
    return json_string_value(json_object_get(finding, key));
}

// "n1, VM web: the state area ..."
static void print_seen(json_t *finding, const char *key)
{
    const char *node = text(finding, "node"), *vm = text(finding, "vm");
    g_autofree char *seen =
        g_strconcat(node != NULL ? node : "", node != NULL && vm != NULL ? ", " : "",
                    vm != NULL ? "VM " : "", vm != NULL ? vm : "",
                    node != NULL || vm != NULL ? ": " : "", output_text(finding, "seen"), NULL);

    print_wrapped(key, seen);
}

static bool is_same(json_t *a, json_t *b)
{
    return g_strcmp0(text(a, "id"), text(b, "id")) == 0 &&
           g_strcmp0(text(a, "level"), text(b, "level")) == 0;
}

// What one rule has found, on several nodes perhaps, under one heading.
static void print_findings(json_t *findings)
{
    json_t *before = NULL, *finding;
    size_t index;

    json_array_foreach (findings, index, finding) {
        bool more = before != NULL && is_same(before, finding);
        json_t *next = json_array_get(findings, index + 1);

        if (!more) {
            g_autofree char *level = g_ascii_strup(output_text(finding, "level"), -1);
            g_autofree char *title = output_clean(output_text(finding, "title"));
            g_autofree char *id = output_clean(output_text(finding, "id"));
            printf("%-*s%s (%s)\n", INDENT, level, title, id);
        }
        print_seen(finding, more ? "" : "seen");
        if (next == NULL || !is_same(finding, next)) {
            print_wrapped("why", output_text(finding, "why"));
            print_wrapped("remedy", output_text(finding, "remedy"));
            putchar('\n');
        }
        before = finding;
    }
}

// "1 danger, 2 warnings"
static char *count_levels(json_t *findings)
{
    static const char *const levels[][3] = {{"danger", "danger", "dangers"},
                                            {"warning", "warning", "warnings"},
                                            {"unknown", "unknown", "unknown"},
                                            {"note", "note", "notes"}};
    g_autoptr(GString) counts = g_string_new(NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(levels); i++) {
        json_int_t count = 0;
        size_t index;
        json_t *finding;

        json_array_foreach (findings, index, finding)
            count += g_strcmp0(text(finding, "level"), levels[i][0]) == 0;
        if (count == 0)
            continue;
        g_autofree char *one = format_count(count, levels[i][1], levels[i][2]);
        g_string_append_printf(counts, "%s%s", counts->len > 0 ? ", " : "", one);
    }
    return g_strdup(counts->len > 0 ? counts->str : "clean");
}

static void print_report(json_t *report)
{
    json_t *findings = json_object_get(report, "findings");
    g_autofree char *counts = count_levels(findings);

    print_findings(findings);
    printf("%s (%" JSON_INTEGER_FORMAT " checks)\n", counts,
           json_integer_value(json_object_get(report, "checks")));
}

// A node that answered and could not look is not a node that was not there.
static void set_not_looked(GError **error, const GError *cause)
{
    bool reached =
        cause->code != COMMAND_ERROR_UNREACHABLE && cause->code != COMMAND_ERROR_UNAUTHORIZED;

    g_set_error_literal(error, COMMAND_ERROR, reached ? COMMAND_ERROR_NOT_LOOKED : cause->code,
                        cause->message);
}

bool command_doctor(Client *client, const Options *options, char **args, GError **error)
{
    g_autoptr(GError) cause = NULL;
    json_t *report = client_get(client, "/v1/doctor", &cause);

    (void)args;
    if (report == NULL) {
        set_not_looked(error, cause);
        return false;
    }
    if (options->json)
        output_json(report);
    else
        print_report(report);
    const char *verdict = text(report, "verdict");
    bool good = g_strcmp0(verdict, "clean") == 0 || g_strcmp0(verdict, "note") == 0;
    if (!good)
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_FINDINGS, "the cluster is not well");
    json_decref(report);
    return good;
}
