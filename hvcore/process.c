// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/process.h"

#include "hvcore/fs.h"
#include "hvcore/run.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STAT_FIELD_AFTER_NAME = 3, STAT_FIELD_START = 22 };

static bool parse_start_time(const char *stat, uint64_t *ticks)
{
    const char *rest = strrchr(stat, ')'); // the name may hold anything, also blanks and brackets
    if (!rest || !rest[1])
        return false;
    g_auto(GStrv) fields = g_strsplit(rest + 2, " ", STAT_FIELD_START);
    const unsigned index = STAT_FIELD_START - STAT_FIELD_AFTER_NAME;
    return g_strv_length(fields) > index &&
           g_ascii_string_to_unsigned(fields[index], 10, 0, G_MAXUINT64, ticks, NULL);
}

bool hv_process_start_time(pid_t pid, uint64_t *ticks, GError **error)
{
    char text[1024];
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
    HV_AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    bool none = n < 0 && (errno == ENOENT || errno == ESRCH);
    if (n > 0) {
        text[n] = 0;
        if (parse_start_time(text, ticks))
            return true;
    }
    g_set_error(error, HV_ERROR, none ? HV_ERROR_NOT_RUNNING : HV_ERROR_UNKNOWN,
                "cannot read %s: %s", path, n < 0 ? g_strerror(errno) : "unexpected content");
    return false;
}

bool hv_process_owner(pid_t pid, uid_t *owner)
{
    g_autofree char *path = g_strdup_printf("/proc/%d", (int)pid);
    struct stat status;
    if (stat(path, &status) < 0)
        return false;
    *owner = status.st_uid;
    return true;
}

static bool is_this_boot(const HvProcessFile *file, bool *same, GError **error)
{
    g_autofree char *boot_id = hv_boot_id(error);
    if (boot_id)
        *same = g_str_equal(boot_id, file->boot_id);
    return boot_id;
}

static bool has_ended(int pidfd)
{
    struct pollfd item = {pidfd, POLLIN, 0};
    return poll(&item, 1, 0) > 0; // readable once all threads are dead, also for a zombie
}

// The pidfd is opened first, so that the start time read next belongs to the same process or shows
// that the pid is another's.
static HvProcessState check_pidfd(const HvProcessFile *file, int pidfd, GError **error)
{
    uint64_t ticks = 0;
    g_autoptr(GError) problem = NULL;
    bool known = hv_process_start_time(file->pid, &ticks, &problem);
    if (has_ended(pidfd) || (known && ticks != file->start_time))
        return HV_PROCESS_GONE;
    if (known)
        return HV_PROCESS_ALIVE;
    // The process is there but /proc does not show it: not ours to judge.
    g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "%s", problem->message);
    return HV_PROCESS_UNKNOWN;
}

HvProcessState hv_process_find(const HvProcessFile *file, int *pidfd, GError **error)
{
    bool same_boot = false;
    if (!is_this_boot(file, &same_boot, error))
        return HV_PROCESS_UNKNOWN;
    if (!same_boot)
        return HV_PROCESS_GONE;
    HV_AUTO_FD fd = pidfd_open(file->pid, 0);
    if (fd < 0 && errno == ESRCH)
        return HV_PROCESS_GONE;
    if (fd < 0) {
        // EINVAL: the number is now a thread of another process, or (Linux < 6.9) a leader that
        // is being reaped; the start time tells.
        int saved = errno;
        uint64_t ticks = 0;
        if (hv_process_start_time(file->pid, &ticks, NULL) && ticks != file->start_time)
            return HV_PROCESS_GONE;
        g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "pidfd_open of %d: %s", (int)file->pid,
                    g_strerror(saved));
        return HV_PROCESS_UNKNOWN;
    }
    HvProcessState state = check_pidfd(file, fd, error);
    if (state == HV_PROCESS_ALIVE)
        *pidfd = hv_steal_fd(&fd);
    return state;
}

HvProcessState hv_process_find_name(const char *run_dir, const char *name, HvProcessFile *file,
                                    int *pidfd, GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (hv_process_file_read(run_dir, name, file, &problem))
        return hv_process_find(file, pidfd, error);
    if (g_error_matches(problem, HV_ERROR, HV_ERROR_NOT_RUNNING))
        return HV_PROCESS_GONE;
    g_propagate_error(error, g_steal_pointer(&problem));
    return HV_PROCESS_UNKNOWN;
}

// A process's own user may do that without CAP_SYS_NICE, so this thread is it for the moment. The
// C library's seteuid would change all threads.
void hv_process_last(pid_t pid)
{
    enum { LAST = 19, UNCHANGED = -1 };
    uid_t own = geteuid(), owner = own;
    bool changed = hv_process_owner(pid, &owner) && owner != own &&
                   syscall(SYS_setresuid, UNCHANGED, owner, UNCHANGED) == 0;
    (void)setpriority(PRIO_PGRP, (id_t)pid, LAST); // its session's one group
    if (changed && syscall(SYS_setresuid, UNCHANGED, own, UNCHANGED) < 0)
        g_error("this thread cannot become root again: %s", g_strerror(errno));
}

bool hv_process_kill(int pidfd, GError **error)
{
    if (pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0 || errno == ESRCH)
        return true;
    g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "cannot kill QEMU: %s", g_strerror(errno));
    return false;
}

bool hv_process_wait_gone(int pidfd, unsigned deadline_ms)
{
    return hv_wait_fd(pidfd, POLLIN, g_get_monotonic_time() + (gint64)deadline_ms * 1000);
}
