// SPDX-License-Identifier: GPL-2.0-or-later
// The object, its references and its simple commands.
#include "hvcore/fs.h"
#include "hvcore/process.h"
#include "hvcore/vm_private.h"

#include <stdlib.h>

typedef struct {
    HvDoneFn done;
    gpointer data;
    GError *error;
} Answer;

HvVm *hv_vm_new(const HvDefinition *definition, const HvNode *node, const char *run_dir,
                const HvVmEvents *events, gpointer data)
{
    HvVm *vm = g_new0(HvVm, 1);
    vm->references = 1;
    vm->definition = hv_definition_ref(definition);
    vm->launcher = g_strdup(node->launcher);
    vm->user = hv_user_ref(node->user);
    vm->qemu_path = g_strdup(node->qemu_path);
    vm->accelerator = g_strdup(node->accelerator);
    vm->run_dir = g_strdup(run_dir);
    if (events)
        vm->events = *events;
    vm->data = data;
    vm->pidfd = vm->rescue_fd = -1;
    vm->console_path = hv_vm_file(run_dir, definition->name, "console.sock");
    vm->guest_agent_path = hv_vm_file(run_dir, definition->name, "guest-agent.sock");
    vm->retired = g_ptr_array_new_with_free_func((GDestroyNotify)qmp_client_free);
    g_queue_init(&vm->later);
    return vm;
}

HvVm *hv_vm_hold(HvVm *vm)
{
    vm->references++;
    return vm;
}

static void answer_free(gpointer pointer)
{
    Answer *answer = pointer;
    g_clear_error(&answer->error);
    g_free(answer);
}

void hv_vm_release(HvVm *vm)
{
    if (--vm->references)
        return;
    hv_definition_unref(vm->definition);
    g_free(vm->launcher);
    hv_user_unref(vm->user);
    g_free(vm->qemu_path);
    g_free(vm->accelerator);
    g_free(vm->run_dir);
    g_free(vm->console_path);
    g_free(vm->guest_agent_path);
    g_free(vm->resources_note);
    g_clear_error(&vm->phase_error);
    g_free(vm);
}

void hv_vm_drop_source(guint *source)
{
    if (*source)
        g_source_remove(*source);
    *source = 0;
}

void hv_vm_free(HvVm *vm)
{
    if (!vm)
        return;
    vm->freed = true;
    hv_vm_drop_source(&vm->exit_watch);
    hv_vm_drop_source(&vm->log_timer);
    hv_vm_drop_source(&vm->phase_timer);
    hv_vm_drop_source(&vm->settle_timer);
    hv_vm_drop_source(&vm->save_end.timer);
    hv_vm_drop_source(&vm->later_source);
    g_clear_pointer(&vm->qmp, qmp_client_free);
    g_clear_pointer(&vm->retired, g_ptr_array_unref);
    g_queue_clear_full(&vm->later, answer_free);
    hv_close_fd(&vm->pidfd);
    hv_vm_release(vm);
}

static void tell(HvVm *vm, HvDoneFn done, const GError *error, gpointer data)
{
    if (done)
        done(vm, error, data);
    else if (error)
        g_debug("VM %s: %s", vm->definition->name, error->message);
}

static gboolean on_later(gpointer pointer)
{
    g_autoptr(HvVmHold) vm = hv_vm_hold(pointer);
    vm->later_source = 0;
    guint count = g_queue_get_length(&vm->later); // what callbacks add comes next time
    while (count-- && !vm->freed) {
        Answer *answer = g_queue_pop_head(&vm->later);
        tell(vm, answer->done, answer->error, answer->data);
        answer_free(answer);
    }
    return G_SOURCE_REMOVE;
}

void hv_vm_answer_later(HvVm *vm, HvDoneFn done, gpointer data, GError *error)
{
    Answer *answer = g_new(Answer, 1);
    *answer = (Answer){done, data, error};
    g_queue_push_tail(&vm->later, answer);
    if (!vm->later_source)
        vm->later_source = g_idle_add_full(G_PRIORITY_DEFAULT, on_later, vm, NULL);
}

// --- one command where there may be no connection ---

typedef struct {
    QmpReplyFn reply;
    gpointer data;
    GDestroyNotify destroy;
} Refused;

static void refused_free(gpointer data)
{
    Refused *refused = data;
    if (refused->destroy)
        refused->destroy(refused->data);
    g_free(refused);
}

static gboolean on_refused_source(gpointer data)
{
    Refused *refused = data;
    g_autoptr(GError) error =
        g_error_new(HV_ERROR, HV_ERROR_CLOSED, "there is no connection to QEMU's monitor");
    refused->reply(NULL, error, refused->data);
    return G_SOURCE_REMOVE;
}

