// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/leash.h"

#include <glib.h>

enum {
    LENGTH = 32 * 1024 * 1024, // what the journal has not named yet, and the time that news takes
    LAST_LENGTH = 1024 * 1024, // pages that it could not read because they were being written
    STALL_US = 500 * 1000,     // without news: it does not read along any more
    GRACE_US = 500 * 1000,     // of waiting, and then TIMES as long as the saver itself has worked
    TIMES = 8,
};

struct FerryLeash {
    GMutex lock; // all below
    GCond changed;
    uint64_t ahead; // 0: it does not read along
    gint64 began;
    gint64 waited; // all together
    bool cut;
};

FerryLeash *ferry_leash_new(void)
{
    FerryLeash *leash = g_new0(FerryLeash, 1);
    g_mutex_init(&leash->lock);
    g_cond_init(&leash->changed);
    leash->began = g_get_monotonic_time();
    return leash;
}

void ferry_leash_free(FerryLeash *leash)
{
    if (leash == NULL)
        return;
    g_mutex_clear(&leash->lock);
    g_cond_clear(&leash->changed);
    g_free(leash);
}

void ferry_leash_ahead(FerryLeash *leash, uint64_t bytes)
{
    g_mutex_lock(&leash->lock);
    leash->ahead = bytes;
    g_cond_signal(&leash->changed);
    g_mutex_unlock(&leash->lock);
}

void ferry_leash_cut(FerryLeash *leash)
{
    g_mutex_lock(&leash->lock);
    leash->cut = true;
    g_cond_signal(&leash->changed);
    g_mutex_unlock(&leash->lock);
}

static bool too_far(const FerryLeash *leash, uint64_t bytes, bool last)
{
    uint64_t length = last ? LAST_LENGTH : LENGTH;
    return !leash->cut && leash->ahead > 0 && bytes > leash->ahead + length;
}

static bool waited_enough(const FerryLeash *leash, gint64 now)
{
    gint64 worked = now - leash->began - leash->waited;
    return leash->waited > (gint64)FERRY_LEASH_MS * 1000 ||
           (leash->waited > GRACE_US && leash->waited > TIMES * worked);
}

void ferry_leash_wait(FerryLeash *leash, uint64_t bytes, bool last)
{
    g_mutex_lock(&leash->lock);
    while (too_far(leash, bytes, last)) {
        gint64 begin = g_get_monotonic_time();
        bool news = g_cond_wait_until(&leash->changed, &leash->lock, begin + STALL_US);
        gint64 now = g_get_monotonic_time();
        leash->waited += now - begin;
        leash->cut = leash->cut || !news || waited_enough(leash, now);
    }
    g_mutex_unlock(&leash->lock);
}
