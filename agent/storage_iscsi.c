// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/storage_iscsi.h"

#include "agent/storage_chap.h"
#include "agent/storage_session.h"
#include "agent/storage_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
    RECORD_MS = 10 * 1000,
    LOGIN_MS = 40 * 1000, // two tries of 15 s, and the target's word; less than a rehearsal has
    LOGOUT_MS = 30 * 1000,
    SCAN_MS = 10 * 1000,
    LOOK_MS = 100,
    ALREADY_THERE = 15,
    LOCKS = 64,
};

// One at a time is busy with a target: what one logs in and out again is never another one's.
static GMutex locks[LOCKS];
// iscsiadm makes and removes a target's directory for its records, and fails where another does.
static GMutex records_lock;

static GMutex *lock_of(const HvStorage *storage)
{
    return &locks[g_str_hash(storage->target) % LOCKS];
}

static bool iscsiadm(const char *const *argv, unsigned deadline_ms, int *status, GError **error)
{
    return storage_tool(argv, "open-iscsi", deadline_ms, status, NULL, error);
}

static bool node(const HvStorage *storage, const char *portal, const char *operation,
                 const char *argument, unsigned deadline_ms, GError **error)
{
    const char *const argv[] = {"iscsiadm", "-m",   "node",    "-T",     storage->target,
                                "-p",       portal, operation, argument, NULL};
    int status;
    if (!iscsiadm(argv, deadline_ms, &status, error))
        return false;
    return status == 0 || status == ALREADY_THERE ||
           storage_refuse(error, "%s (iscsiadm: %d)", storage_iscsi_problem(status), status);
}

// --- login ---

static void forget_record(const HvStorage *storage, const char *portal)
{
    g_autoptr(GError) error = NULL;
    g_mutex_lock(&records_lock);
    g_auto(GStrv) files = storage_records(storage->target, portal);
    if (files[0] != NULL && !node(storage, portal, "-o", "delete", RECORD_MS, &error))
        g_warning("iSCSI record of %s at %s: %s", storage->target, portal, error->message);
    g_mutex_unlock(&records_lock);
}

// A record that is there is an admin's or of an earlier login; to make it anew would reset it.
static bool have_record(const HvStorage *storage, const char *portal, bool *fresh, GError **error)
{
    g_auto(GStrv) before = storage_records(storage->target, portal);
    *fresh = before[0] == NULL;
    if (*fresh && !node(storage, portal, "-o", "new", RECORD_MS, error))
        return false;
    g_auto(GStrv) files = storage_records(storage->target, portal);
    if (files[0] == NULL)
        return storage_refuse(error, "open-iscsi has made no record in %s/nodes",
                              storage_records_directory());
    for (char **file = files; *file != NULL; file++)
        if (!storage_record_complete(*file, storage, *fresh, error))
            return false;
    return true;
}

typedef struct {
    const HvStorage *storage;
    const char *portal;
    bool fresh, logged_in;
    GError *error;
} Login;

static gpointer log_in(gpointer data)
{
    Login *login = data;
    g_mutex_lock(&records_lock);
    bool recorded = have_record(login->storage, login->portal, &login->fresh, &login->error);
    g_mutex_unlock(&records_lock);
    login->logged_in =
        recorded && node(login->storage, login->portal, "--login", NULL, LOGIN_MS, &login->error);
    if (!login->logged_in && login->fresh)
        forget_record(login->storage, login->portal);
    return NULL;
}

static void log_out_again(const HvStorage *storage, const Login *logins, guint count)
{
    for (guint i = 0; i < count; i++) {
        g_autoptr(GError) error = NULL;
        if (!logins[i].logged_in)
            continue;
        if (!node(storage, logins[i].portal, "--logout", NULL, LOGOUT_MS, &error))
            g_warning("iSCSI session to %s at %s: %s", storage->target, logins[i].portal,
                      error->message);
        else if (logins[i].fresh)
            forget_record(storage, logins[i].portal);
    }
}

// All at once: portals that do not answer would add up.
static void log_in_everywhere(Login *logins, guint count, const GPtrArray *sessions)
{
    g_autofree GThread **threads = g_new0(GThread *, count);
    for (guint i = 0; i < count; i++)
        if (storage_session_find(sessions, logins[i].portal) == NULL)
            threads[i] = g_thread_new("iscsi-login", log_in, &logins[i]);
    for (guint i = 0; i < count; i++)
        if (threads[i] != NULL)
            g_thread_join(threads[i]);
}

