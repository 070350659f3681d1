// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry-saver and vmferry-pager, in the place of migrate/saver.h and migrate/pager.h, and the
// image between them. Of an image only this counts: whose memory it is, whether it is complete,
// whether its pages are what was written. The pager looks at the record and the descriptor as the
// real one does (migrate/image_reader.c).
#include "migrate/area.h"
#include "migrate/pager.h"
#include "migrate/saver.h"
#include "tests/sim/fault.h"
#include "tests/sim/qemu.h"

#include <string.h>

struct SimSaver {
    SimActor actor;
    SimNode *node;
    FerrySaver *client; // NULL: vmferryd has dropped it
    unsigned image, memory;
    uint64_t epoch;
    bool alive;
};

struct FerrySaver {
    SimSaver *process;
    FerrySaverEvents events;
    gpointer data;
};

struct SimPager {
    SimActor actor;
    SimNode *node;
    FerryPager *client;
    bool lazy, alive, running; // running: the guest may run, pages follow
    unsigned image;
    uint64_t epoch;
};

struct FerryPager {
    SimPager *process;
    FerryPagerEvents events;
    gpointer data;
};

// The image in the area.
static struct {
    unsigned number; // of the save that wrote it last; 0 = none
    unsigned memory; // the oracle's; 0 = not complete
    uint64_t epoch;
    bool damaged;
} image;
static unsigned images;

enum { SAVERS = 256, RAM_BYTES = 64 << 20 };
static SimSaver savers[SAVERS];
static SimPager pagers[SAVERS];
static unsigned n_savers, n_pagers;

void sim_helpers_reset(void)
{
    memset(&image, 0, sizeof image);
    n_savers = n_pagers = images = 0;
}

// --- what a helper tells vmferryd, over its pipe, in order ---

typedef enum {
    SAYS_LISTENING,
    SAYS_FLUSHED,
    SAYS_CONNECTED,
    SAYS_RUNNING,
    SAYS_LOADED,
    SAYS_FAILED
} Says;

typedef struct {
    SimSaver *saver;
    SimPager *pager;
    Says says;
    FerryImage image;
    GError *error;
} Line;

static void line_free(gpointer data)
{
    Line *line = data;
    g_clear_error(&line->error);
    g_free(line);
}

static void saver_said(const Line *line)
{
    FerrySaver *saver = line->saver->client;
    const FerrySaverProgress progress = {.ram_bytes = RAM_BYTES};
    if (saver == NULL)
        return;
    if (line->says == SAYS_LISTENING)
        saver->events.listening(saver, saver->data);
    else if (line->says == SAYS_FLUSHED)
        saver->events.flushed(saver, &line->image, &progress, saver->data);
    else
        saver->events.failed(saver, line->error, saver->data);
}

static void pager_said(const Line *line)
{
    FerryPager *pager = line->pager->client;
    const FerryPagerProgress progress = {0};
    if (pager == NULL)
        return;
    if (line->says == SAYS_CONNECTED)
        pager->events.connected(pager, pager->data);
    else if (line->says == SAYS_RUNNING && pager->events.running != NULL)
        pager->events.running(pager, pager->data);
    else if (line->says == SAYS_LOADED)
        pager->events.loaded(pager, &progress, pager->data);
    else if (line->says == SAYS_FAILED)
        pager->events.failed(pager, line->error, pager->data);
}

static void said(gpointer data)
{
    const Line *line = data;
    if (line->saver != NULL)
        saver_said(line);
    else
        pager_said(line);
}

static void say(SimSaver *saver, SimPager *pager, Says says, GError *error)
{
    SimNode *node = saver != NULL ? saver->node : pager->node;
    Line *line = g_new0(Line, 1);
    *line = (Line){.saver = saver, .pager = pager, .says = says, .error = error};
    if (saver != NULL)
        line->image = (FerryImage){.descriptor_offset = 4096,
                                   .descriptor_length = 4096,
                                   .descriptor_crc32c = saver->image,
                                   .ram_bytes = RAM_BYTES,
                                   .passes = 2};
    sim_after(&node->agent_process, sim_in_order(&node->pipe_us, 200), said, line, line_free);
}

// --- saver ---

