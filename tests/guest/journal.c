// SPDX-License-Identifier: GPL-2.0-or-later
#include "journal.h"

#include "numbers.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SECTOR = 512, SECTOR_WORDS = SECTOR / 8, AGAIN_MS = 10, DISK_SECONDS = 5 };

#define JOURNAL_MAGIC 0x766d666c6e726a30ULL

typedef struct {
    uint64_t magic;
    uint64_t number;
    uint64_t boot_id;
    uint64_t counter;
    uint64_t monotonic;
    uint64_t previous;
    uint64_t data[SECTOR_WORDS - 7];
    uint64_t sum;
} Entry;
_Static_assert(sizeof(Entry) == SECTOR, "an entry is a sector");

static const atomic_ullong *ticks;
static uint64_t boot;
static char disk_path[32];
static unsigned long interval_ms;
static atomic_ullong written;

static void sleep_ms(unsigned long ms)
{
    nanosleep(
        &(struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000},
        NULL);
}

static int open_disk(void)
{
    for (int tries = 0; tries < DISK_SECONDS * 1000 / AGAIN_MS; tries++) {
        int disk = open(disk_path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
        if (disk >= 0)
            return disk;
        sleep_ms(AGAIN_MS); // its driver was loaded just now
    }
    return -1;
}

static bool read_entry(int disk, uint64_t number, Entry *entry)
{
    while (pread(disk, entry, SECTOR, (off_t)number * SECTOR) != SECTOR)
        sleep_ms(AGAIN_MS);
    return entry->magic == JOURNAL_MAGIC && entry->number == number &&
           entry->sum == checksum((const uint64_t *)entry, SECTOR_WORDS - 1);
}

// How many there are: they follow each other without a gap.
static uint64_t count_entries(int disk, uint64_t room, Entry *entry)
{
    uint64_t good = 0, bad = room; // so many are there, and not so many
    while (good < bad) {
        uint64_t middle = good + (bad - good) / 2;
        if (read_entry(disk, middle, entry))
            good = middle + 1;
        else
            bad = middle;
    }
    return good;
}

static void make_entry(Entry *entry, uint64_t number, uint64_t previous)
{
    Random random = random_seeded(boot ^ number);
    entry->magic = JOURNAL_MAGIC;
    entry->number = number;
    entry->boot_id = boot;
    entry->counter = *ticks;
    entry->monotonic = clock_ns(CLOCK_MONOTONIC);
    entry->previous = previous;
    random_words(&random, entry->data, sizeof entry->data / sizeof entry->data[0]);
    entry->sum = checksum((const uint64_t *)entry, SECTOR_WORDS - 1);
}

static void *write_all(void *unused)
{
    (void)unused;
    uint64_t bytes = 0, previous = 0;
    int disk = open_disk();
    if (disk < 0 || ioctl(disk, BLKGETSIZE64, &bytes)) {
        perror("guest: journal");
        return NULL;
    }
    Entry *entry = aligned_alloc(4096, 4096);
    uint64_t number = count_entries(disk, bytes / SECTOR, entry);
    if (number > 0 && read_entry(disk, number - 1, entry))
        previous = entry->sum;
    for (; number < bytes / SECTOR; number++) {
        make_entry(entry, number, previous);
        while (pwrite(disk, entry, SECTOR, (off_t)number * SECTOR) != SECTOR)
            sleep_ms(AGAIN_MS);
        previous = entry->sum;
        written = number + 1;
        sleep_ms(interval_ms);
    }
    return NULL;
}

static bool is_asked_for(void)
{
    char line[1024] = "", disk[16];
    FILE *file = fopen("/proc/cmdline", "re");
    if (!file)
        return false;
    char *at = fgets(line, sizeof line, file) ? strstr(line, "guest.journal=") : NULL;
    fclose(file);
    if (!at || sscanf(at, "guest.journal=%15[a-z]:%lu", disk, &interval_ms) != 2)
        return false;
    snprintf(disk_path, sizeof disk_path, "/dev/%s", disk);
    return true;
}

void journal_start(const atomic_ullong *counter, uint64_t boot_id)
{
    pthread_t thread;
    ticks = counter;
    boot = boot_id;
    if (is_asked_for() && pthread_create(&thread, NULL, write_all, NULL)) {
        perror("guest: journal");
        exit(1);
    }
}

uint64_t journal_records(void)
{
    return written;
}
