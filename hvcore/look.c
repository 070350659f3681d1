// SPDX-License-Identifier: GPL-2.0-or-later
// What the resource agent does by itself when vmferryd is down. Plain blocking loops with
// deadlines, over QEMU's second monitor: the first may belong to a vmferryd that hangs.
#include "hvcore/definition_private.h"
#include "hvcore/fs.h"
#include "hvcore/process.h"
#include "hvcore/qmp_blocking.h"
#include "hvcore/vm_private.h"

enum { POLL_MS = 200 };

static gint64 after_ms(unsigned ms)
{
    return g_get_monotonic_time() + (gint64)ms * 1000;
}

static bool open_monitor(QmpBlocking *qmp, const char *run_dir, const char *name, gint64 end_us)
{
    g_autofree char *path = hv_vm_file(run_dir, name, "qmp-aux.sock");
    g_autoptr(GError) error = NULL;
    if (qmp_blocking_open(qmp, path, end_us, &error))
        return true;
    g_debug("%s: %s", name, error->message);
    return false;
}

static HvRunState ask_run_state(QmpBlocking *qmp)
{
    g_autoptr(json_t) result = qmp_blocking_execute(qmp, "query-status", NULL);
    return hv_run_state_parse(json_string_value(json_object_get(result, "status")));
}

HvProcessState hv_process_look(const char *run_dir, const char *name, unsigned deadline_ms,
                               HvRunState *run_state, GError **error)
{
    g_auto(HvProcessFile) file = {0};
    HV_AUTO_FD pidfd = -1;
    HvProcessState state = hv_process_find_name(run_dir, name, &file, &pidfd, error);
    if (state != HV_PROCESS_ALIVE || !run_state)
        return state;
    g_auto(QmpBlocking) qmp = {.fd = -1};
    HvRunState found = HV_RUN_UNKNOWN;
    if (open_monitor(&qmp, run_dir, name, after_ms(deadline_ms)))
        found = ask_run_state(&qmp);
    if (found == HV_RUN_UNKNOWN && hv_process_wait_gone(pidfd, 0))
        return HV_PROCESS_GONE; // it ended while it was asked
    *run_state = found;
    return HV_PROCESS_ALIVE;
}

// Until the guest has powered off, the process is gone, or END_US. With -no-shutdown QEMU stays
// after the guest's power-off.
static void wait_power_off(QmpBlocking *qmp, int pidfd, gint64 end_us)
{
    while (g_get_monotonic_time() < end_us) {
        if (hv_process_wait_gone(pidfd, POLL_MS))
            return;
        qmp->end_us = MIN(after_ms(HV_ASK_MS), end_us);
        HvRunState state = ask_run_state(qmp);
        if (state != HV_RUN_RUNNING)
            return;
    }
}

// A guest that does not run cannot power itself off: for it no time is lost.
static void power_down(const char *run_dir, const char *name, int pidfd, unsigned grace_ms)
{
    g_auto(QmpBlocking) qmp = {.fd = -1};
    gint64 end_us = after_ms(grace_ms);
    if (!grace_ms || !open_monitor(&qmp, run_dir, name, MIN(end_us, after_ms(HV_ASK_MS))))
        return;
    if (ask_run_state(&qmp) != HV_RUN_RUNNING)
        return;
    qmp.end_us = MIN(end_us, after_ms(HV_ASK_MS));
    g_autoptr(json_t) result = qmp_blocking_execute(&qmp, "system_powerdown", NULL);
    if (result)
        wait_power_off(&qmp, pidfd, end_us);
}

bool hv_process_end(const char *run_dir, const char *name, unsigned grace_ms, unsigned kill_ms,
                    GError **error)
{
    g_auto(HvProcessFile) file = {0};
    HV_AUTO_FD pidfd = -1;
    HvProcessState state = hv_process_find_name(run_dir, name, &file, &pidfd, error);
    if (state != HV_PROCESS_ALIVE)
        return state == HV_PROCESS_GONE;
    power_down(run_dir, name, pidfd, grace_ms);
    if (!hv_process_kill(pidfd, error))
        return false;
    if (hv_process_wait_gone(pidfd, kill_ms))
        return true;
    g_set_error(error, HV_ERROR, HV_ERROR_TIMEOUT,
                "%s: QEMU (pid %d) did not end within %u ms after SIGKILL; does its storage hang?",
                name, (int)file.pid, kill_ms);
    return false;
}
