// SPDX-License-Identifier: GPL-2.0-or-later
// Starting QEMU. Everything that can be prepared is prepared before the process exists; the process
// is recorded before it runs.
#include "hvcore/clean_bits.h"
#include "hvcore/command_line.h"
#include "hvcore/fs.h"
#include "hvcore/handover.h"
#include "hvcore/logs.h"
#include "hvcore/launcher.h"
#include "hvcore/process.h"
#include "hvcore/rescue.h"
#include "hvcore/resources.h"
#include "hvcore/spawn.h"
#include "hvcore/vm_private.h"

#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum { LOG_TAIL = 4096 };

// --- the phase: a launch or an adoption under way ---

GError *hv_vm_busy(const HvVm *vm)
{
    const char *reason = vm->phase == HV_PHASE_LAUNCHING || vm->phase == HV_PHASE_ADOPTING
                             ? "a launch or adoption is under way"
                         : vm->qmp ? "it is connected already"
                                   : NULL;
    return reason ? g_error_new(HV_ERROR, HV_ERROR_START, "%s: %s", vm->definition->name, reason)
                  : NULL;
}

void hv_vm_phase_end(HvVm *vm, GError *error)
{
    g_autoptr(GError) owned = error;
    HvDoneFn done = vm->phase_done;
    hv_vm_drop_source(&vm->phase_timer);
    g_clear_error(&vm->phase_error);
    vm->phase = vm->pid ? HV_PHASE_UP : HV_PHASE_NONE;
    vm->phase_done = NULL;
    if (done && !vm->freed)
        done(vm, owned, vm->phase_data);
}

// --- the process ---

static gboolean on_exit_watch(gint fd, GIOCondition condition, gpointer pointer)
{
    (void)fd, (void)condition;
    g_autoptr(HvVmHold) vm = hv_vm_hold(pointer);
    int status = -1;
    vm->exit_watch = 0;
    // Also where it was adopted: another HvVm of this process may have been its parent.
    if (waitpid(vm->pid, &status, WNOHANG) != vm->pid)
        status = -1;
    vm->pid = 0;
    hv_vm_drop_source(&vm->log_timer);
    hv_close_fd(&vm->pidfd);
    if (vm->qmp)
        qmp_client_drain(vm->qmp); // all calls under way are answered before `exited`
    if (vm->freed)
        return G_SOURCE_REMOVE;
    if (vm->phase == HV_PHASE_LAUNCHING) {
        hv_vm_launch_ended(vm, status);
    } else if (vm->phase == HV_PHASE_ADOPTING) {
        hv_vm_phase_end(vm, g_error_new(HV_ERROR, HV_ERROR_NOT_RUNNING, "%s: QEMU has just ended",
                                        vm->definition->name));
    } else {
        vm->phase = HV_PHASE_NONE;
        if (vm->events.exited)
            vm->events.exited(vm, status, vm->data);
    }
    return G_SOURCE_REMOVE;
}

static gboolean on_log_timer(gpointer pointer)
{
    const HvVm *vm = pointer;
    g_autofree char *directory = hv_vm_dir(vm->run_dir, vm->definition->name);
    hv_logs_bound(directory, HV_LOG_MAX);
    return G_SOURCE_CONTINUE;
}

void hv_vm_watch(HvVm *vm, pid_t pid, int pidfd)
{
    hv_vm_drop_source(&vm->exit_watch);
    hv_vm_drop_source(&vm->log_timer);
    vm->log_timer = g_timeout_add_seconds(HV_LOG_CHECK_SECONDS, on_log_timer, vm);
    hv_close_fd(&vm->pidfd);
    vm->pid = pid;
    vm->pidfd = pidfd;
    vm->exit_watch = g_unix_fd_add(pidfd, G_IO_IN, on_exit_watch, vm);
}

// --- a launch that fails ---

