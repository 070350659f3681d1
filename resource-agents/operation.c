// SPDX-License-Identifier: GPL-2.0-or-later
#include "resource-agents/operation.h"

#include "resource-agents/ocf.h"
#include "hvcore/storage_path.h"
#include <stdio.h>
#include <string.h>

#define DEFAULT_RUN_DIR "/run/vmferry"
#define META "OCF_RESKEY_CRM_meta_"

void operation_reason(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    // Pacemaker takes the line that begins with its prefix, and only that line.
    const char *prefix = g_getenv("OCF_EXIT_REASON_PREFIX");
    fprintf(stderr, "%s%s\n", prefix != NULL ? prefix : "", g_strdelimit(text, "\r\n", ' '));
}

unsigned operation_left_ms(gint64 monotonic_us)
{
    gint64 left = (monotonic_us - g_get_monotonic_time()) / 1000;
    return left > 0 ? (unsigned)MIN(left, G_MAXINT) : 0;
}

static const char *environment(const char *name, const char *fallback)
{
    const char *value = g_getenv(name);
    return value != NULL && *value != '\0' ? value : fallback;
}

static unsigned read_timeout_ms(unsigned fallback)
{
    guint64 value;
    const char *text = environment(META "timeout", "");
    if (g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT, &value, NULL))
        return (unsigned)value;
    return fallback;
}

static const char *read_peer(const char *action)
{
    if (strcmp(action, "migrate_to") == 0)
        return environment(META "migrate_target", NULL);
    if (strcmp(action, "migrate_from") == 0)
        return environment(META "migrate_source", NULL);
    return NULL;
}

static char *read_vm(void)
{
    char *name = g_strdup(environment("OCF_RESOURCE_INSTANCE", ""));
    name[strcspn(name, ":")] = '\0'; // a clone's instance is NAME:NUMBER
    return name;
}

static int check(const Operation *operation)
{
    if (*operation->vm == '\0') {
        operation_reason(
            "OCF_RESOURCE_INSTANCE is not set: it names the VM, and Pacemaker sets it");
        return OCF_ERR_ARGS;
    }
    if (*operation->vm == '.' || strchr(operation->vm, '/') != NULL) {
        operation_reason("the resource's name \"%s\" cannot be a VM's", operation->vm);
        return OCF_ERR_CONFIGURED;
    }
    if (!g_path_is_absolute(operation->run_dir)) {
        operation_reason("run_dir: \"%s\" is not an absolute path", operation->run_dir);
        return OCF_ERR_CONFIGURED;
    }
    if (operation->peer == NULL && g_str_has_prefix(operation->action, "migrate_")) {
        operation_reason("%s: Pacemaker did not say which node is the other side",
                         operation->action);
        return OCF_ERR_ARGS;
    }
    return OCF_SUCCESS;
}

int operation_read(Operation *operation, const char *action, unsigned default_timeout_ms)
{
    gint64 now_us = g_get_monotonic_time();
    unsigned timeout_ms = read_timeout_ms(default_timeout_ms);
    unsigned margin_ms = MIN(OPERATION_MARGIN_MS, timeout_ms / 2);
    *operation = (Operation){
        .action = action,
        .vm = read_vm(),
        .definition = environment("OCF_RESKEY_definition", ""),
        .run_dir = environment("OCF_RESKEY_run_dir", DEFAULT_RUN_DIR),
        .peer = read_peer(action),
        .probe =
            strcmp(action, "monitor") == 0 && strcmp(environment(META "interval", "0"), "0") == 0,
        .deep = strcmp(environment("OCF_CHECK_LEVEL", "0"), "0") != 0,
        .deadline_us = now_us + (gint64)timeout_ms * 1000,
        .end_us = now_us + (gint64)(timeout_ms - margin_ms) * 1000,
    };
    hv_storage_set_run_dir(operation->run_dir);
    return check(operation);
}

void operation_clear(Operation *operation)
{
    g_clear_pointer(&operation->vm, g_free);
}
