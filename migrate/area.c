// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/area_io.h"

#include "migrate/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLANK_BYTES = 192 * 1024 }; // headers and descriptor: what tells a foreign file

struct FerryArea {
    int fd;
    char *path;
    uint64_t size;
    bool is_block_device;
};

uint64_t ferry_area_size_needed(uint64_t memory_mib)
{
    FerryDescriptor descriptor = {0};
    return ferry_image_layout(&descriptor,
                              (memory_mib + FERRY_OVERHEAD_MIB) * (FERRY_MIB(1) / FERRY_PAGE));
}

// EBADE is what Linux makes of SCSI's RESERVATION CONFLICT (blk_status_to_errno).
static const char *io_reason(int code)
{
    return code == EBADE ? "a SCSI reservation of other nodes refuses it; this node was fenced, or its key is "
                           "missing (see docs/FENCING.md)"
                         : g_strerror(code);
}

static bool io_error(const char *path, const char *what, GError **error)
{
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_IO, "state area %s: %s: %s", path, what,
                io_reason(errno));
    return false;
}

// --- opening ---

static bool find_size(FerryArea *area, GError **error)
{
    struct stat status;
    if (fstat(area->fd, &status) != 0)
        return io_error(area->path, "cannot be looked at", error);
    area->is_block_device = S_ISBLK(status.st_mode);
    if (area->is_block_device)
        return ioctl(area->fd, BLKGETSIZE64, &area->size) == 0 ||
               io_error(area->path, "size of the block device", error);
    if (!S_ISREG(status.st_mode)) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_FORMAT,
                    "state area %s is neither a file nor a block device", area->path);
        return false;
    }
    area->size = (uint64_t)status.st_size;
    return true;
}

static FerryArea *open_area(const char *path, int flags, GError **error)
{
    g_autoptr(FerryArea) area = g_new0(FerryArea, 1);
    area->path = g_strdup(path);
    area->fd = open(path, flags | O_CLOEXEC | O_DIRECT, 0600);
    if (area->fd < 0 && errno == EINVAL) // a file system without O_DIRECT
        area->fd = open(path, (flags & ~(O_CREAT | O_EXCL)) | O_CLOEXEC, 0600);
    if (area->fd < 0) {
        io_error(path, "cannot be opened; is the shared storage there?", error);
        return NULL;
    }
    return find_size(area, error) ? g_steal_pointer(&area) : NULL;
}

FerryArea *ferry_area_open(const char *path, GError **error)
{
    return open_area(path, O_RDWR, error);
}

void ferry_area_close(FerryArea *area)
{
    if (area == NULL)
        return;
    if (area->fd >= 0)
        close(area->fd);
    g_free(area->path);
    g_free(area);
}

int ferry_area_fd(const FerryArea *area)
{
    return area->fd;
}

const char *ferry_area_path(const FerryArea *area)
{
    return area->path;
}

uint64_t ferry_area_size(const FerryArea *area)
{
    return area->size;
}

// --- aligned I/O ---

void *ferry_buffer_new(size_t bytes)
{
    void *buffer = NULL;
    if (posix_memalign(&buffer, FERRY_PAGE, bytes) != 0)
        g_error("out of memory for %zu bytes", bytes);
    return buffer;
}