static void cut(SimQemu *qemu, HvMigrationStatus status);
static void saver_ends(SimSaver *saver);

static void saver_listens(gpointer data)
{
    say(data, NULL, SAYS_LISTENING, NULL);
}

FerrySaver *ferry_saver_start(const char *libexec_dir, const char *area_path,
                              const char *socket_path, uint64_t epoch,
                              const FerrySaverEvents *events, gpointer data, GError **error)
{
    (void)libexec_dir;
    (void)area_path;
    (void)socket_path;
    if (n_savers == SAVERS || sim_fault_now(FAULT_HELPER_FAILS)) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_CHILD, "vmferry-saver cannot be started");
        return NULL;
    }
    SimSaver *process = &savers[n_savers++];
    *process = (SimSaver){
        .actor = {.node = world.here}, .node = world.here, .epoch = epoch, .alive = true};
    FerrySaver *saver = g_new(FerrySaver, 1);
    *saver = (FerrySaver){.process = process, .events = *events, .data = data};
    process->client = saver;
    world.here->saver = process;
    sim_after(&process->actor, sim_around(5 * SIM_MS), saver_listens, process, NULL);
    return saver;
}

void ferry_saver_ahead(FerrySaver *saver, uint64_t bytes)
{
    (void)saver;
    (void)bytes;
}

void ferry_saver_paused(FerrySaver *saver)
{
    (void)saver;
}

void ferry_saver_free(FerrySaver *saver)
{
    if (saver == NULL)
        return;
    saver->process->client = NULL;
    saver_ends(saver->process);
    g_free(saver);
}

static void page_lands_late(gpointer data)
{
    unsigned number = GPOINTER_TO_UINT(data);
    if (image.number == number || image.memory == 0)
        return; // the same pages, or an image that is not complete anyway
    SIM_TRACE("a page of save %u lands late in image %u", number, image.number);
    image.damaged = true;
}

static void saver_ends(SimSaver *saver)
{
    if (!saver->alive)
        return;
    saver->alive = false;
    sim_end_life(&saver->actor);
    gint64 hang_us = saver->node->hang_until_us - world.now_us;
    if (hang_us > 0 && saver->image != 0 && image.memory == 0 && sim_chance(200)) {
        world.storage_damage++;
        sim_after(&saver->node->os, hang_us + sim_around(100 * SIM_MS), page_lands_late,
                  GUINT_TO_POINTER(saver->image), NULL);
    }
    if (saver->node->saver == saver) {
        saver->node->saver = NULL;
        SimQemu *qemu = saver->node->qemu;
        if (sim_qemu_lives(qemu) && qemu->outgoing == HV_MIGRATION_ACTIVE)
            cut(qemu, HV_MIGRATION_FAILED);
    }
}

static void saver_flushed(gpointer data)
{
    SimSaver *saver = data;
    if (saver->node->no_space || saver->node->io_errors > 0) {
        saver->node->io_errors -= saver->node->io_errors > 0;
        say(saver, NULL, SAYS_FAILED,
            g_error_new(FERRY_ERROR, FERRY_ERROR_IO, "writing the image: no space left on device"));
        saver_ends(saver);
        return;
    }
    SIM_TRACE("%s: image %u is complete (memory %u)", saver->node->name, saver->image,
              saver->memory);
    if (image.number == saver->image)
        image.memory = saver->memory;
    say(saver, NULL, SAYS_FLUSHED, NULL);
}

// --- QEMU's side of a save ---

static void cut(SimQemu *qemu, HvMigrationStatus status)
{
    sim_cancel(qemu->pass);
    qemu->outgoing = status;
    sim_qemu_tell_migration(qemu, status);
    if (qemu->run_state == HV_RUN_FINISH_MIGRATE) // it was running before: QEMU goes on by itself
        sim_qemu_set_run_state(qemu, HV_RUN_RUNNING);
}

void sim_save_end(SimQemu *qemu)
{
    if (qemu->outgoing == HV_MIGRATION_ACTIVE)
        cut(qemu, HV_MIGRATION_FAILED);
}

