// SPDX-License-Identifier: GPL-2.0-or-later
// A lazy load goes on with another pager. QEMU's main loop may itself be waiting for a page, so a
// monitor is asked out of band that was prepared before any page was missing (hvcore/rescue.h).
#include "hvcore/fs.h"
#include "hvcore/process.h"
#include "hvcore/qmp_blocking.h"
#include "hvcore/rescue.h"

enum { AGAIN_US = 10 * 1000 };

static bool ask(QmpBlocking *qmp, const char *path, GError **error)
{
    g_autofree char *uri = g_strconcat("unix:", path, NULL);
    json_t *result =
        qmp_blocking_execute_oob(qmp, "migrate-recover", json_pack("{s:s}", "uri", uri), error);
    json_decref(result);
    return result != NULL;
}

// A QEMU that an older vmferryd started, or whose descriptors we may not take, has its second
// monitor: good for everything but a main loop that waits.
static bool open_monitor(QmpBlocking *qmp, int pidfd, int number, const char *second, gint64 end_us,
                         GError **error)
{
    g_autoptr(GError) problem = NULL;
    int fd = hv_rescue_take(pidfd, number, &problem);
    if (fd >= 0) {
        qmp_blocking_join(qmp, fd, end_us);
        return true;
    }
    if (qmp_blocking_open_oob(qmp, second, end_us, error))
        return true;
    g_prefix_error(error, "%s; ", problem->message);
    return false;
}

static bool find(const char *run_dir, const char *name, int *pidfd, int *number, GError **error)
{
    g_auto(HvProcessFile) file = {0};
    HvProcessState state = hv_process_find_name(run_dir, name, &file, pidfd, error);
    *number = file.rescue_fd;
    if (state == HV_PROCESS_GONE)
        g_set_error(error, HV_ERROR, HV_ERROR_NOT_RUNNING, "%s: QEMU does not run on this node",
                    name);
    return state == HV_PROCESS_ALIVE;
}

static bool open_rescue(QmpBlocking *qmp, const char *run_dir, const char *name, gint64 end_us,
                        GError **error)
{
    g_autofree char *second = hv_vm_file(run_dir, name, "qmp-aux.sock");
    HV_AUTO_FD pidfd = -1;
    int number;
    return find(run_dir, name, &pidfd, &number, error) &&
           open_monitor(qmp, pidfd, number, second, end_us, error);
}

bool hv_process_recover_now(const char *run_dir, const char *name, const char *path,
                            GError **error)
{
    g_auto(QmpBlocking) qmp = {.fd = -1};
    gint64 end_us = g_get_monotonic_time() + (gint64)HV_ASK_MS * 1000;
    return open_rescue(&qmp, run_dir, name, end_us, error) && ask(&qmp, path, error);
}

bool hv_process_recover(const char *run_dir, const char *name, const char *path,
                        unsigned deadline_ms, GError **error)
{
    g_auto(QmpBlocking) qmp = {.fd = -1};
    gint64 end_us = g_get_monotonic_time() + (gint64)deadline_ms * 1000;
    if (!open_rescue(&qmp, run_dir, name, end_us, error))
        return false;
    for (;;) {
        g_autoptr(GError) problem = NULL;
        if (ask(&qmp, path, &problem))
            return true;
        // Until QEMU has noticed that its pager is gone it refuses.
        if (!g_error_matches(problem, HV_ERROR, HV_ERROR_QMP) ||
            g_get_monotonic_time() + AGAIN_US > end_us) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return false;
        }
        g_usleep(AGAIN_US);
    }
}
