// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/preload.h"

#include "migrate/crc32c.h"

#include <stdlib.h>
#include <string.h>

enum {
    POLL_MS = 10,    // between two looks for the next journal block
    WAIT_MS = 50,    // for the save to begin
    RUNS = 32,       // under way at most
    RUN_PAGES = 256, // of one run at most: 1 MiB
    LOOK_PAGES = 256,
    // As much as the storage delivers soon may be under way: the first read after the seal has to
    // wait behind it.
    SLOW_US = 6000,
    QUICK_US = 3000,
    MIN_BYTES = 512 * 1024,
    MAX_BYTES = 8 * 1024 * 1024,
};

typedef struct {
    uint64_t first;
    uint32_t n; // 0: free
    FerryIndexEntry entries[RUN_PAGES];
    uint8_t *buffer;
    gint64 asked_at;
} Run;

struct FerryPreload {
    FerryArea *area;
    FerryReads *reads;
    FerryPreloadEvents events;
    void *env;
    uint64_t epoch;
    uint64_t save;     // 0: it has not begun
    uint64_t journals; // that were read
    bool begun;        // the descriptor is known
    bool dead;         // the storage failed
    gint64 now;        // of this step
    gint64 looked_at;  // for the next journal block
    FerryDescriptor descriptor;
    uint32_t *loaded; // generation of each page that was; 0 = none
    bool *due;        // of each index block
    bool *unsure;     // of each index block: pages of it were read in vain and may be older than it
    GQueue queue;     // of due blocks, GUINT_TO_POINTER
    // The index block that pages are taken from.
    FerryIndexEntry entries[FERRY_ENTRIES];
    uint64_t block;
    uint32_t at;
    bool has_block;
    Run runs[RUNS];
    uint64_t under_way, limit; // bytes
    uint64_t bytes;
    uint64_t taken, zeros; // pages
};

FerryPreload *ferry_preload_new(FerryArea *area, FerryReads *reads, uint64_t epoch,
                                const FerryPreloadEvents *events, void *env)
{
    FerryPreload *preload = g_new0(FerryPreload, 1);
    *preload = (FerryPreload){.area = area,
                              .reads = reads,
                              .events = *events,
                              .env = env,
                              .epoch = epoch,
                              .limit = MIN_BYTES};
    g_queue_init(&preload->queue);
    return preload;
}

void ferry_preload_free(FerryPreload *preload)
{
    if (preload == NULL)
        return;
    for (size_t i = 0; i < RUNS; i++)
        free(preload->runs[i].buffer);
    g_queue_clear(&preload->queue);
    free(preload->loaded);
    g_free(preload->due);
    g_free(preload->unsure);
    g_free(preload);
}

static bool read_bytes(FerryPreload *preload, void *buffer, size_t length, uint64_t offset)
{
    g_autoptr(GError) error = NULL;
    size_t whole = ferry_whole_pages(length);
    preload->bytes += whole;
    preload->dead = !ferry_area_read(preload->area, buffer, whole, offset, &error);
    if (preload->dead)
        g_debug("nothing more is loaded ahead: %s", error->message);
    return !preload->dead;
}

// --- the journal ---

static void set_due(FerryPreload *preload, uint64_t block)
{
    if (block >= preload->descriptor.index_blocks || preload->due[block])
        return;
    preload->due[block] = true;
    g_queue_push_tail(&preload->queue, GUINT_TO_POINTER(block));
}

static void set_all_due(FerryPreload *preload)
{
    for (uint64_t block = 0; block < preload->descriptor.index_blocks; block++)
        set_due(preload, block);
}

// The save's own number; before it is known, an earlier save's journal could be taken for this one's.
static bool find_save(FerryPreload *preload)
{
    FerryRecord record;
    g_autoptr(GError) error = NULL;
    if (!ferry_area_read_record(preload->area, &record, &error) ||
        record.state != FERRY_SAVING || record.epoch != preload->epoch)
        return false;
    preload->save = record.sequence;
    return true;
}

static bool read_journal(FerryPreload *preload, uint64_t number, FerryJournal *journal)
{
    uint8_t *bytes = ferry_buffer_new(FERRY_PAGE);
    bool fine = read_bytes(preload, bytes, FERRY_PAGE, ferry_journal_offset(number)) &&
                ferry_journal_decode(journal, bytes) && journal->epoch == preload->epoch &&
                journal->save == preload->save && journal->number >= number;
    free(bytes);
    return fine;
}