// QEMU's last line without time, program name and the option it quotes:
// "Could not open '/x': No such file or directory".
static char *last_words(HvVm *vm)
{
    g_autofree char *path = hv_vm_file(vm->run_dir, vm->definition->name, "qemu.log");
    g_autofree char *text = hv_fs_tail(path, LOG_TAIL);
    char *line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    if (g_str_has_prefix(line, "argv: "))
        return g_strdup("it wrote nothing");
    // The line before says what is wrong, but 7.2's without the machine type.
    if (g_str_has_prefix(line, "Use -machine help"))
        return g_strdup_printf("unsupported machine type \"%s\"; \"%s -machine help\" lists those "
                               "it has",
                               vm->definition->machine, vm->qemu_path);
    char *name = strstr(line, "qemu-system-x86_64: ");
    if (name)
        line = name + strlen("qemu-system-x86_64: ");
    char *option_end = *line == '-' ? strstr(line, "}: ") : NULL;
    return g_strdup(option_end ? option_end + strlen("}: ") : line);
}

static GError *own_error(HvVm *vm)
{
    static const char launcher[] = "vmferry-launch: ";
    g_autofree char *words = last_words(vm);
    const char *name = vm->definition->name;
    if (g_str_has_prefix(words, launcher))
        return g_error_new(HV_ERROR, HV_ERROR_START, "%s: %s", name, words + strlen(launcher));
    if (vm->user && g_str_has_suffix(words, "Permission denied"))
        return g_error_new(HV_ERROR, HV_ERROR_START,
                           "%s: QEMU: %s; it runs as %s, who has to be able to read it", name,
                           words, vm->user->name);
    return g_error_new(HV_ERROR, HV_ERROR_START, "%s: QEMU: %s", name, words);
}

void hv_vm_launch_ended(HvVm *vm, int status)
{
    const char *name = vm->definition->name;
    bool by_itself = !vm->phase_error || vm->phase_error->code == HV_ERROR_CLOSED;
    if (!by_itself)
        hv_vm_phase_end(
            vm, g_error_new(HV_ERROR, HV_ERROR_START, "%s: %s", name, vm->phase_error->message));
    else if (WIFSIGNALED(status) && status != -1)
        hv_vm_phase_end(vm, g_error_new(HV_ERROR, HV_ERROR_START,
                                        "%s: QEMU was killed by signal %d while starting", name,
                                        WTERMSIG(status)));
    else
        hv_vm_phase_end(vm, own_error(vm));
}

// DONE is called when the process is proven gone, however long that takes.
static void launch_fail(HvVm *vm, const GError *error)
{
    if (!vm->phase_error)
        vm->phase_error = g_error_copy(error);
    // A QEMU that closed its monitor is about to end and has its own exit status to tell.
    if (error->code != HV_ERROR_CLOSED && vm->pidfd >= 0)
        (void)hv_process_kill(vm->pidfd, NULL);
}

static gboolean on_launch_deadline(gpointer pointer)
{
    HvVm *vm = pointer;
    g_autoptr(GError) error = g_error_new(HV_ERROR, HV_ERROR_TIMEOUT,
                                          "QEMU did not answer within %d s after its start; does "
                                          "the storage of its disks hang?",
                                          HV_LAUNCH_MS / 1000);
    vm->phase_timer = 0;
    launch_fail(vm, error);
    return G_SOURCE_REMOVE;
}

static void on_launched(HvVm *vm, const GError *error, gpointer data)
{
    (void)data;
    if (vm->phase != HV_PHASE_LAUNCHING)
        return;
    if (error)
        launch_fail(vm, error);
    else if (!vm->phase_error)
        hv_vm_phase_end(vm, NULL);
}

// --- preparing ---

static bool check_free(HvVm *vm, GError **error)
{
    g_auto(HvProcessFile) file = {0};
    HV_AUTO_FD pidfd = -1;
    HvProcessState state =
        hv_process_find_name(vm->run_dir, vm->definition->name, &file, &pidfd, error);
    if (state == HV_PROCESS_ALIVE)
        g_set_error(error, HV_ERROR, HV_ERROR_START, "%s: runs on this node already (pid %d)",
                    vm->definition->name, (int)file.pid);
    return state == HV_PROCESS_GONE;
}

