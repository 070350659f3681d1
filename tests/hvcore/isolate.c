// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/hvcore/isolate.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// Ends with the status of CHILD; reaps every other child on the way.
__attribute__((noreturn)) static void end_with(pid_t child)
{
    int status = 0;
    pid_t ended;
    do
        ended = wait(&status);
    while (ended != child && (ended > 0 || errno == EINTR));
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

// The namespace's first process: when it ends, the kernel kills all others.
static void become_init(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("proc", "/proc", "proc", 0, NULL) < 0)
        _exit(99);
    pid_t test = fork();
    if (test < 0)
        _exit(99);
    if (test > 0)
        end_with(test);
}

void test_isolate(void)
{
    if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET) < 0)
        return;
    pid_t init = fork();
    if (init < 0)
        exit(99);
    if (init > 0)
        end_with(init);
    become_init();
}
