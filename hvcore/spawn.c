// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/spawn.h"

#include "hvcore/fs.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    char *const *argv;
    const int *fds;
    size_t n_fds;
    int input, output, wait, result;
    sigset_t signals; // all signals, filled in before the fork
} Child;

static char *const environment[] = {
    (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    (char *)"LC_ALL=C.UTF-8",
    (char *)"HOME=/",
    NULL,
};

// From here to exec only async-signal-safe calls: other threads' locks may be held for ever.

static void child_reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        (void)sigaction(number, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool child_set_descriptors(const Child *child)
{
    if (dup2(child->input, 0) < 0 || dup2(child->output, 1) < 0 || dup2(child->output, 2) < 0)
        return false;
    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        return false;
    for (size_t i = 0; i < child->n_fds; i++)
        if (fcntl(child->fds[i], F_SETFD, 0) < 0)
            return false;
    return true;
}

G_GNUC_NORETURN static void child_run(const Child *child)
{
    char go = 0;
    int problem = 0;
    (void)setsid();
    (void)umask(077);
    child_reset_signals();
    while (read(child->wait, &go, 1) < 0 && errno == EINTR)
        ;
    if (go && child_set_descriptors(child) && chdir("/") == 0)
        (void)execve(child->argv[0], child->argv, environment);
    problem = errno;
    if (go && write(child->result, &problem, sizeof problem) < 0)
        problem = 0;
    _exit(127);
}

// Descriptors 0 to 2 of the parent may be closed: those given to the child must lie above them.
static int move_up(int fd)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (moved >= 0)
        (void)g_close(fd, NULL);
    return moved;
}

static bool open_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) < 0)
        return false;
    for (int i = 0; i < 2; i++)
        if (ends[i] < 3)
            ends[i] = move_up(ends[i]);
    return ends[0] >= 0 && ends[1] >= 0;
}

static pid_t fork_child(const Child *child, const int *parent_ends)
{
    sigset_t old;
    (void)pthread_sigmask(SIG_SETMASK, &child->signals, &old); // no handler of ours in the child
    pid_t pid = fork();
    if (pid == 0) {
        // The child must not hold the other ends: it would never see its parent's death.
        (void)close(parent_ends[0]);
        (void)close(parent_ends[1]);
        child_run(child);
    }
    int saved = errno;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return pid;
}

bool hv_spawn_prepare(char *const *argv, int output, const int *fds, size_t n_fds, HvSpawn *spawn,
                      GError **error)
{
    g_auto(HvSpawn) fresh = HV_SPAWN_INIT;
    int wait[2] = {-1, -1}, result[2] = {-1, -1};
    bool ready = open_pipe(wait) && open_pipe(result);
    HV_AUTO_FD wait_read = wait[0];
    HV_AUTO_FD result_write = result[1];
    fresh.release = wait[1];
    fresh.result = result[0];
    HV_AUTO_FD input = ready ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
    if (input >= 0 && input < 3)
        input = move_up(input);
    Child child = {argv, fds, n_fds, input, output, wait_read, result_write, {{0}}};
    sigfillset(&child.signals);
    const int parent_ends[] = {fresh.release, fresh.result};
    fresh.pid = input >= 0 ? fork_child(&child, parent_ends) : -1;
    if (fresh.pid > 0)
        fresh.pidfd = pidfd_open(fresh.pid, 0);
    if (fresh.pidfd < 0) {
        g_set_error(error, HV_ERROR, HV_ERROR_START, "cannot start %s: %s", argv[0],
                    g_strerror(errno));
        return false;
    }
    *spawn = (HvSpawn){fresh.pid, hv_steal_fd(&fresh.pidfd), hv_steal_fd(&fresh.release),
                       hv_steal_fd(&fresh.result), argv[0]};
    fresh.pid = 0;
    return true;
}

bool hv_spawn_release(HvSpawn *spawn, GError **error)
{
    int problem = 0;
    if (write(spawn->release, "g", 1) != 1)
        problem = errno;
    hv_close_fd(&spawn->release);
    while (!problem && read(spawn->result, &problem, sizeof problem) < 0 && errno == EINTR)
        ;
    hv_close_fd(&spawn->result);
    if (!problem)
        return true;
    hv_spawn_clear(spawn);
    g_set_error(error, HV_ERROR, HV_ERROR_START, "cannot run %s: %s", spawn->program,
                g_strerror(problem));
    return false;
}

void hv_spawn_clear(HvSpawn *spawn)
{
    hv_close_fd(&spawn->release);
    hv_close_fd(&spawn->result);
    hv_close_fd(&spawn->pidfd);
    if (spawn->pid > 0) {
        (void)kill(spawn->pid, SIGKILL);
        while (waitpid(spawn->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    spawn->pid = 0;
}