static bool read_descriptor(FerryPreload *preload, const FerryJournal *journal)
{
    g_autoptr(GError) error = NULL;
    if (journal->descriptor_length > FERRY_DESCRIPTOR_MAX)
        return false;
    uint8_t *bytes = ferry_buffer_new(FERRY_DESCRIPTOR_MAX);
    bool fine =
        read_bytes(preload, bytes, journal->descriptor_length, FERRY_DESCRIPTOR_OFFSET) &&
        ferry_crc32c(0, bytes, journal->descriptor_length) == journal->descriptor_crc32c &&
        ferry_descriptor_decode(&preload->descriptor, bytes, journal->descriptor_length,
                                ferry_area_size(preload->area), &error) &&
        preload->descriptor.epoch == preload->epoch && preload->descriptor.save == preload->save;
    free(bytes);
    return fine;
}

static bool begin(FerryPreload *preload, const FerryJournal *journal, GError **error)
{
    if (!read_descriptor(preload, journal))
        return true; // it is sealed by now, or the next look finds it
    // calloc: untouched memory costs nothing, however large the guest is.
    preload->loaded = calloc(preload->descriptor.total_pages, sizeof(uint32_t));
    if (preload->loaded == NULL)
        g_error("no memory for %" G_GUINT64_FORMAT " pages", preload->descriptor.total_pages);
    preload->due = g_new0(bool, preload->descriptor.index_blocks);
    preload->unsure = g_new0(bool, preload->descriptor.index_blocks);
    preload->begun = true;
    return preload->events.begin(&preload->descriptor, preload->env, error);
}

static void take_journal(FerryPreload *preload, const FerryJournal *journal)
{
    // Where the ring went round, blocks in between are unknown; their entries are on storage.
    if (journal->number > preload->journals + 1)
        set_all_due(preload);
    for (uint32_t i = 0; i < journal->count; i++)
        set_due(preload, journal->blocks[i]);
    preload->journals = journal->number;
}

// Sets FOUND where there is more to do.
static bool look_at_journal(FerryPreload *preload, bool *found, GError **error)
{
    FerryJournal journal;
    *found = false;
    if (preload->save == 0 && !find_save(preload))
        return true;
    if (!read_journal(preload, preload->journals + 1, &journal))
        return true;
    if (!preload->begun && !begin(preload, &journal, error))
        return false;
    *found = preload->begun;
    if (*found)
        take_journal(preload, &journal);
    return true;
}

// --- what is read next ---

// Takes the next due index block; one that is being written is named again later, one that cannot be read
// is compared at the seal.
static bool next_block(FerryPreload *preload)
{
    g_autoptr(GError) error = NULL;
    uint8_t *bytes = ferry_buffer_new(FERRY_PAGE);
    preload->block = GPOINTER_TO_UINT(g_queue_pop_head(&preload->queue));
    preload->due[preload->block] = false;
    preload->at = 0;
    preload->has_block =
        read_bytes(preload, bytes, FERRY_PAGE,
                   preload->descriptor.index_offset + preload->block * FERRY_PAGE) &&
        ferry_index_decode(preload->entries, preload->block, &preload->descriptor, bytes, &error);
    free(bytes);
    preload->unsure[preload->block] |= !preload->has_block;
    return preload->has_block;
}

static uint64_t page_of(const FerryPreload *preload, uint32_t at)
{
    return preload->block * FERRY_ENTRIES + at;
}

static uint32_t end_of_block(const FerryPreload *preload)
{
    uint64_t left = preload->descriptor.total_pages - preload->block * FERRY_ENTRIES;
    return (uint32_t)MIN(left, (uint64_t)FERRY_ENTRIES);
}

static bool wanted(const FerryPreload *preload, uint32_t at, FerryPageState state)
{
    FerryIndexEntry entry = preload->entries[at];
    return ferry_entry_state(entry) == state &&
           preload->loaded[page_of(preload, at)] < ferry_entry_generation(entry);
}

// QEMU needs a while for many of them: the end is looked for in between.
static bool is_over(const FerryPreload *preload)
{
    return preload->zeros % LOOK_PAGES == 0 && preload->events.is_over(preload->env);
}

static bool take_zero(FerryPreload *preload, GError **error)
{
    uint64_t page = page_of(preload, preload->at);
    preload->loaded[page] = ferry_entry_generation(preload->entries[preload->at]);
    preload->at++;
    preload->zeros++;
    return preload->events.page(page, NULL, preload->env, error);
}

static void begin_run(FerryPreload *preload, Run *run)
{
    uint32_t end = end_of_block(preload);
    run->first = page_of(preload, preload->at);
    while (preload->at < end && run->n < RUN_PAGES &&
           wanted(preload, preload->at, FERRY_PAGE_PRESENT))
        run->entries[run->n++] = preload->entries[preload->at++];
    if (run->buffer == NULL)
        run->buffer = ferry_buffer_new((size_t)RUN_PAGES * FERRY_PAGE);
    size_t bytes = (size_t)run->n * FERRY_PAGE;
    run->asked_at = preload->now;
    preload->under_way += bytes;
    preload->bytes += bytes;
    ferry_reads_submit(preload->reads, run->buffer, bytes,
                       preload->descriptor.pages_offset + run->first * FERRY_PAGE, run);
    ferry_reads_flush(preload->reads); // the next index block is waited for
}

