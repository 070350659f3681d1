// SPDX-License-Identifier: GPL-2.0-or-later
// VMs come, change and go: define, undefine, discard. Everything is checked before anything is
// touched.
#include "agent/service.h"

#include "agent/status.h"
#include "agent/storage.h"
#include "agent/vm.h"
#include "agent/watch.h"
#include "agent/worker.h"
#include "hvcore/filesystem.h"

#include <string.h>

typedef struct {
    Agent *agent;
    HvDefinition *definition;
    HvDefinition *previous; // update: what the CIB has now
    bool update;
    bool start;
    bool alone;   // in the agent's table of what is being changed
    bool discard; // storage work: throw saved memory away
    bool damaged; // RECORD may not be the newest
    uint64_t newest; // epoch that the cluster has seen
    FerryRecord record;
    GError *error;
    AgentReplyFn reply;
    gpointer data;
} Definition;

static void end(Definition *work, json_t *result, const GError *error)
{
    if (work->alone)
        g_hash_table_remove(work->agent->changing, work->definition->name);
    work->reply(result, error, work->data);
    json_decref(result);
    hv_definition_unref(work->definition);
    if (work->previous != NULL)
        hv_definition_unref(work->previous);
    g_clear_error(&work->error);
    g_free(work);
}

// Storage errors reach the API as what they mean to the one who asked.
static void end_refused(Definition *work)
{
    g_autoptr(GError) error =
        g_error_new_literal(AGENT_ERROR, AGENT_ERROR_REFUSED, work->error->message);
    end(work, NULL, error);
}

static void done(const GError *error, gpointer data)
{
    Definition *work = data;
    json_t *result = json_pack("{s:s}", "name", work->definition->name);
    if (error == NULL && work->update) {
        g_autofree char *pending = hv_definition_pending(work->previous, work->definition);
        json_object_set_new(result, "pending",
                            pending != NULL ? json_string(pending) : json_null());
    }
    if (error == NULL && work->start) {
        AgentJob *job = agent_watch_started(work->agent, "start", work->definition->name);
        json_object_set_new(result, "job", json_string(agent_job_id(job)));
    }
    end(work, result, error);
}

// --- define ---

static const char *area_wwid(const HvDefinition *definition)
{
    const HvStorage *storage = definition->state_storage != NULL
                                   ? hv_definition_storage(definition, definition->state_storage)
                                   : NULL;
    return storage != NULL ? storage->wwid : NULL;
}

// Under the name of its state area, too, there has to be the same LUN.
static bool keeps_its_area(const HvDefinition *before, const HvDefinition *next, GError **error)
{
    const char *now = before != NULL ? area_wwid(before) : NULL;
    if (now == NULL || g_strcmp0(now, area_wwid(next)) == 0)
        return true;
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_REFUSED,
                "state_area: %s has it on %s and keeps it; to change it, shut the VM down, undefine it and "
                "define it again (its disks stay)",
                before->name, now);
    return false;
}

// What is found now is what every node has to find from now on.
static bool identify(Definition *work)
{
    HvDefinition *known = storage_identify(work->definition, work->previous, &work->error);
    if (known == NULL)
        return false;
    hv_definition_unref(work->definition);
    work->definition = known;
    return storage_make_available(known, true, &work->error) &&
           keeps_its_area(work->previous, known, &work->error);
}

static void prepare_storage(gpointer data)
{
    Definition *work = data;
    const HvNodeCheck check = {work->agent->node->accelerator,
                               .has_memory = work->update,
                               .unmounted = !hv_filesystems_held(work->definition->name)};
    if (!identify(work))
        return;
    const HvDefinition *definition = work->definition;
    if (!hv_definition_check_node(definition, &check, &work->error))
        return;
    ferry_area_prepare(definition->state_area, definition->uuid, definition->name,
                       definition->memory_mib, &work->error);
}

static void storage_prepared(gpointer data)
{
    Definition *work = data;
    if (work->error != NULL) {
        end_refused(work);
        return;
    }
    g_autofree char *json = hv_definition_to_json(work->definition);
    AgentPacemaker *pacemaker = work->agent->pacemaker;
    if (work->update)
        agent_pacemaker_set_definition(pacemaker, work->definition->name, json, done, work);
    else
        agent_pacemaker_create(pacemaker, work->definition->name, json, work->start,
                               !hv_definition_is_exclusive(work->definition), done, work);
}