static void stream_over(gpointer data)
{
    SimQemu *qemu = data;
    SimSaver *saver = qemu->node->saver;
    qemu->outgoing = HV_MIGRATION_COMPLETED;
    saver->memory = oracle_saved(&world.oracle, qemu->copy);
    sim_qemu_tell_migration(qemu, HV_MIGRATION_COMPLETED);
    sim_qemu_set_run_state(qemu, HV_RUN_POSTMIGRATE);
    gint64 hang_us = MAX(qemu->node->hang_until_us - world.now_us, 0);
    sim_after(&saver->actor, hang_us + sim_around(5 * SIM_MS), saver_flushed, saver, NULL);
}

static void last_pass(gpointer data)
{
    SimQemu *qemu = data;
    gint64 us = sim_around(20 * SIM_MS);
    if (qemu->run_state == HV_RUN_RUNNING)
        sim_qemu_set_run_state(qemu, HV_RUN_FINISH_MIGRATE);
    qemu->pass_ends_us = world.now_us + us;
    qemu->pass = sim_after(&qemu->actor, us, stream_over, qemu, NULL);
}

bool sim_save_begin(SimQemu *qemu)
{
    SimSaver *saver = qemu->node->saver;
    if (saver == NULL || (qemu->run_state != HV_RUN_RUNNING && qemu->run_state != HV_RUN_PAUSED))
        return false;
    image.number = saver->image = ++images;
    image.memory = 0;
    image.damaged = false;
    image.epoch = saver->epoch;
    qemu->outgoing = HV_MIGRATION_ACTIVE;
    sim_qemu_tell_migration(qemu, HV_MIGRATION_ACTIVE);
    qemu->pass = sim_after(&qemu->actor, sim_around(250 * SIM_MS), last_pass, qemu, NULL);
    return true;
}

// --- pager ---

static void pager_ends(SimPager *pager)
{
    if (!pager->alive)
        return;
    pager->alive = false;
    sim_end_life(&pager->actor);
    SimNode *node = pager->node;
    if (node->pager == pager)
        node->pager = NULL;
    SimQemu *qemu = node->qemu;
    if (!sim_qemu_lives(qemu) || qemu->incoming != HV_MIGRATION_ACTIVE)
        return;
    if (!pager->running) {
        sim_qemu_killed(qemu, ORACLE_BY_PRODUCT); // its stream is cut: it ends by itself
        return;
    }
    qemu->incoming = HV_MIGRATION_PAUSED;
    qemu->waits = sim_chance(300);
    SIM_TRACE("%s: QEMU has lost its pager%s", node->name, qemu->waits ? ", and its main loop waits" : "");
    sim_qemu_tell_migration(qemu, HV_MIGRATION_PAUSED);
}

static void pager_fails(SimPager *pager, FerryErrorCode code, const char *why)
{
    SIM_TRACE("%s: the pager fails: %s", pager->node->name, why);
    say(NULL, pager, SAYS_FAILED, g_error_new_literal(FERRY_ERROR, (gint)code, why));
    pager_ends(pager);
}

static void pager_connects(gpointer data)
{
    SimPager *pager = data;
    SimQemu *qemu = pager->node->qemu;
    if (!sim_qemu_lives(qemu)) {
        pager_fails(pager, FERRY_ERROR_CHILD, "cannot connect to QEMU");
        return;
    }
    qemu->incoming = HV_MIGRATION_ACTIVE;
    say(NULL, pager, SAYS_CONNECTED, NULL);
}

static FerryPager *pager_new(bool lazy, const FerryPagerEvents *events, gpointer data,
                             GError **error)
{
    SimNode *node = world.here;
    if (n_pagers == SAVERS || sim_fault_now(FAULT_HELPER_FAILS)) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_CHILD, "vmferry-pager cannot be started");
        return NULL;
    }
    SimPager *process = &pagers[n_pagers++];
    *process = (SimPager){.actor = {.node = node}, .node = node, .lazy = lazy, .alive = true};
    FerryPager *pager = g_new(FerryPager, 1);
    *pager = (FerryPager){.process = process, .events = *events, .data = data};
    process->client = pager;
    node->pager = process;
    return pager;
}

FerryPager *ferry_pager_start(const char *libexec_dir, const char *area_path,
                              const char *socket_path, const FerryPagerEvents *events,
                              gpointer data, GError **error)
{
    (void)libexec_dir;
    (void)area_path;
    (void)socket_path;
    FerryPager *pager = pager_new(false, events, data, error);
    if (pager != NULL)
        sim_after(&pager->process->actor, sim_around(4 * SIM_MS), pager_connects, pager->process,
                  NULL);
    return pager;
}