static GPtrArray *make_argv(HvVm *vm, HvLaunchMode mode, const HvHandover *handover)
{
    const HvNode node = {.qemu_path = vm->qemu_path, .accelerator = vm->accelerator};
    const HvCommandLineInput input = {vm->definition,
                                      &node,
                                      mode,
                                      handover->qmp,
                                      handover->qmp_aux,
                                      handover->rescue[HV_RESCUE_MONITOR],
                                      handover->console,
                                      handover->console_log,
                                      handover->guest_agent,
                                      handover->taps,
                                      handover->disks};
    const HvLauncher launcher = {vm->launcher, vm->user};
    GPtrArray *argv = hv_command_line(&input);
    hv_launcher_wrap_qemu(argv, &launcher, handover->fds, handover->n, vm->definition,
                          handover->disks);
    g_free(vm->resources_note);
    vm->resources_note = hv_resources_wrap(argv, vm->definition, hv_resources_have_systemd());
    g_autofree char *line = g_strjoinv(" ", (char **)argv->pdata);
    dprintf(handover->log, "argv: %s\n", line);
    return argv;
}

static bool record(HvVm *vm, pid_t pid, uint64_t epoch, GError **error)
{
    g_autofree char *boot_id = hv_boot_id(error);
    if (!boot_id || !hv_process_start_time(pid, &vm->start_time, error))
        return false;
    HvProcessFile file = {pid, vm->start_time, boot_id, epoch, vm->definition, vm->rescue_fd};
    vm->epoch = epoch;
    return hv_process_file_write(vm->run_dir, &file, error);
}

static bool start(HvVm *vm, HvLaunchMode mode, uint64_t epoch, GError **error)
{
    g_auto(HvHandover) handover = HV_HANDOVER_INIT;
    g_auto(HvSpawn) spawn = HV_SPAWN_INIT;
    if (!check_free(vm, error) ||
        !hv_handover_open(&handover, vm->definition, mode, vm->run_dir, vm->user, error))
        return false;
    vm->rescue_fd = handover.rescue[HV_RESCUE_HELD];
    g_autoptr(GPtrArray) argv = make_argv(vm, mode, &handover);
    if (!hv_spawn_prepare((char *const *)argv->pdata, handover.log, handover.fds, handover.n,
                          &spawn, error) ||
        !record(vm, spawn.pid, epoch, error) || !hv_vm_connect(vm, error) ||
        !hv_spawn_release(&spawn, error)) {
        g_clear_pointer(&vm->qmp, qmp_client_free);
        return false; // spawn's cleanup ends the child; process.json names a dead process
    }
    hv_vm_watch(vm, spawn.pid, hv_steal_fd(&spawn.pidfd));
    spawn.pid = 0;
    return true;
}

static void configure(HvVm *vm)
{
    HvSteps *steps = hv_steps_new(HV_LAUNCH_MS);
    hv_steps_add(steps, "migrate-set-capabilities", hv_capabilities(false, false), NULL);
    hv_steps_add(steps, "query-status", NULL, hv_vm_take_status);
    hv_steps_run(steps, vm, on_launched, NULL);
}

void hv_vm_launch(HvVm *vm, HvLaunchMode mode, uint64_t epoch, HvDoneFn done, gpointer data)
{
    g_autoptr(GError) error = hv_vm_busy(vm);
    if (error || !start(vm, mode, epoch, &error)) {
        hv_vm_answer_later(vm, done, data, g_steal_pointer(&error));
        return;
    }
    vm->phase = HV_PHASE_LAUNCHING;
    vm->phase_done = done;
    vm->phase_data = data;
    vm->phase_timer = g_timeout_add(HV_LAUNCH_MS, on_launch_deadline, vm);
    vm->run_state = HV_RUN_UNKNOWN;
    vm->migration = HV_MIGRATION_NONE;
    vm->incoming_runs = false;
    hv_clean_bits(vm, mode, configure);
}