static Run *free_run(FerryPreload *preload)
{
    for (size_t i = 0; i < RUNS; i++)
        if (preload->runs[i].n == 0)
            return &preload->runs[i];
    return NULL;
}

// Begins what may be under way; zero pages go at once.
static bool ask(FerryPreload *preload, GError **error)
{
    Run *run;
    while (!preload->dead && preload->under_way < preload->limit &&
           (run = free_run(preload)) != NULL) {
        if (preload->has_block && preload->at == end_of_block(preload))
            preload->has_block = false;
        if (!preload->has_block && g_queue_is_empty(&preload->queue))
            break;
        if (!preload->has_block && !next_block(preload))
            continue;
        if (wanted(preload, preload->at, FERRY_PAGE_PRESENT))
            begin_run(preload, run);
        else if (!wanted(preload, preload->at, FERRY_PAGE_ZERO))
            preload->at++;
        else if (!take_zero(preload, error))
            return false;
        else if (is_over(preload))
            break;
    }
    return true;
}

// --- what has been read ---

static void adapt(FerryPreload *preload, const Run *run)
{
    gint64 took = preload->now - run->asked_at;
    if (took > SLOW_US)
        preload->limit = MAX(preload->limit - preload->limit / 8, (uint64_t)MIN_BYTES);
    else if (took < QUICK_US)
        preload->limit = MIN(preload->limit + preload->limit / 8, (uint64_t)MAX_BYTES);
}

// A run is of one index block.
static void drop(FerryPreload *preload, const Run *run)
{
    preload->unsure[run->first / FERRY_ENTRIES] = true;
}

// Reads overtake each other: one that was begun earlier may bring what is older than what is there. And a
// page that is not what its entry says is being written: the index will name it again.
static bool is_news(const FerryPreload *preload, const Run *run, uint32_t i)
{
    return ferry_entry_generation(run->entries[i]) > preload->loaded[run->first + i] &&
           ferry_crc32c(0, run->buffer + (size_t)i * FERRY_PAGE, FERRY_PAGE) ==
               run->entries[i].crc32c;
}

static bool take_run(FerryPreload *preload, const Run *run, GError **error)
{
    for (uint32_t i = 0; i < run->n; i++) {
        const uint8_t *bytes = run->buffer + (size_t)i * FERRY_PAGE;
        if (!is_news(preload, run, i)) {
            drop(preload, run);
            continue;
        }
        preload->loaded[run->first + i] = ferry_entry_generation(run->entries[i]);
        preload->taken++;
        if (!preload->events.page(run->first + i, bytes, preload->env, error))
            return false;
    }
    return preload->events.flush(preload->env, error);
}

static Run *next_run(FerryPreload *preload, bool *failed)
{
    g_autoptr(GError) why = NULL;
    Run *run = ferry_reads_next(preload->reads, &why);
    *failed = why != NULL;
    if (run != NULL)
        preload->under_way -= (uint64_t)run->n * FERRY_PAGE;
    return run;
}

static bool take_runs(FerryPreload *preload, GError **error)
{
    bool failed, fine = true;
    for (Run *run; fine && !preload->events.is_over(preload->env) &&
                   (run = next_run(preload, &failed)) != NULL;
         run->n = 0) {
        preload->dead = preload->dead || failed;
        adapt(preload, run);
        if (failed)
            drop(preload, run);
        else
            fine = take_run(preload, run, error);
    }
    return fine;
}

// --- for the pager ---

bool ferry_preload_step(FerryPreload *preload, gint64 now_us, int *more_in_ms, GError **error)
{
    bool found = false;
    preload->now = now_us;
    int wait_ms = preload->save == 0 ? WAIT_MS : POLL_MS;
    *more_in_ms = 0;
    if (!take_runs(preload, error))
        return false;
    if (preload->events.is_over(preload->env))
        return true; // what would be read now would only be waited for
    if (!preload->dead && now_us - preload->looked_at >= wait_ms * 1000) {
        if (!look_at_journal(preload, &found, error))
            return false;
        preload->looked_at = found ? 0 : now_us;
    }
    *more_in_ms = found ? 0 : wait_ms;
    if (!preload->begun || preload->dead)
        return true;
    return ask(preload, error) && preload->events.flush(preload->env, error);
}

void ferry_preload_stop(FerryPreload *preload)
{
    bool failed;
    while (ferry_reads_under_way(preload->reads) > 0) {
        Run *run = next_run(preload, &failed);
        if (run == NULL) {
            ferry_reads_wait(preload->reads);
            continue;
        }
        drop(preload, run);
        run->n = 0;
    }
}