// Two definitions at once would both find the area blank, and the one that Pacemaker refuses could have it.
// And what is only being undefined is not forgotten yet: the links to its storage stay.
static bool is_alone(Definition *work, GError **error)
{
    const char *name = work->definition->name;
    work->alone = g_hash_table_add(work->agent->changing, g_strdup(name));
    if (!work->alone)
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT,
                    "%s is being defined, discarded or undefined by an earlier request; see what comes of "
                    "it with `vmferry show %s`",
                    name, name);
    return work->alone;
}

// What ties a VM to its run record stays as it is.
static bool keeps_its_record(const Definition *work, GError **error)
{
    const HvDefinition *now = work->previous, *next = work->definition;
    bool other_uuid = strcmp(now->uuid, next->uuid) != 0;
    if (!other_uuid && strcmp(now->state_area, next->state_area) == 0)
        return true;
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_REFUSED,
                "%s: %s has %s and keeps it; to change it, shut the VM down, undefine it and define "
                "it again (its disks stay)",
                other_uuid ? "uuid" : "state_area", now->name,
                other_uuid ? now->uuid : now->state_area);
    return false;
}

// Whether it moves while it runs is a property of its resource.
static bool stays_movable(const Definition *work, GError **error)
{
    bool now = hv_definition_is_exclusive(work->previous);
    if (now == hv_definition_is_exclusive(work->definition))
        return true;
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_REFUSED,
                "storage: %s has %s file system that only its owner mounts, and that stays; to change it, "
                "shut the VM down, undefine it and define it again (its disks stay)",
                work->definition->name, now ? "a" : "no");
    return false;
}

static bool may_define(const Definition *work, GError **error)
{
    const char *name = work->definition->name;
    if (!agent_status_changeable(work->agent, error))
        return false;
    if (work->update && work->previous == NULL) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_NOT_FOUND,
                    "there is no VM \"%s\" to change; define it without update", name);
        return false;
    }
    if (work->update && (!keeps_its_record(work, error) || !stays_movable(work, error)))
        return false;
    if (!work->update && work->previous != NULL) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT,
                    "there is a VM \"%s\" already; `vmferry define --update` changes it", name);
        return false;
    }
    return true;
}

void agent_service_define(Agent *agent, const char *definition, size_t length, bool update,
                          bool start, AgentReplyFn reply, gpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strndup(definition, length);
    HvDefinition *parsed = hv_definition_parse(text, &error);
    if (parsed == NULL) {
        g_autoptr(GError) invalid =
            g_error_new_literal(AGENT_ERROR, AGENT_ERROR_INVALID, error->message);
        reply(NULL, invalid, data);
        return;
    }
    Definition *work = g_new0(Definition, 1);
    *work = (Definition){.agent = agent,
                         .definition = parsed,
                         .previous = agent_status_definition(agent, parsed->name),
                         .update = update,
                         .start = start && !update,
                         .reply = reply,
                         .data = data};
    if (may_define(work, &error) && is_alone(work, &error))
        agent_worker_run(prepare_storage, storage_prepared, work);
    else
        end(work, NULL, error);
}

// --- undefine and discard: nobody may run the VM ---

static bool is_stopped(Agent *agent, const char *name, GError **error)
{
    g_autofree char *silent = agent_status_silent_node(agent);
    g_autofree char *owner = agent_status_owner_of(agent, name);
    json_t *vm = agent_status_vm(agent, name);
    const char *role = json_string_value(json_object_get(vm, "target_role"));
    bool stopped = owner == NULL && g_strcmp0(role, "Stopped") == 0;
    json_decref(vm);
    if (silent != NULL)
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                    "the vmferryd of %s does not answer, and the node is online or still to be "
                    "fenced: whether %s runs there is not known",
                    silent, name);
    else if (!stopped)
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT, "%s %s%s; `vmferry stop %s` first", name,
                    owner != NULL ? "runs on " : "is meant to run", owner != NULL ? owner : "", name);
    return silent == NULL && stopped;
}

static Definition *work_on_stopped(Agent *agent, const char *name, AgentReplyFn reply,
                                   gpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) definition = agent_status_definition(agent, name);
    if (agent_status_changeable(agent, &error) && definition == NULL)
        error = agent_status_no_vm(agent, name);
    if (error != NULL || !is_stopped(agent, name, &error)) {
        reply(NULL, error, data);
        return NULL;
    }
    Definition *work = g_new0(Definition, 1);
    *work = (Definition){.agent = agent,
                         .definition = g_steal_pointer(&definition),
                         .newest = agent_pacemaker_epoch(agent->pacemaker, name),
                         .reply = reply,
                         .data = data};
    if (is_alone(work, &error))
        return work;
    end(work, NULL, error);
    return NULL;
}

