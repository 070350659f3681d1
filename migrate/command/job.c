// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/job.h"

#include "migrate/command/error.h"
#include "migrate/command/job_end.h"
#include "migrate/command/output.h"
#include "migrate/command/progress.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    POLL_MS = 200,
    UNKNOWN_MS = 2000,      // a node hears of another's new job a moment later
};

typedef struct {
    Client *client;
    const char *id;
    char *path;
    int signals;       // signalfd of SIGINT: the line of the bar is left tidy
    gint64 failing_us; // since when nobody tells anything; 0: somebody does
} Follow;

static int catch_interrupt(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static void uncatch_interrupt(int fd)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    close(fd);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static bool pause_between(const Follow *follow, GError **error)
{
    struct pollfd waited = {.fd = follow->signals, .events = POLLIN};
    struct signalfd_siginfo info;
    if (poll(&waited, 1, POLL_MS) <= 0)
        return true;
    if (read(follow->signals, &info, sizeof info) < 0)
        return true;
    g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_INTERRUPTED,
                "no longer followed; job %s goes on, see `vmferry jobs`", follow->id);
    return false;
}

// Whether it is too early to believe FAILURE.
static bool worth_waiting(Follow *follow, const GError *failure)
{
    gint64 now_us = g_get_monotonic_time();
    if (follow->failing_us == 0)
        follow->failing_us = now_us;
    gint64 failing_ms = (now_us - follow->failing_us) / 1000;
    switch (failure->code) {
    case COMMAND_ERROR_NOT_FOUND:
        return failing_ms < UNKNOWN_MS;
    case COMMAND_ERROR_UNREACHABLE:
    case COMMAND_ERROR_UNAVAILABLE:
        return failing_ms < JOB_UNREACHABLE_MS;
    default:
        return false;
    }
}

static void set_lost(GError **error, const Follow *follow, const GError *failure)
{
    if (failure->code == COMMAND_ERROR_NOT_FOUND)
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_FAILED,
                    "no node knows job %s any more: the agent that ran it was restarted; look with "
                    "`vmferry status` how far it came",
                    follow->id);
    else
        g_set_error(error, COMMAND_ERROR, (CommandErrorCode)failure->code,
                    "job %s cannot be followed any longer: %s", follow->id, failure->message);
}

// The finished job (new reference), or NULL.
static json_t *until_end(Follow *follow, GError **error)
{
    g_auto(Progress) progress;
    progress_start(&progress);
    do {
        g_autoptr(GError) failure = NULL;
        json_t *job = client_get_anywhere(follow->client, follow->path, &failure);
        const char *state = output_text(job, "state");
        if (job == NULL) {
            if (worth_waiting(follow, failure)) {
                progress_note(&progress, "no node can tell how the job is; asking on");
                continue;
            }
            set_lost(error, follow, failure);
            return NULL;
        }
        follow->failing_us = 0;
        progress_show(&progress, job);
        if (strcmp(state, "running") != 0)
            return job;
        json_decref(job);
    } while (pause_between(follow, error));
    return NULL;
}

static bool print_id(const Options *options, json_t *reply)
{
    if (options->json)
        output_json(reply);
    else
        printf("%s\n", output_text(reply, "job"));
    return true;
}

bool job_follow(Client *client, const Options *options, json_t *reply, GError **error)
{
    const char *id = json_string_value(json_object_get(reply, "job"));
    if (id == NULL) {
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_FAILED,
                    "%s began no job; is it of another version?", client_endpoint(client)->name);
        return false;
    }
    if (options->no_wait)
        return print_id(options, reply);
    g_autofree char *path = client_path("jobs", id, "");
    Follow follow = {.client = client, .id = id, .path = path, .signals = catch_interrupt()};
    json_t *job = until_end(&follow, error);
    uncatch_interrupt(follow.signals);
    bool done = job != NULL && job_end_report(job, options, error);
    json_decref(job);
    return done;
}