const FerryDescriptor *ferry_preload_descriptor(const FerryPreload *preload)
{
    return preload->begun ? &preload->descriptor : NULL;
}

bool ferry_preload_has(const FerryPreload *preload, uint64_t page)
{
    return preload->loaded[page] != 0;
}

uint64_t ferry_preload_run_from(const FerryPreload *preload, uint64_t *page)
{
    const uint32_t *loaded = preload->loaded;
    uint64_t first = *page, total = preload->descriptor.total_pages;
    while (first < total && loaded[first] == 0)
        first++;
    uint64_t end = first;
    while (end < total && loaded[end] != 0)
        end++;
    *page = first;
    return end - first;
}

void ferry_preload_add(FerryPreload *preload, FerryImageReader *reader, uint64_t page)
{
    preload->loaded[page] = ferry_image_reader_generation(reader, page);
}

uint64_t ferry_preload_soon(const FerryPreload *preload)
{
    return preload->limit;
}

uint64_t ferry_preload_taken(const FerryPreload *preload)
{
    return preload->taken;
}

uint64_t ferry_preload_zeros(const FerryPreload *preload)
{
    return preload->zeros;
}

uint64_t ferry_preload_bytes(const FerryPreload *preload)
{
    return preload->bytes;
}

// --- after the seal ---

// The rest of the journal; where it cannot be had any more, every index block may have changed.
static void read_last_journals(FerryPreload *preload, uint64_t journals)
{
    FerryJournal journal;
    if (journals - preload->journals >= FERRY_JOURNAL_SLOTS) {
        set_all_due(preload);
        return;
    }
    while (preload->journals < journals) {
        if (!read_journal(preload, preload->journals + 1, &journal) ||
            journal.number != preload->journals + 1) {
            set_all_due(preload);
            return;
        }
        take_journal(preload, &journal);
    }
}

static bool block_is_used(const FerryPreload *preload, uint64_t block)
{
    uint64_t page = block * FERRY_ENTRIES;
    uint64_t end = MIN(page + FERRY_ENTRIES, preload->descriptor.total_pages);
    while (page < end && preload->loaded[page] == 0)
        page++;
    return page < end;
}

static void settle_block(FerryPreload *preload, FerryImageReader *reader, uint64_t block,
                         GArray *stale)
{
    uint64_t page = block * FERRY_ENTRIES;
    uint64_t end = MIN(page + FERRY_ENTRIES, preload->descriptor.total_pages);
    for (; page < end; page++)
        if (preload->loaded[page] != 0 &&
            preload->loaded[page] != ferry_image_reader_generation(reader, page)) {
            preload->loaded[page] = 0;
            g_array_append_val(stale, page);
        }
}

// The index blocks that may say something else by now, ascending.
static GArray *blocks_in_doubt(FerryPreload *preload)
{
    GArray *blocks = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    if (preload->has_block)
        set_due(preload, preload->block);
    for (uint64_t block = 0; block < preload->descriptor.index_blocks; block++)
        if ((preload->unsure[block] || preload->due[block]) && block_is_used(preload, block))
            g_array_append_val(blocks, block);
    return blocks;
}

bool ferry_preload_settle(FerryPreload *preload, FerryImageReader *reader, GArray *stale,
                          GError **error)
{
    const FerryDescriptor *sealed = ferry_image_reader_descriptor(reader);
    if (sealed->save != preload->save || sealed->total_pages != preload->descriptor.total_pages ||
        sealed->journals < preload->journals)
        return false;
    read_last_journals(preload, sealed->journals);
    g_autoptr(GArray) blocks = blocks_in_doubt(preload);
    const uint64_t *first = (const uint64_t *)(const void *)blocks->data;
    if (!ferry_image_reader_need_blocks(reader, preload->reads, first, blocks->len, error))
        return false;
    for (guint i = 0; i < blocks->len; i++)
        settle_block(preload, reader, first[i], stale);
    return true;
}

bool ferry_preload_verify(const FerryPreload *preload, FerryImageReader *reader, GError **error)
{
    for (uint64_t page = 0; page < preload->descriptor.total_pages; page++)
        if (preload->loaded[page] != 0 &&
            preload->loaded[page] != ferry_image_reader_generation(reader, page)) {
            g_set_error(error, FERRY_ERROR, FERRY_ERROR_CORRUPT,
                        "page %" G_GUINT64_FORMAT " was loaded ahead in generation %u, but the "
                        "image has %u: the guest has run on other memory than was saved",
                        page, preload->loaded[page],
                        ferry_image_reader_generation(reader, page));
            return false;
        }
    return true;
}