static bool is_older_copy(const Definition *work)
{
    return work->record.epoch < work->newest;
}

static bool has_memory(const Definition *work)
{
    return work->damaged || is_older_copy(work) || work->record.state == FERRY_SEALED ||
           work->record.state == FERRY_QUARANTINED;
}

// A record whose other slot is damaged may say less than there was: every state goes.
static bool throw_away(Definition *work, FerryArea *area)
{
    FerryRecord next = work->record;
    if (is_older_copy(work)) {
        ferry_record_renew(&next, work->newest + 1);
        return ferry_area_write_record(area, &next, work->record.sequence, &work->error);
    }
    return (ferry_record_advance(&next, FERRY_OFF, true, "", NULL) ||
            ferry_record_advance(&next, FERRY_OFF, false, "", &work->error)) &&
           ferry_area_write_record(area, &next, work->record.sequence, &work->error);
}

static void read_area(gpointer data)
{
    Definition *work = data;
    if (!storage_make_area_available(work->definition, &work->error))
        return;
    g_autoptr(FerryArea) area = ferry_area_open(work->definition->state_area, &work->error);
    if (area == NULL ||
        !ferry_area_salvage_record(area, &work->record, &work->damaged, &work->error))
        return;
    if (strcmp(work->record.uuid, work->definition->uuid) != 0) {
        g_set_error(&work->error, AGENT_ERROR, AGENT_ERROR_REFUSED,
                    "%s: the state area belongs to another VM (%s)",
                    work->definition->state_area, work->record.vm);
        return;
    }
    if (work->discard && has_memory(work))
        throw_away(work, area);
}

static void discarded(gpointer data)
{
    Definition *work = data;
    g_autoptr(GError) error = NULL;
    const char *name = work->definition->name;
    if (work->error != NULL) {
        end_refused(work);
        return;
    }
    if (!has_memory(work)) {
        error = g_error_new(AGENT_ERROR, AGENT_ERROR_CONFLICT,
                            "%s has no saved memory (its record says %s)", name,
                            ferry_state_name(work->record.state));
        end(work, NULL, error);
        return;
    }
    agent_events_add(work->agent->events, "warning", "vm.discarded", name, NULL,
                     "the saved memory of %s was thrown away; it will start cold", name);
    agent_status_peek(work->agent);
    end(work, json_pack("{s:s}", "name", name), NULL);
}

void agent_service_discard(Agent *agent, const char *name, AgentReplyFn reply, gpointer data)
{
    Definition *work = work_on_stopped(agent, name, reply, data);
    if (work == NULL)
        return;
    work->discard = true;
    agent_worker_run(read_area, discarded, work);
}

static void release_area(gpointer data)
{
    Definition *work = data;
    g_autoptr(GError) ignored = NULL;
    if (!ferry_area_release(work->definition->state_area, work->definition->uuid, &ignored))
        g_warning("VM %s: %s", work->definition->name, ignored->message);
}

static void area_released(gpointer data)
{
    Definition *work = data;
    agent_events_add(work->agent->events, "info", "vm.undefined", work->definition->name, NULL,
                     "%s is no longer a VM of this cluster; its disks are as they were",
                     work->definition->name);
    end(work, json_pack("{s:s}", "name", work->definition->name), NULL);
}

static void resource_deleted(const GError *error, gpointer data)
{
    Definition *work = data;
    if (error != NULL)
        end(work, NULL, error);
    else
        agent_worker_run(release_area, area_released, work);
}

static void undefine_checked(gpointer data)
{
    Definition *work = data;
    const char *name = work->definition->name;
    if (work->error == NULL && has_memory(work)) {
        g_autoptr(GError) error =
            g_error_new(AGENT_ERROR, AGENT_ERROR_CONFLICT,
                        "%s has saved memory; start it, or `vmferry discard %s` first", name, name);
        end(work, NULL, error);
        return;
    }
    agent_pacemaker_delete(work->agent->pacemaker, name, resource_deleted, work);
}

void agent_service_undefine(Agent *agent, const char *name, AgentReplyFn reply, gpointer data)
{
    Definition *work = work_on_stopped(agent, name, reply, data);
    if (work != NULL)
        agent_worker_run(read_area, undefine_checked, work);
}