void hv_vm_command(HvVm *vm, const char *command, json_t *arguments, unsigned deadline_ms,
                   QmpReplyFn reply, gpointer data, GDestroyNotify destroy)
{
    if (vm->qmp) {
        qmp_client_execute(vm->qmp, command, arguments, deadline_ms, reply, data, destroy);
        return;
    }
    json_decref(arguments);
    Refused *refused = g_new(Refused, 1);
    *refused = (Refused){reply, data, destroy};
    g_idle_add_full(G_PRIORITY_DEFAULT, on_refused_source, refused, refused_free);
}

// --- steps ---

typedef struct {
    char *command;
    json_t *arguments;
    HvStepFn check;
} Step;

struct HvSteps {
    int references;
    unsigned deadline_ms;
    GQueue queue;
    HvStepFn check; // of the command under way
    HvVm *vm;       // held
    HvDoneFn done;
    gpointer data;
};

HvSteps *hv_steps_new(unsigned deadline_ms)
{
    HvSteps *steps = g_new0(HvSteps, 1);
    steps->references = 1;
    steps->deadline_ms = deadline_ms;
    g_queue_init(&steps->queue);
    return steps;
}

void hv_steps_add(HvSteps *steps, const char *command, json_t *arguments, HvStepFn check)
{
    Step *step = g_new(Step, 1);
    *step = (Step){g_strdup(command), arguments, check};
    g_queue_push_tail(&steps->queue, step);
}

static void step_free(gpointer pointer)
{
    Step *step = pointer;
    g_free(step->command);
    json_decref(step->arguments);
    g_free(step);
}

static void steps_unref(gpointer pointer)
{
    HvSteps *steps = pointer;
    if (--steps->references)
        return;
    g_queue_clear_full(&steps->queue, step_free);
    if (steps->vm)
        hv_vm_release(steps->vm);
    g_free(steps);
}

static void steps_next(HvSteps *steps);

static void on_step(json_t *result, const GError *error, gpointer pointer)
{
    HvSteps *steps = pointer;
    if (steps->vm->freed)
        return;
    g_autoptr(GError) problem = error ? g_error_copy(error) : NULL;
    if (!problem && steps->check)
        problem = steps->check(steps->vm, result); // may call back, and that may free the VM
    if (steps->vm->freed)
        return;
    if (problem || g_queue_is_empty(&steps->queue))
        tell(steps->vm, steps->done, problem, steps->data);
    else
        steps_next(steps);
}

static void steps_next(HvSteps *steps)
{
    Step *step = g_queue_pop_head(&steps->queue);
    steps->check = step->check;
    steps->references++;
    hv_vm_command(steps->vm, step->command, g_steal_pointer(&step->arguments), steps->deadline_ms,
                  on_step, steps, steps_unref);
    step_free(step);
}

void hv_steps_run(HvSteps *steps, HvVm *vm, HvDoneFn done, gpointer data)
{
    steps->vm = hv_vm_hold(vm);
    steps->done = done;
    steps->data = data;
    steps_next(steps);
    steps_unref(steps);
}

void hv_vm_simple(HvVm *vm, const char *command, HvDoneFn done, gpointer data)
{
    HvSteps *steps = hv_steps_new(HV_COMMAND_MS);
    hv_steps_add(steps, command, NULL, NULL);
    hv_steps_run(steps, vm, done, data);
}

// --- what a VM is told ---

void hv_vm_query_status(HvVm *vm, unsigned deadline_ms, HvDoneFn done, gpointer data)
{
    HvSteps *steps = hv_steps_new(deadline_ms);
    hv_steps_add(steps, "query-status", NULL, hv_vm_take_status);
    hv_steps_run(steps, vm, done, data);
}

void hv_vm_cont(HvVm *vm, HvDoneFn done, gpointer data)
{
    hv_vm_simple(vm, "cont", done, data);
}

void hv_vm_pause(HvVm *vm, HvDoneFn done, gpointer data)
{
    hv_vm_simple(vm, "stop", done, data);
}

void hv_vm_powerdown(HvVm *vm, HvDoneFn done, gpointer data)
{
    hv_vm_simple(vm, "system_powerdown", done, data);
}

// Giving a guest's memory back takes a while of CPU time, which the node's other guests need more.
void hv_vm_quit(HvVm *vm, HvDoneFn done, gpointer data)
{
    if (vm->pid != 0)
        hv_process_last(vm->pid);
    hv_vm_simple(vm, "quit", done, data);
}

void hv_vm_announce(HvVm *vm, HvDoneFn done, gpointer data)
{
    HvSteps *steps = hv_steps_new(HV_COMMAND_MS);
    // QEMU's own figures for the end of a migration (ms).
    hv_steps_add(
        steps, "announce-self",
        json_pack("{s:i, s:i, s:i, s:i}", "initial", 50, "max", 550, "rounds", 5, "step", 100),
        NULL);
    hv_steps_run(steps, vm, done, data);
}

bool hv_vm_kill(HvVm *vm, GError **error)
{
    if (vm->pidfd >= 0)
        return hv_process_kill(vm->pidfd, error);
    g_set_error(error, HV_ERROR, HV_ERROR_NOT_RUNNING, "%s: there is no QEMU to kill",
                vm->definition->name);
    return false;
}