FerryPager *ferry_pager_start_lazy(const char *libexec_dir, const char *area_path,
                                   const char *socket_path, const char *huge_block,
                                   const FerryPagerEvents *events, gpointer data, GError **error)
{
    (void)libexec_dir;
    (void)area_path;
    (void)socket_path;
    (void)huge_block;
    FerryPager *pager = pager_new(true, events, data, error);
    if (pager != NULL)
        sim_after(&pager->process->actor, sim_around(4 * SIM_MS), pager_connects, pager->process,
                  NULL);
    return pager;
}

static bool image_is_good(const SimPager *pager)
{
    return image.number == pager->image && image.memory != 0 && !image.damaged;
}

static bool record_allows(const SimPager *pager, bool again, FerryRecord *record)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FerryArea) area = ferry_area_open(SIM_AREA, &error);
    if (!ferry_area_read_record(area, record, &error))
        return false;
    if (again && record->state == FERRY_CONSUMED && record->epoch == pager->epoch + 1)
        return true;
    return record->state == FERRY_SEALED && record->epoch == pager->epoch;
}

static void qemu_has_memory(SimQemu *qemu)
{
    oracle_loaded(&world.oracle, qemu->copy, image.memory);
    sim_qemu_set_run_state(qemu, HV_RUN_PAUSED);
    if (qemu->autostart)
        sim_qemu_set_run_state(qemu, HV_RUN_RUNNING);
}

static void last_word(gpointer data)
{
    SimPager *pager = data;
    say(NULL, pager, SAYS_LOADED, NULL);
    pager_ends(pager);
}

static void pages_over(gpointer data)
{
    SimPager *pager = data;
    SimQemu *qemu = pager->node->qemu;
    if (!image_is_good(pager) || sim_fault_now(FAULT_IMAGE_DAMAGED)) {
        pager_fails(pager, FERRY_ERROR_CORRUPT, "a page has a wrong CRC32C");
        return;
    }
    qemu->incoming = HV_MIGRATION_COMPLETED;
    sim_qemu_tell_migration(qemu, HV_MIGRATION_COMPLETED);
    if (!pager->lazy)
        qemu_has_memory(qemu);
    sim_after(&pager->actor, sim_around(SIM_MS), last_word, pager, NULL);
}

// Even slow storage has it done long before a stop's share of time is over.
static void bring_pages(SimPager *pager)
{
    gint64 hang_us = MAX(pager->node->hang_until_us - world.now_us, 0);
    gint64 us = sim_around(2 * SIM_S);
    sim_after(&pager->actor, hang_us + MIN(us, 30 * SIM_S), pages_over, pager, NULL);
}

static void device_state_over(gpointer data)
{
    SimPager *pager = data;
    SimQemu *qemu = pager->node->qemu;
    if (!image_is_good(pager) || sim_fault_now(FAULT_IMAGE_DAMAGED)) {
        pager_fails(pager, FERRY_ERROR_CORRUPT, "the device state has a wrong CRC32C");
        return;
    }
    pager->running = true;
    say(NULL, pager, SAYS_RUNNING, NULL);
    qemu_has_memory(qemu);
    bring_pages(pager);
}

static void begin_load(gpointer data)
{
    SimPager *pager = data;
    FerryRecord record;
    if (!record_allows(pager, false, &record)) {
        pager_fails(pager, FERRY_ERROR_STATE, "the record is not sealed with that epoch");
        return;
    }
    pager->image = record.image.descriptor_crc32c;
    if (!image_is_good(pager) || image.epoch != pager->epoch) {
        world.storage_damage += image.damaged;
        pager_fails(pager, FERRY_ERROR_CORRUPT, "the descriptor has a wrong CRC32C");
        return;
    }
    gint64 hang_us = MAX(pager->node->hang_until_us - world.now_us, 0);
    sim_after(&pager->actor, hang_us + sim_around(pager->lazy ? 5 * SIM_MS : 200 * SIM_MS),
              pager->lazy ? device_state_over : pages_over, pager, NULL);
}