static bool transfer(FerryArea *area, bool write, void *buffer, size_t bytes, uint64_t offset,
                     GError **error)
{
    for (size_t done = 0; done < bytes;) {
        char *at = (char *)buffer + done;
        off_t place = (off_t)(offset + done);
        ssize_t n = write ? pwrite(area->fd, at, bytes - done, place)
                          : pread(area->fd, at, bytes - done, place);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            g_set_error(error, FERRY_ERROR, FERRY_ERROR_IO,
                        "state area %s: %s %zu bytes at offset %" G_GUINT64_FORMAT ": %s",
                        area->path, write ? "writing" : "reading", bytes - done, offset + done,
                        n < 0 ? io_reason(errno) : "it ends there");
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

bool ferry_area_read(FerryArea *area, void *buffer, size_t bytes, uint64_t offset, GError **error)
{
    return transfer(area, false, buffer, bytes, offset, error);
}

bool ferry_area_write(FerryArea *area, const void *buffer, size_t bytes, uint64_t offset,
                      GError **error)
{
    return transfer(area, true, (void *)(uintptr_t)buffer, bytes, offset, error);
}

bool ferry_area_flush(FerryArea *area, GError **error)
{
    return fdatasync(area->fd) == 0 || io_error(area->path, "flushing", error);
}

// --- the record ---

static const uint64_t slots[2] = {FERRY_SLOT_A, FERRY_SLOT_B};

typedef struct {
    FerryRecord record; // the newest valid one
    int slot;           // its slot; -1: neither is valid
    char *reasons[2];   // why a slot is not valid
    bool blank[2];      // it was never written
} Slots;

static void slots_clear(Slots *found)
{
    g_free(found->reasons[0]);
    g_free(found->reasons[1]);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Slots, slots_clear)

static bool all_zero(const uint8_t *bytes, size_t length)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

static void look_at_slot(Slots *found, int slot, const uint8_t *bytes)
{
    FerryRecord record;
    g_autoptr(GError) bad = NULL;
    if (!ferry_record_decode(&record, bytes, &bad)) {
        found->reasons[slot] = g_strdup(bad->message);
        found->blank[slot] = all_zero(bytes, FERRY_SLOT);
    } else if (found->slot < 0 || record.sequence > found->record.sequence) {
        found->record = record;
        found->slot = slot;
    }
}

// False: the storage failed, or neither slot is valid. A slot that cannot be read may be the
// newest, so that the other one alone says nothing.
static bool read_slots(FerryArea *area, Slots *found, GError **error)
{
    found->slot = -1;
    uint8_t *bytes = ferry_buffer_new(FERRY_SLOT);
    bool read = true;
    for (int i = 0; i < 2 && read; i++) {
        read = ferry_area_read(area, bytes, FERRY_SLOT, slots[i], error);
        if (read)
            look_at_slot(found, i, bytes);
    }
    free(bytes);
    if (read && found->slot < 0)
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_FORMAT,
                    "state area %s holds no valid run record (first slot: %s; second slot: %s)",
                    area->path, found->reasons[0], found->reasons[1]);
    return read && found->slot >= 0;
}

static bool other_is_damaged(const Slots *found)
{
    int other = 1 - found->slot;
    return found->reasons[other] != NULL && !found->blank[other];
}

// What the damaged slot may have said, if it was the newer one, decides what becomes of saved
// memory: sealed after SAVING, consumed after SEALED, quarantined after CONSUMED. After the other
// states it cannot: a write that was torn there changes nothing.
static bool damage_matters(FerryState state)
{
    return state == FERRY_SAVING || state == FERRY_SEALED || state == FERRY_CONSUMED;
}

bool ferry_area_salvage_record(FerryArea *area, FerryRecord *record, bool *damaged, GError **error)
{
    g_auto(Slots) found = {0};
    if (!read_slots(area, &found, error))
        return false;
    *record = found.record;
    *damaged = other_is_damaged(&found) && damage_matters(found.record.state);
    return true;
}

bool ferry_area_read_record(FerryArea *area, FerryRecord *record, GError **error)
{
    g_auto(Slots) found = {0};
    if (!read_slots(area, &found, error))
        return false;
    if (other_is_damaged(&found) && damage_matters(found.record.state)) {
        g_set_error(
            error, FERRY_ERROR, FERRY_ERROR_CORRUPT,
            "state area %s: the run record is damaged (slot %c: %s). The other slot says %s, "
            "epoch %" G_GUINT64_FORMAT ", by %s, and may be the older one: nothing is "
            "started or loaded by it. Look at the storage, then `vmferry discard %s` lets "
            "the VM start cold",
            area->path, "BA"[found.slot], found.reasons[1 - found.slot],
            ferry_state_name(found.record.state), found.record.epoch, found.record.owner,
            found.record.vm);
        return false;
    }
    *record = found.record;
    return true;
}

static bool put_slot(FerryArea *area, const uint8_t *bytes, int slot, GError **error)
{
    return ferry_area_write(area, bytes, FERRY_SLOT, slots[slot], error) &&
           ferry_area_flush(area, error);
}

// A write that fails may leave a slot that is torn, and with it a VM that nobody may start; so a single
// failure is mended here and now.
static bool write_slot(FerryArea *area, FerryRecord *record, int slot, GError **error)
{
    uint8_t *bytes = ferry_buffer_new(FERRY_SLOT);
    record->written_at_ms = g_get_real_time() / 1000;
    ferry_record_encode(record, bytes);
    bool written = put_slot(area, bytes, slot, NULL) || put_slot(area, bytes, slot, error);
    free(bytes);
    return written;
}

// Whether the newest record has the sequence EXPECTED; *SLOT is its slot.
static bool is_newest(FerryArea *area, uint64_t expected, int *slot, GError **error)
{
    g_auto(Slots) found = {0};
    if (!read_slots(area, &found, error))
        return false;
    const FerryRecord *now = &found.record;
    *slot = found.slot;
    if (now->sequence == expected)
        return true;
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_STATE,
                "state area %s: its record was changed meanwhile by %s (%s, epoch "
                "%" G_GUINT64_FORMAT "); nothing was written",
                area->path, now->owner, ferry_state_name(now->state), now->epoch);
    return false;
}

