// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/child.h"
#include "migrate/pager.h"

#include <string.h>

struct FerryPager {
    FerryChild *child;
    FerryPagerEvents events;
    gpointer data;
    bool over; // loaded or failed was told
};

static uint64_t number(json_t *event, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(event, key)); // 0 where there is none
}

static FerryPagerProgress progress_from(json_t *event)
{
    return (FerryPagerProgress){
        .bytes_read = number(event, "bytes_read"),
        .bytes_sent = number(event, "bytes_sent"),
        .bytes_total = number(event, "bytes_total"),
        .bytes_ahead = number(event, "bytes_ahead"),
        .faults = number(event, "faults"),
        .fault_p50_us = number(event, "fault_p50_us"),
        .fault_p99_us = number(event, "fault_p99_us"),
        .fault_p999_us = number(event, "fault_p999_us"),
        .fault_max_us = number(event, "fault_max_us"),
    };
}

static void fail(FerryPager *pager, const GError *error)
{
    pager->over = true;
    pager->events.failed(pager, error, pager->data);
}

static void on_event(const char *name, json_t *event, gpointer data)
{
    FerryPager *pager = data;
    FerryPagerProgress progress = progress_from(event);
    if (pager->over) {
        g_debug("vmferry-pager said \"%s\" after its end", name);
    } else if (strcmp(name, "connected") == 0) {
        pager->events.connected(pager, pager->data);
    } else if (strcmp(name, "progress") == 0) {
        if (pager->events.progress != NULL)
            pager->events.progress(pager, &progress, pager->data);
    } else if (strcmp(name, "ahead") == 0) {
        if (pager->events.ahead != NULL)
            pager->events.ahead(pager, number(event, "bytes"), pager->data);
    } else if (strcmp(name, "running") == 0) {
        if (pager->events.running != NULL)
            pager->events.running(pager, pager->data);
    } else if (strcmp(name, "loaded") == 0) {
        pager->over = true;
        pager->events.loaded(pager, &progress, pager->data);
    } else if (strcmp(name, "error") == 0) {
        g_autoptr(GError) error = ferry_child_error(event);
        fail(pager, error);
    }
}

static void on_ended(const GError *error, gpointer data)
{
    FerryPager *pager = data;
    if (!pager->over)
        fail(pager, error);
}

static const FerryChildEvents child_events = {.event = on_event, .ended = on_ended};

static FerryPager *start(const char *const *argv, const FerryPagerEvents *events, gpointer data,
                         GError **error)
{
    FerryPager *pager = g_new0(FerryPager, 1);
    *pager = (FerryPager){.events = *events, .data = data};
    pager->child = ferry_child_start(argv, &child_events, pager, error);
    if (pager->child == NULL)
        g_clear_pointer(&pager, g_free);
    return pager;
}

FerryPager *ferry_pager_start(const char *libexec_dir, const char *area_path,
                              const char *socket_path, const FerryPagerEvents *events,
                              gpointer data, GError **error)
{
    g_autofree char *program = g_build_filename(libexec_dir, "vmferry-pager", NULL);
    const char *argv[] = {program, "--area", area_path, "--socket", socket_path, NULL};
    return start(argv, events, data, error);
}

FerryPager *ferry_pager_start_lazy(const char *libexec_dir, const char *area_path,
                                   const char *socket_path, const char *huge_block,
                                   const FerryPagerEvents *events, gpointer data, GError **error)
{
    g_autofree char *program = g_build_filename(libexec_dir, "vmferry-pager", NULL);
    const char *argv[] = {program,     "--lazy",       "--area",   area_path, "--socket",
                          socket_path, "--huge-block", huge_block, NULL};
    if (huge_block == NULL)
        argv[6] = NULL;
    return start(argv, events, data, error);
}

FerryPager *ferry_pager_start_again(const char *libexec_dir, const char *area_path,
                                    const char *socket_path, const char *huge_block,
                                    uint64_t epoch, const FerryPagerEvents *events, gpointer data,
                                    GError **error)
{
    g_autofree char *program = g_build_filename(libexec_dir, "vmferry-pager", NULL);
    g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, epoch);
    const char *argv[] = {program,    "--recover", number,         "--area",   area_path,
                          "--socket", socket_path, "--huge-block", huge_block, NULL};
    if (huge_block == NULL)
        argv[7] = NULL;
    return start(argv, events, data, error);
}

static void command(FerryPager *pager, const char *name, uint64_t epoch)
{
    ferry_child_command(pager->child,
                        json_pack("{s:s, s:I}", "cmd", name, "epoch", (json_int_t)epoch));
}

void ferry_pager_preload(FerryPager *pager, uint64_t epoch)
{
    command(pager, "preload", epoch);
}

void ferry_pager_load(FerryPager *pager, uint64_t epoch)
{
    command(pager, "load", epoch);
}

void ferry_pager_hurry(FerryPager *pager)
{
    ferry_child_command(pager->child, json_pack("{s:s}", "cmd", "hurry"));
}

void ferry_pager_redirect(FerryPager *pager, const FerryPagerEvents *events, gpointer data)
{
    pager->events = *events;
    pager->data = data;
}

void ferry_pager_leave(FerryPager *pager)
{
    if (pager == NULL)
        return;
    ferry_child_leave(pager->child);
    g_free(pager);
}

void ferry_pager_free(FerryPager *pager)
{
    if (pager == NULL)
        return;
    ferry_child_free(pager->child);
    g_free(pager);
}