static bool all_lost(const HvStorage *storage)
{
    g_autoptr(GPtrArray) sessions = storage_sessions(storage->target);
    bool lost = false;
    for (char **portal = storage->portals; *portal != NULL; portal++) {
        const StorageSession *session = storage_session_find(sessions, *portal);
        if (session != NULL && storage_session_is_up(session))
            return false;
        lost = lost || session != NULL;
    }
    return lost;
}

// open-iscsi sets a lost connection up again by itself, within seconds where the target answers.
static void wait_for_lost_sessions(const HvStorage *storage, gint64 end_us)
{
    while (all_lost(storage) && g_get_monotonic_time() < end_us)
        g_usleep(LOOK_MS * 1000);
}

// Why portals have no working session; NULL where all have.
static char *what_is_down(const HvStorage *storage, const Login *logins, guint count, guint *up)
{
    g_autoptr(GPtrArray) sessions = storage_sessions(storage->target);
    g_autoptr(GString) text = g_string_new(NULL);
    *up = 0;
    for (guint i = 0; i < count; i++) {
        const StorageSession *session = storage_session_find(sessions, logins[i].portal);
        if (session != NULL && storage_session_is_up(session)) {
            (*up)++;
            continue;
        }
        g_string_append_printf(
            text, "%sportal %s: %s", text->len > 0 ? "; " : "", logins[i].portal,
            logins[i].error != NULL
                ? logins[i].error->message
                : "its session has lost its connection, which open-iscsi tries to "
                  "set up again; is the portal reachable (`ping`)?");
    }
    return text->len > 0 ? g_string_free(g_steal_pointer(&text), FALSE) : NULL;
}

// --- finding the LUN ---

static char **disks_of(const HvStorage *storage)
{
    g_autoptr(GPtrArray) sessions = storage_sessions(storage->target);
    g_autoptr(GStrvBuilder) disks = g_strv_builder_new();
    for (char **portal = storage->portals; *portal != NULL; portal++) {
        const StorageSession *session = storage_session_find(sessions, *portal);
        g_autofree char *disk = session != NULL && storage_session_is_up(session)
                                    ? storage_session_disk(session, storage->lun)
                                    : NULL;
        if (disk != NULL)
            g_strv_builder_add(disks, disk);
    }
    return g_strv_builder_end(disks);
}

static void scan_again(const HvStorage *storage)
{
    const char *const argv[] = {"iscsiadm", "-m", "node", "-T", storage->target, "--rescan", NULL};
    int status;
    (void)iscsiadm(argv, SCAN_MS, &status, NULL);
}

// Every session that is up sees it, or time is over.
static char **wait_for_disks(const HvStorage *storage, guint up)
{
    gint64 begin_us = g_get_monotonic_time();
    bool scanned = false;
    for (;;) {
        g_auto(GStrv) disks = disks_of(storage);
        gint64 spent_ms = (g_get_monotonic_time() - begin_us) / 1000;
        if (g_strv_length(disks) >= up || spent_ms > storage_patience_ms)
            return g_steal_pointer(&disks);
        if (!scanned && spent_ms > storage_patience_ms / 5) {
            scan_again(storage);
            scanned = true;
        }
        g_usleep(LOOK_MS * 1000);
    }
}

static bool find_lun(const HvStorage *storage, guint up, StorageDevice *device, GError **error)
{
    g_auto(GStrv) disks = wait_for_disks(storage, up);
    g_auto(StorageDevice) found = {0};
    if (disks[0] == NULL) {
        g_autofree char *initiator = storage_line("/etc/iscsi/initiatorname.iscsi");
        return storage_refuse(
            error,
            "%s has no LUN %u for this node (%s); does the target's access list have "
            "the node?",
            storage->target, storage->lun, initiator != NULL ? initiator : "no InitiatorName");
    }
    if (!storage_device_choose(disks, &found, error) ||
        !storage_device_check(storage, &found, error))
        return false;
    *device = found;
    found = (StorageDevice){0};
    return true;
}