bool ferry_area_expect(FerryArea *area, uint64_t expected, GError **error)
{
    int slot;
    return is_newest(area, expected, &slot, error);
}

bool ferry_area_write_record(FerryArea *area, FerryRecord *record, uint64_t expected,
                             GError **error)
{
    FerryRecord next = *record;
    int slot;
    if (!is_newest(area, expected, &slot, error))
        return false;
    next.sequence = expected + 1;
    if (!write_slot(area, &next, 1 - slot, error))
        return false;
    // What makes saved memory worthless is written into both slots: a write that was on its way for long,
    // or of which an error was told, may still land over one of them, but never be the newest.
    // Our own first write may have been that one: then the other slot is somebody else's by now.
    if (next.state == FERRY_RUNNING || next.state == FERRY_CONSUMED) {
        if (!is_newest(area, next.sequence++, &slot, error) ||
            !write_slot(area, &next, 1 - slot, error))
            return false;
    }
    *record = next;
    return true;
}

// --- the definition that belongs to the image ---

bool ferry_area_write_definition(FerryArea *area, FerryRecord *record, const char *text,
                                 GError **error)
{
    size_t length = strlen(text);
    if (length > FERRY_DEFINITION_MAX) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_TOO_SMALL,
                    "the definition of %s has %zu bytes; a state area keeps %u", record->vm, length,
                    (unsigned)FERRY_DEFINITION_MAX);
        return false;
    }
    uint8_t *buffer = ferry_buffer_new(ferry_whole_pages(length));
    memset(buffer, 0, ferry_whole_pages(length));
    memcpy(buffer, text, length);
    record->definition_length = (uint32_t)length;
    record->definition_crc32c = ferry_crc32c(0, text, length);
    bool written =
        ferry_area_write(area, buffer, ferry_whole_pages(length), FERRY_DEFINITION_OFFSET, error);
    free(buffer);
    return written;
}

char *ferry_area_read_definition(FerryArea *area, const FerryRecord *record, GError **error)
{
    size_t length = record->definition_length;
    if (length == 0 || length > FERRY_DEFINITION_MAX) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_CORRUPT,
                    "state area %s: the record of %s names no definition", area->path, record->vm);
        return NULL;
    }
    uint8_t *buffer = ferry_buffer_new(ferry_whole_pages(length));
    char *text = NULL;
    if (!ferry_area_read(area, buffer, ferry_whole_pages(length), FERRY_DEFINITION_OFFSET, error))
        text = NULL;
    else if (ferry_crc32c(0, buffer, length) == record->definition_crc32c)
        text = g_strndup((char *)buffer, length);
    else
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_CORRUPT,
                    "state area %s: the definition that %s was saved with has a wrong CRC32C; "
                    "`vmferry discard %s` throws the saved memory away",
                    area->path, record->vm, record->vm);
    free(buffer);
    return text;
}

// --- making one ready, giving it back ---

static bool is_blank(FerryArea *area, bool *blank, GError **error)
{
    size_t bytes = (size_t)MIN(area->size, (uint64_t)BLANK_BYTES) / FERRY_PAGE * FERRY_PAGE;
    uint8_t *head = ferry_buffer_new(BLANK_BYTES);
    bool read = bytes == 0 || ferry_area_read(area, head, bytes, 0, error);
    *blank = area->size == 0 || (bytes > 0 && all_zero(head, bytes));
    free(head);
    return read;
}

static bool large_enough(FerryArea *area, uint64_t memory_mib, GError **error)
{
    uint64_t needed = ferry_area_size_needed(memory_mib);
    if (area->size >= needed)
        return true;
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_TOO_SMALL,
                "state area %s has %" G_GUINT64_FORMAT " MiB, but a VM with %" G_GUINT64_FORMAT
                " MiB of memory needs %" G_GUINT64_FORMAT " MiB; enlarge it or choose another",
                area->path, area->size >> 20, memory_mib, (needed + FERRY_MIB(1) - 1) >> 20);
    return false;
}

typedef enum { AREA_OURS, AREA_BLANK, AREA_REFUSED } AreaContent;