void ferry_pager_load(FerryPager *pager, uint64_t epoch)
{
    pager->process->epoch = epoch;
    if (pager->process->alive)
        sim_after(&pager->process->actor, sim_around(SIM_MS), begin_load, pager->process, NULL);
}

static void goes_on(gpointer data)
{
    SimPager *pager = data;
    FerryRecord record;
    SimQemu *qemu = pager->node->qemu;
    if (!sim_qemu_lives(qemu) || qemu->incoming != HV_MIGRATION_PAUSED ||
        !record_allows(pager, true, &record)) {
        pager_fails(pager, FERRY_ERROR_STATE, "there is nothing to go on with");
        return;
    }
    pager->image = record.image.descriptor_crc32c;
    pager->running = true;
    qemu->incoming = HV_MIGRATION_ACTIVE;
    qemu->waits = false;
    sim_qemu_tell_migration(qemu, HV_MIGRATION_ACTIVE);
    bring_pages(pager);
}

FerryPager *ferry_pager_start_again(const char *libexec_dir, const char *area_path,
                                    const char *socket_path, const char *huge_block, uint64_t epoch,
                                    const FerryPagerEvents *events, gpointer data, GError **error)
{
    (void)libexec_dir;
    (void)area_path;
    (void)socket_path;
    (void)huge_block;
    FerryPager *pager = pager_new(true, events, data, error);
    if (pager == NULL)
        return NULL;
    pager->process->epoch = epoch;
    sim_after(&pager->process->actor, sim_around(5 * SIM_MS), goes_on, pager->process, NULL);
    return pager;
}

void ferry_pager_preload(FerryPager *pager, uint64_t epoch)
{
    (void)pager;
    (void)epoch;
}

void ferry_pager_hurry(FerryPager *pager)
{
    (void)pager;
}

void ferry_pager_redirect(FerryPager *pager, const FerryPagerEvents *events, gpointer data)
{
    pager->events = *events;
    pager->data = data;
}

void ferry_pager_leave(FerryPager *pager)
{
    pager->process->client = NULL;
    g_free(pager);
}

void ferry_pager_free(FerryPager *pager)
{
    if (pager == NULL)
        return;
    pager->process->client = NULL;
    pager_ends(pager->process);
    g_free(pager);
}

// --- ends ---

void sim_helpers_qemu_gone(SimQemu *qemu)
{
    SimNode *node = qemu->node;
    if (node->qemu != qemu)
        return;
    if (node->pager != NULL)
        pager_fails(node->pager, FERRY_ERROR_CHILD, "QEMU went away");
    // A saver that has the whole stream goes on without QEMU.
    if (node->saver != NULL && qemu->outgoing == HV_MIGRATION_ACTIVE) {
        say(node->saver, NULL, SAYS_FAILED,
            g_error_new(FERRY_ERROR, FERRY_ERROR_STREAM, "QEMU's stream was cut"));
        saver_ends(node->saver);
    }
}

// They see their pipe close; only a pager whose guest may run goes on.
void sim_helpers_agent_gone(SimNode *node)
{
    if (node->saver != NULL)
        saver_ends(node->saver);
    if (node->pager != NULL && !node->pager->running)
        pager_ends(node->pager);
}

static void power_off(SimActor *actor, bool *alive)
{
    *alive = false;
    sim_end_life(actor);
}

void sim_helpers_node_lost(SimNode *node)
{
    if (node->saver != NULL)
        power_off(&node->saver->actor, &node->saver->alive);
    if (node->pager != NULL)
        power_off(&node->pager->actor, &node->pager->alive);
    node->saver = NULL;
    node->pager = NULL;
}

bool sim_kill_saver(SimNode *node)
{
    if (node->saver == NULL)
        return false;
    say(node->saver, NULL, SAYS_FAILED,
        g_error_new(FERRY_ERROR, FERRY_ERROR_CHILD, "vmferry-saver was killed"));
    saver_ends(node->saver);
    return true;
}

bool sim_kill_pager(SimNode *node)
{
    if (node->pager == NULL)
        return false;
    pager_fails(node->pager, FERRY_ERROR_CHILD, "vmferry-pager was killed");
    return true;
}
