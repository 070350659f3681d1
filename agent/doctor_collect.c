// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/doctor_collect.h"

#include "agent/doctor_look.h"
#include "agent/doctor_tasks.h"
#include "agent/vm.h"

typedef struct {
    DoctorCollected done;
    gpointer data;
} Waiter;

static GArray *waiters; // for the look that is under way; NULL: none is

static DoctorLook *look_new(Agent *agent)
{
    const HvNode *node = agent->node;
    json_t *facts = agent_pacemaker_facts(agent->pacemaker);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    DoctorLook *look = g_new0(DoctorLook, 1);
    size_t index;
    json_t *name;

    json_array_foreach (json_object_get(facts, "nodes"), index, name)
        if (json_is_string(name))
            g_ptr_array_add(names, g_strdup(json_string_value(name)));
    g_ptr_array_add(names, NULL);
    json_decref(facts);
    look->nodes = (char **)g_ptr_array_free(g_steal_pointer(&names), FALSE);
    look->qemu = g_strdup(node->qemu_path);
    look->accelerator = g_strdup(node->accelerator);
    look->known = json_pack("{s:s, s:s, s:s, s:s, s:b, s:I}", "vmferry_version", VMFERRY_VERSION,
                            "qemu_version", node->qemu_version, "accelerator", node->accelerator,
                            "accelerator_reason", node->accelerator_reason, "userfaultfd",
                            node->userfaultfd, "memory_mib", (json_int_t)node->memory_mib);
    return look;
}

static void add(DoctorTasks *tasks, const char *name, DoctorTaskFn run, DoctorLook *look)
{
    doctor_tasks_add(tasks, name, run, look, doctor_look_free);
}

static void add_vms(Agent *agent, DoctorTasks *tasks)
{
    json_t *resources = agent_pacemaker_resources(agent->pacemaker);
    size_t index;
    json_t *resource;

    json_array_foreach (resources, index, resource) {
        const char *name = json_string_value(json_object_get(resource, "name"));
        const char *text = json_string_value(json_object_get(resource, "definition"));
        HvDefinition *definition = hv_definition_parse(text != NULL ? text : "", NULL);
        AgentVm *vm = agent_vm_find(agent, name);
        g_autofree char *section = g_strconcat("vm ", name, NULL);

        if (definition == NULL) // the rule about definitions tells it
            continue;
        DoctorLook *look = look_new(agent);
        look->definition = definition;
        look->pid = vm != NULL && vm->hv != NULL ? hv_vm_pid(vm->hv) : 0;
        add(tasks, section, doctor_look_vm, look);
    }
    json_decref(resources);
}

static void collected(json_t *sections, gpointer data)
{
    g_autoptr(GArray) waiting = g_steal_pointer(&waiters);
    json_t *corosync = data;

    json_object_set_new(sections, "corosync", corosync);
    for (guint i = 0; i < waiting->len; i++) {
        const Waiter *waiter = &g_array_index(waiting, Waiter, i);

        waiter->done(sections, waiter->data);
    }
}

static void begin(Agent *agent)
{
    DoctorTasks *tasks = doctor_tasks_new();

    add(tasks, "host", doctor_look_host, look_new(agent));
    add(tasks, "fencing", doctor_look_fencing, look_new(agent));
    add(tasks, "crm_verify", doctor_look_crm_verify, look_new(agent));
    add(tasks, "iscsi", doctor_look_iscsi, look_new(agent));
    add(tasks, "multipath", doctor_look_multipath, look_new(agent));
    add(tasks, "sbd", doctor_look_sbd, look_new(agent));
    add_vms(agent, tasks);
    doctor_tasks_run(tasks, DOCTOR_COLLECT_MS, collected, agent_cluster_corosync(agent->cluster));
}

void doctor_collect(Agent *agent, DoctorCollected done, gpointer data)
{
    Waiter waiter = {done, data};
    bool under_way = waiters != NULL;

    if (!under_way)
        waiters = g_array_new(FALSE, FALSE, sizeof(Waiter));
    g_array_append_val(waiters, waiter);
    if (!under_way)
        begin(agent);
}