static bool open_lun(const HvStorage *storage, Login *logins, guint count, gint64 end_us,
                     StorageDevice *device, char **down, GError **error)
{
    g_autoptr(GPtrArray) sessions = storage_sessions(storage->target);
    guint up;
    log_in_everywhere(logins, count, sessions);
    wait_for_lost_sessions(storage, end_us);
    g_autofree char *why = what_is_down(storage, logins, count, &up);
    bool found = up > 0 ? find_lun(storage, up, device, error)
                        : storage_refuse(error, "%s: %s", storage->target, why);
    if (!found)
        log_out_again(storage, logins, count);
    else if (down != NULL)
        *down = g_steal_pointer(&why);
    return found;
}

bool storage_iscsi_open(const HvStorage *storage, StorageDevice *device, char **down,
                        GError **error)
{
    guint count = g_strv_length(storage->portals);
    g_autofree Login *logins = g_new0(Login, count);
    for (guint i = 0; i < count; i++)
        logins[i] = (Login){.storage = storage, .portal = storage->portals[i]};
    // Before the lock: VMs that come together wait for the same sessions, and not one after the other.
    gint64 end_us = g_get_monotonic_time() + (gint64)storage_patience_ms * 1000;
    g_mutex_lock(lock_of(storage));
    bool opened = open_lun(storage, logins, count, end_us, device, down, error);
    g_mutex_unlock(lock_of(storage));
    for (guint i = 0; i < count; i++)
        g_clear_error(&logins[i].error);
    return opened;
}

// --- logout ---

// Also what holds a disk is its user: a multipath device, a partition's, LVM's.
static bool is_free(const char *disk, GError **error)
{
    g_autofree char *holders = g_build_filename("/sys/block", disk, "holders", NULL);
    g_auto(GStrv) names = storage_names(holders);
    g_autofree char *device = g_build_filename(storage_root, "/dev", disk, NULL);
    if (names[0] != NULL)
        return storage_refuse(error, "%s is in use by %s on this node; nothing was logged out",
                              disk, names[0]);
    int fd = open(device, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
    bool busy = fd < 0 && errno == EBUSY;
    if (fd >= 0)
        close(fd);
    return !busy ||
           storage_refuse(error, "%s is in use on this node (mounted?); nothing was logged out",
                          disk);
}

// It goes only where nothing has it open.
static void flush_map(const char *disk)
{
    g_autofree char *wwid = storage_device_wwid(disk);
    g_autofree char *uuid = g_strconcat("mpath-", wwid, NULL);
    g_autofree char *map = wwid != NULL ? storage_device_by_uuid(uuid) : NULL;
    g_autofree char *device = map != NULL ? g_strconcat("/dev/", map, NULL) : NULL;
    const char *const argv[] = {"multipath", "-f", device, NULL};
    int status;
    if (device != NULL)
        (void)storage_tool(argv, "multipath-tools", LOGOUT_MS, &status, NULL, NULL);
}

static bool all_free(const GPtrArray *sessions, GError **error)
{
    for (guint i = 0; i < sessions->len; i++) {
        g_auto(GStrv) disks = storage_session_disks(g_ptr_array_index(sessions, i));
        for (char **disk = disks; *disk != NULL; disk++) {
            flush_map(*disk);
            if (!is_free(*disk, error))
                return false;
        }
    }
    return true;
}

static bool log_out(const HvStorage *storage, const GPtrArray *sessions, const char *portal,
                    GError **error)
{
    g_auto(GStrv) files = storage_records(storage->target, portal);
    if (storage_session_find(sessions, portal) != NULL &&
        !node(storage, portal, "--logout", NULL, LOGOUT_MS, error)) {
        g_prefix_error(error, "portal %s: ", portal);
        return false;
    }
    if (files[0] != NULL && storage_record_is_static(files[0]))
        forget_record(storage, portal);
    return true;
}

bool storage_iscsi_close(const HvStorage *storage, GError **error)
{
    g_mutex_lock(lock_of(storage));
    g_autoptr(GPtrArray) sessions = storage_sessions(storage->target);
    bool closed = all_free(sessions, error);
    for (char **portal = storage->portals; closed && *portal != NULL; portal++)
        closed = log_out(storage, sessions, *portal, error);
    g_mutex_unlock(lock_of(storage));
    return closed;
}
