// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/api.h"

#include "agent/api_console.h"
#include "agent/api_events.h"

#include <string.h>

typedef struct {
    const char *method;
    const char *path; // "*" stands for a name
    ApiHandler handler;
} Route;

static const Route routes[] = {
    {"GET", "/v1/cluster", api_get_cluster},
    {"GET", "/v1/doctor", api_get_doctor},
    {"GET", "/v1/nodes", api_get_nodes},
    {"GET", "/v1/nodes/*", api_get_node},
    {"PUT", "/v1/nodes/*/standby", api_put_standby},
    {"GET", "/v1/storage", api_get_storage},
    {"GET", "/v1/storage/*", api_get_storage},
    {"POST", "/v1/storage/*/login", api_post_storage_login},
    {"POST", "/v1/storage/*/logout", api_post_storage_logout},
    {"GET", "/v1/vms", api_get_vms},
    {"POST", "/v1/vms", api_post_vms},
    {"GET", "/v1/vms/*", api_get_vm},
    {"PUT", "/v1/vms/*", api_put_vm},
    {"DELETE", "/v1/vms/*", api_delete_vm},
    {"POST", "/v1/vms/*/start", api_post_start},
    {"POST", "/v1/vms/*/stop", api_post_stop},
    {"POST", "/v1/vms/*/save", api_post_save},
    {"POST", "/v1/vms/*/migrate", api_post_migrate},
    {"POST", "/v1/vms/*/discard", api_post_discard},
    {"GET", "/v1/vms/*/console", api_get_console},
    {"GET", "/v1/jobs", api_get_jobs},
    {"GET", "/v1/jobs/*", api_get_job},
    {"GET", "/v1/events", api_get_events},
};

// Where PATH matches, *NAME is what stands for the "*" (the caller frees) or NULL.
static bool matches(const char *pattern, const char *path, char **name)
{
    const char *star = strchr(pattern, '*');
    *name = NULL;
    if (star == NULL)
        return strcmp(pattern, path) == 0;
    size_t before = (size_t)(star - pattern);
    if (strncmp(pattern, path, before) != 0)
        return false;
    size_t length = strcspn(path + before, "/");
    if (length == 0 || strcmp(star + 1, path + before + length) != 0)
        return false;
    *name = g_strndup(path + before, length);
    return true;
}

static void answer_not_allowed(HttpRequest *request, const char *method, const char *allow)
{
    g_autofree char *message =
        g_strdup_printf("%s is not possible here; there is %s", method, allow);
    http_answer_problem(request, MHD_HTTP_METHOD_NOT_ALLOWED, "method-not-allowed", message);
    MHD_add_response_header(request->response, "Allow", allow);
}

void api_dispatch(HttpRequest *request, const char *method, const char *path)
{
    g_autoptr(GString) allow = g_string_new(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(routes); i++) {
        g_autofree char *name = NULL;
        if (!matches(routes[i].path, path, &name))
            continue;
        if (strcmp(routes[i].method, method) == 0) {
            routes[i].handler(request, name);
            return;
        }
        g_string_append_printf(allow, "%s%s", allow->len > 0 ? ", " : "", routes[i].method);
    }
    if (allow->len > 0)
        answer_not_allowed(request, method, allow->str);
    else
        http_answer_problem(request, MHD_HTTP_NOT_FOUND, "not-found",
                            "there is no such path; docs/API.md lists all");
}