static AreaContent look_inside(FerryArea *area, const char *uuid, GError **error)
{
    g_auto(Slots) found = {0};
    bool blank = false;
    if (read_slots(area, &found, NULL)) {
        if (strcmp(found.record.uuid, uuid) == 0)
            return AREA_OURS;
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_OTHER_VM,
                    "state area %s belongs to VM %s (uuid %s); undefine that VM or choose another "
                    "area",
                    area->path, found.record.vm, found.record.uuid);
        return AREA_REFUSED;
    }
    if (!is_blank(area, &blank, error))
        return AREA_REFUSED;
    if (blank)
        return AREA_BLANK;
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_FORMAT,
                "%s holds data that is not a vmferry state area (no valid magic and CRC32C); it "
                "was not touched. If nobody needs that data: dd if=/dev/zero of=%s bs=64K count=3 "
                "conv=notrunc",
                area->path, area->path);
    return AREA_REFUSED;
}

static bool out_of_space(void)
{
    return errno == ENOSPC || errno == EDQUOT;
}

// Takes the blocks of the whole area from the file system, so that a save does not have to, and
// cannot find it full. Where the file system cannot do that the file stays sparse.
static bool reserve(FerryArea *area, uint64_t bytes, GError **error)
{
    int done;
    while ((done = fallocate(area->fd, 0, 0, (off_t)bytes)) != 0 && errno == EINTR)
        ;
    if (done == 0 || !out_of_space())
        return true;
    io_error(area->path, "its file system has no room for the VM's memory", error);
    if (ftruncate(area->fd, (off_t)area->size) != 0) // gives back what was there to be had
        g_debug("%s: %s", area->path, g_strerror(errno));
    return false;
}

static bool grow(FerryArea *area, uint64_t memory_mib, GError **error)
{
    uint64_t needed = ferry_area_size_needed(memory_mib);
    if (area->is_block_device || area->size >= needed)
        return large_enough(area, memory_mib, error);
    if (!reserve(area, needed, error))
        return false;
    if (ftruncate(area->fd, (off_t)needed) != 0)
        return io_error(area->path, "cannot be made large enough", error);
    area->size = needed;
    return true;
}

static bool sync_folder(const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (!synced)
        io_error(folder, "flushing the directory", error);
    if (fd >= 0)
        close(fd);
    return synced;
}

static bool format(FerryArea *area, const char *uuid, const char *vm, GError **error)
{
    FerryRecord record = {.sequence = 1, .state = FERRY_EMPTY};
    g_strlcpy(record.uuid, uuid, sizeof(record.uuid));
    g_strlcpy(record.vm, vm, sizeof(record.vm));
    return write_slot(area, &record, 0, error) &&
           (area->is_block_device || sync_folder(area->path, error));
}

bool ferry_area_prepare(const char *path, const char *uuid, const char *vm, uint64_t memory_mib,
                        GError **error)
{
    bool create = access(path, F_OK) != 0 && errno == ENOENT;
    g_autoptr(FerryArea) area = open_area(path, create ? O_RDWR | O_CREAT | O_EXCL : O_RDWR, error);
    if (area == NULL)
        return false;
    AreaContent content = look_inside(area, uuid, error);
    if (content == AREA_REFUSED)
        return false;
    if (!grow(area, memory_mib, error)) {
        if (create)
            unlink(path);
        return false;
    }
    return content == AREA_OURS || format(area, uuid, vm, error);
}

bool ferry_area_check(const char *path, const char *uuid, uint64_t memory_mib, GError **error)
{
    g_autoptr(FerryArea) area = ferry_area_open(path, error);
    return area != NULL && look_inside(area, uuid, error) != AREA_REFUSED &&
           large_enough(area, memory_mib, error);
}

static bool wipe(FerryArea *area, GError **error)
{
    uint8_t *zeros = ferry_buffer_new(FERRY_SLOT);
    memset(zeros, 0, FERRY_SLOT);
    bool wiped = true;
    for (uint64_t at = 0; wiped && at < BLANK_BYTES; at += FERRY_SLOT)
        wiped = ferry_area_write(area, zeros, FERRY_SLOT, at, error);
    free(zeros);
    return wiped && ferry_area_flush(area, error);
}

bool ferry_area_release(const char *path, const char *uuid, GError **error)
{
    g_auto(Slots) found = {0};
    g_autoptr(FerryArea) area = ferry_area_open(path, error);
    if (area == NULL || !read_slots(area, &found, error))
        return false;
    if (strcmp(found.record.uuid, uuid) != 0) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_OTHER_VM,
                    "state area %s belongs to VM %s and stays as it is", path, found.record.vm);
        return false;
    }
    if (area->is_block_device)
        return wipe(area, error);
    return unlink(path) == 0 || io_error(path, "cannot be removed", error);
}
