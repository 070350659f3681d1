// SPDX-License-Identifier: GPL-2.0-or-later
// A lazy load goes on with another pager. QEMU's main loop may itself be waiting for a page, so its
// second monitor is asked out of band.
#include "hvcore/process_file.h"
#include "hvcore/qmp_blocking.h"
#include "hvcore/vm.h"

enum { AGAIN_US = 10 * 1000 };

static bool ask(QmpBlocking *qmp, const char *path, GError **error)
{
    g_autofree char *uri = g_strconcat("unix:", path, NULL);
    json_t *result = qmp_blocking_execute_oob(qmp, "migrate-recover",
                                              json_pack("{s:s}", "uri", uri), error);
    json_decref(result);
    return result != NULL;
}

bool hv_process_recover(const char *run_dir, const char *name, const char *path,
                        unsigned deadline_ms, GError **error)
{
    g_auto(QmpBlocking) qmp = {-1, NULL, 0};
    g_autofree char *monitor = hv_vm_file(run_dir, name, "qmp-aux.sock");
    gint64 end_us = g_get_monotonic_time() + (gint64)deadline_ms * 1000;
    if (!qmp_blocking_open_oob(&qmp, monitor, end_us, error))
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
