// SPDX-License-Identifier: GPL-2.0-or-later
// Looks at iSCSI sessions, multipath maps and sbd.
#include "agent/doctor_look.h"

#include <string.h>
#include <unistd.h>

enum { TOOL_S = 4 }; // two of them, less than DOCTOR_COLLECT_MS

#define SESSIONS "/sys/class/iscsi_session"
#define SBD_FILE "/etc/default/sbd"

static json_t *text_or_null(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

// --- iSCSI ---

static char *attribute(const char *session, const char *name)
{
    g_autofree char *path = g_build_filename(SESSIONS, session, name, NULL);

    return doctor_line(path);
}

json_t *doctor_look_iscsi(gpointer data)
{
    g_autoptr(GDir) dir = doctor_dir(SESSIONS); // there only with the driver
    json_t *sessions = json_array();
    const char *name;

    (void)data;
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *target = attribute(name, "targetname");
        g_autofree char *state = attribute(name, "state");
        g_autofree char *timeout = attribute(name, "recovery_tmo");
        bool off = g_strcmp0(timeout, "off") == 0; // the kernel's word for a negative one

        if (state == NULL || timeout == NULL)
            continue; // it has just been logged out
        json_array_append_new(
            sessions,
            json_pack("{s:s, s:s, s:I}", "target", target != NULL ? target : name, "state", state,
                      "recovery_tmo",
                      off ? (json_int_t)-1 : (json_int_t)g_ascii_strtoll(timeout, NULL, 10)));
    }
    return json_pack("{s:o}", "sessions", sessions);
}

// --- multipath ---

static bool has_maps(void)
{
    g_autoptr(GDir) dir = doctor_dir("/sys/block");
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename("/sys/block", name, "dm/uuid", NULL);
        g_autofree char *uuid = doctor_line(path);

        if (uuid != NULL && g_str_has_prefix(uuid, "mpath-"))
            return true;
    }
    return false;
}

static bool is_down(json_t *path)
{
    const char *dm = json_string_value(json_object_get(path, "dm_st"));
    const char *checker = json_string_value(json_object_get(path, "chk_st"));

    return g_strcmp0(dm, "active") != 0 ||
           (g_strcmp0(checker, "ready") != 0 && g_strcmp0(checker, "ghost") != 0);
}

static json_t *map_facts(json_t *map)
{
    json_int_t paths = 0, down = 0;
    size_t i, j;
    json_t *group, *path;

    json_array_foreach (json_object_get(map, "path_groups"), i, group)
        json_array_foreach (json_object_get(group, "paths"), j, path) {
            paths++;
            down += is_down(path);
        }
    return json_pack("{s:O?, s:O?, s:I, s:I}", "name", json_object_get(map, "name"), "queueing",
                     json_object_get(map, "queueing"), "paths", paths, "down", down);
}

static char *multipathd(const char *what, const char *format, GError **error)
{
    const char *const argv[] = {"multipathd", "show", what, format, NULL};
    g_autofree char *output = NULL;
    int status;

    if (!doctor_tool(argv, TOOL_S, &output, &status, error))
        return NULL;
    if (status == 0)
        return g_steal_pointer(&output);
    g_set_error(error, HV_ERROR, HV_ERROR_START, "multipathd: exit code %d: %.200s", status,
                output);
    return NULL;
}

json_t *doctor_look_multipath(gpointer data)
{
    g_autoptr(GError) error = NULL;
    json_t *maps = json_array();
    size_t index;
    json_t *map;

    (void)data;
    if (!has_maps())
        return json_pack("{s:o}", "maps", maps);
    g_autofree char *text = multipathd("maps", "json", &error);
    g_autofree char *config = text != NULL ? multipathd("config", NULL, &error) : NULL;
    json_t *answer = config != NULL ? json_loads(text, 0, NULL) : NULL;
    if (answer == NULL) {
        json_decref(maps);
        return doctor_problem("%s",
                              error != NULL ? error->message : "multipathd's maps are no JSON");
    }
    json_array_foreach (json_object_get(answer, "maps"), index, map)
        json_array_append_new(maps, map_facts(map));
    json_decref(answer);
    return json_pack("{s:o, s:b}", "maps", maps, "reservation_key",
                     strstr(config, "\treservation_key") != NULL ||
                         strstr(config, " reservation_key") != NULL);
}

// --- sbd ---

static bool sbd_runs(void)
{
    g_autoptr(GDir) dir = doctor_dir("/proc");
    const char *pid;

    while (dir != NULL && (pid = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename("/proc", pid, "comm", NULL);
        g_autofree char *comm = g_ascii_isdigit(*pid) ? doctor_line(path) : NULL;

        if (g_strcmp0(comm, "sbd") == 0)
            return true;
    }
    return false;
}

// NAME's value in the text of a file of shell variables; NULL where it has none or an empty one.
static char *variable(const char *text, const char *name)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autofree char *key = g_strconcat(name, "=", NULL);
    char *value = NULL;

    for (char **line = lines; *line != NULL; line++) {
        if (!g_str_has_prefix(g_strstrip(*line), key))
            continue;
        g_free(value);
        value = g_shell_unquote(*line + strlen(key), NULL);
        if (value != NULL && *value == '\0')
            g_clear_pointer(&value, g_free);
    }
    return value;
}

// "Timeout (msgwait)  : 40" of `sbd dump`; 0 where it is not there.
static json_int_t lun_time(const char *dump, const char *name)
{
    const char *found = strstr(dump, name);
    const char *colon = found != NULL ? strchr(found, ':') : NULL;

    return colon != NULL ? (json_int_t)g_ascii_strtoll(colon + 1, NULL, 10) : 0;
}

static void add_lun_times(json_t *sbd, const char *devices)
{
    g_autofree char *first = g_strndup(devices, strcspn(devices, ";"));
    const char *const argv[] = {"sbd", "-d", first, "dump", NULL};
    g_autofree char *dump = NULL;
    int status;

    if (!doctor_tool(argv, TOOL_S, &dump, &status, NULL) || status != 0)
        return;
    json_object_set_new(sbd, "lun_watchdog_s", json_integer(lun_time(dump, "(watchdog)")));
    json_object_set_new(sbd, "lun_msgwait_s", json_integer(lun_time(dump, "(msgwait)")));
}

json_t *doctor_look_sbd(gpointer data)
{
    g_autofree char *text = doctor_file(SBD_FILE);

    (void)data;
    if (!sbd_runs())
        return json_pack("{s:b}", "running", 0);
    if (text == NULL)
        return doctor_problem("%s cannot be read", SBD_FILE);
    g_autofree char *device = variable(text, "SBD_DEVICE");
    g_autofree char *given = variable(text, "SBD_WATCHDOG_DEV");
    g_autofree char *timeout = variable(text, "SBD_WATCHDOG_TIMEOUT");
    g_autofree char *identity = doctor_line("/sys/class/watchdog/watchdog0/identity");
    const char *watchdog = given != NULL ? given : "/dev/watchdog";
    g_autofree char *path = g_strconcat(doctor_root, watchdog, NULL);
    json_t *sbd =
        json_pack("{s:b, s:o, s:s, s:b, s:o, s:I}", "running", 1, "device", text_or_null(device),
                  "watchdog_device", watchdog, "watchdog", access(path, F_OK) == 0,
                  "watchdog_identity", text_or_null(identity), "watchdog_timeout_s",
                  (json_int_t)(timeout != NULL ? g_ascii_strtoll(timeout, NULL, 10) : 5));
    if (device != NULL)
        add_lun_times(sbd, device);
    return sbd;
}
