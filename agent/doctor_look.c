// SPDX-License-Identifier: GPL-2.0-or-later
// What the looks share, and those at the node itself and at Pacemaker.
#include "agent/doctor_look.h"

#include <string.h>
#include <sys/wait.h>
#include <time.h>

enum {
    TOOL_S = 6, // less than DOCTOR_COLLECT_MS: its end is told as its own
    OUTPUT_MAX = 400,
};

const char *doctor_root = "";

void doctor_look_free(gpointer data)
{
    DoctorLook *look = data;

    json_decref(look->known);
    g_free(look->qemu);
    g_strfreev(look->nodes);
    g_free(look->accelerator);
    if (look->definition != NULL)
        hv_definition_unref(look->definition);
    g_free(look);
}

json_t *doctor_problem(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *raw = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *text = g_utf8_make_valid(raw, -1);
    return json_pack("{s:s}", "problem", text);
}

// `timeout` ends it: a child that is waited for with a deadline of our own would have to be killed
// from another thread.
bool doctor_tool(const char *const *argv, unsigned seconds, char **output, int *status,
                 GError **error)
{
    g_autofree char *limit = g_strdup_printf("%u", seconds);
    g_autofree char *found = g_find_program_in_path(argv[0]);
    g_autofree char *sbin = g_strconcat("/usr/sbin/", argv[0], NULL);
    g_autoptr(GPtrArray) args = g_ptr_array_new();
    g_autofree char *out = NULL, *err = NULL;
    int ended;

    g_ptr_array_add(args, "timeout");
    g_ptr_array_add(args, "-k1");
    g_ptr_array_add(args, limit);
    g_ptr_array_add(args, found != NULL ? found : sbin);
    for (size_t i = 1; argv[i] != NULL; i++)
        g_ptr_array_add(args, (gpointer)argv[i]);
    g_ptr_array_add(args, NULL);
    if (!g_spawn_sync(NULL, (char **)args->pdata, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err,
                      &ended, error))
        return false;
    *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
    if (*status == 127) {
        g_set_error(error, HV_ERROR, HV_ERROR_START, "%s is not installed", argv[0]);
        return false;
    }
    if (*status == 124 || *status < 0) {
        g_set_error(error, HV_ERROR, HV_ERROR_TIMEOUT, "%s did not end within %u s", argv[0],
                    seconds);
        return false;
    }
    g_autofree char *both = g_strconcat(out, err, NULL);
    *output = g_utf8_make_valid(both, -1);
    return true;
}

char *doctor_file(const char *path)
{
    g_autofree char *full = g_strconcat(doctor_root, path, NULL);
    char *text = NULL;

    (void)g_file_get_contents(full, &text, NULL, NULL);
    return text;
}

char *doctor_line(const char *path)
{
    char *text = doctor_file(path);

    if (text == NULL)
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return g_strstrip(text);
}

GDir *doctor_dir(const char *path)
{
    g_autofree char *full = g_strconcat(doctor_root, path, NULL);

    return g_dir_open(full, 0, NULL);
}

// --- the host ---

static char *cpu_flags(void)
{
    g_autofree char *text = doctor_file("/proc/cpuinfo");
    g_auto(GStrv) lines = g_strsplit(text != NULL ? text : "", "\n", -1);

    for (char **line = lines; *line != NULL; line++)
        if (g_str_has_prefix(*line, "flags") && strchr(*line, ':') != NULL)
            return g_strdup(g_strstrip(strchr(*line, ':') + 1));
    return NULL;
}

// The first word of each line of `-machine help`.
static char *machines(const char *qemu, GError **error)
{
    const char *const argv[] = {qemu, "-machine", "help", NULL};
    g_autofree char *output = NULL;
    int status;

    if (!doctor_tool(argv, TOOL_S, &output, &status, error))
        return NULL;
    g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
    for (char **line = lines; *line != NULL; line++)
        (*line)[strcspn(*line, " ")] = '\0';
    return g_strjoinv(" ", lines);
}

// When this kernel started, by its own clock: the boot_id may be another one for each container.
static json_int_t booted_us(void)
{
    struct timespec now, up;

    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    return (json_int_t)(now.tv_sec - up.tv_sec) * G_USEC_PER_SEC +
           (now.tv_nsec - up.tv_nsec) / 1000;
}

json_t *doctor_look_host(gpointer data)
{
    const DoctorLook *look = data;
    g_autoptr(GError) error = NULL;
    g_autofree char *flags = cpu_flags();
    g_autofree char *names = machines(look->qemu, &error);

    if (names == NULL)
        return doctor_problem("%s: %s", look->qemu, error->message);
    json_object_set_new(look->known, "machines", json_string(names));
    json_object_set_new(look->known, "booted_us", json_integer(booted_us()));
    json_object_set_new(look->known, "cpu_flags", flags != NULL ? json_string(flags) : json_null());
    return json_incref(look->known);
}

// --- Pacemaker ---

// The ids in `stonith_admin --list`: a line each, and one that counts them.
static json_t *device_ids(const char *output)
{
    g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
    json_t *ids = json_array();

    for (char **line = lines; *line != NULL; line++)
        if (*g_strstrip(*line) != '\0' && strchr(*line, ' ') == NULL)
            json_array_append_new(ids, json_string(*line));
    return ids;
}

json_t *doctor_look_fencing(gpointer data)
{
    const DoctorLook *look = data;
    json_t *all = json_object();

    for (char **node = look->nodes; *node != NULL; node++) {
        const char *const argv[] = {"stonith_admin", "--list", *node, NULL};
        g_autoptr(GError) error = NULL;
        g_autofree char *output = NULL;
        int status;

        if (!doctor_tool(argv, TOOL_S, &output, &status, &error)) {
            json_decref(all);
            return doctor_problem("%s", error->message);
        }
        json_object_set_new(all, *node, status == 0 ? device_ids(output) : json_null());
    }
    return json_pack("{s:o}", "reached", all);
}

json_t *doctor_look_crm_verify(gpointer data)
{
    static const char *const argv[] = {"crm_verify", "--live-check", "--verbose", NULL};
    enum { OK = 0, BAD_CONFIGURATION = 78 };
    g_autoptr(GError) error = NULL;
    g_autofree char *output = NULL;
    int status;

    (void)data;
    if (!doctor_tool(argv, TOOL_S, &output, &status, &error))
        return doctor_problem("%s", error->message);
    if (strlen(output) > OUTPUT_MAX)
        output[OUTPUT_MAX] = '\0';
    g_autofree char *text = g_utf8_make_valid(g_strstrip(output), -1);
    if (status != OK && status != BAD_CONFIGURATION)
        return doctor_problem("exit code %d: %s", status, text);
    return json_pack("{s:s}", "output", status == OK ? "" : text);
}
