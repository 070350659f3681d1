// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/reads.h"

#include <liburing.h>
#include <stdlib.h>
#include <string.h>

typedef struct Read Read;
struct Read {
    uint8_t *buffer;
    size_t bytes, done;
    uint64_t offset;
    void *tag;
    GError *error;
    Read *next; // free, or ended
};

struct FerryReads {
    FerryArea *area;
    struct io_uring ring;
    bool has_ring;
    Read slots[FERRY_READS_MAX];
    Read *free;
    Read *ended, **last; // in the order in which they ended
    unsigned under_way; // with those that have ended
};

FerryReads *ferry_reads_new(FerryArea *area)
{
    FerryReads *reads = g_new0(FerryReads, 1);
    reads->area = area;
    reads->last = &reads->ended;
    reads->has_ring = io_uring_queue_init(FERRY_READS_MAX, &reads->ring, 0) == 0;
    for (size_t i = 0; i < FERRY_READS_MAX; i++) {
        reads->slots[i].next = reads->free;
        reads->free = &reads->slots[i];
    }
    return reads;
}

void ferry_reads_free(FerryReads *reads)
{
    if (reads == NULL)
        return;
    while (reads->under_way > 0) {
        g_autoptr(GError) error = NULL;
        if (ferry_reads_next(reads, &error) == NULL)
            ferry_reads_wait(reads);
    }
    if (reads->has_ring)
        io_uring_queue_exit(&reads->ring);
    g_free(reads);
}

// There is an entry for each of our slots, and each has one at most.
static void ask(FerryReads *reads, Read *read)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&reads->ring);
    io_uring_prep_read(sqe, ferry_area_fd(reads->area), read->buffer + read->done,
                       (unsigned)(read->bytes - read->done), read->offset + read->done);
    io_uring_sqe_set_data(sqe, read);
}

void ferry_reads_flush(FerryReads *reads)
{
    if (reads->has_ring && io_uring_sq_ready(&reads->ring) > 0)
        io_uring_submit(&reads->ring); // what it cannot take now is submitted the next time
}

static void end(FerryReads *reads, Read *read)
{
    read->next = NULL;
    *reads->last = read;
    reads->last = &read->next;
}

void ferry_reads_submit(FerryReads *reads, void *buffer, size_t bytes, uint64_t offset, void *tag)
{
    Read *read = reads->free;
    reads->free = read->next;
    *read = (Read){.buffer = buffer, .bytes = bytes, .offset = offset, .tag = tag};
    reads->under_way++;
    if (reads->has_ring) {
        ask(reads, read);
    } else {
        ferry_area_read(reads->area, buffer, bytes, offset, &read->error);
        end(reads, read);
    }
}

unsigned ferry_reads_under_way(const FerryReads *reads)
{
    return reads->under_way;
}

// What a read brought; the rest of a short one, and one that failed, is left to ferry_area_read,
// which knows what to say.
static void take_result(FerryReads *reads, Read *read, int result)
{
    if (result == -EINTR || result == -EAGAIN) {
        ask(reads, read);
        return;
    }
    read->done += result > 0 ? (size_t)result : 0;
    size_t whole = read->done / FERRY_PAGE * FERRY_PAGE;
    if (whole < read->bytes)
        ferry_area_read(reads->area, read->buffer + whole, read->bytes - whole,
                        read->offset + whole, &read->error);
    end(reads, read);
}

static void reap(FerryReads *reads)
{
    struct io_uring_cqe *cqe;
    ferry_reads_flush(reads);
    while (reads->has_ring && io_uring_peek_cqe(&reads->ring, &cqe) == 0) {
        Read *read = io_uring_cqe_get_data(cqe);
        int result = cqe->res;
        io_uring_cqe_seen(&reads->ring, cqe);
        take_result(reads, read, result);
    }
}

void *ferry_reads_next(FerryReads *reads, GError **error)
{
    reap(reads);
    Read *read = reads->ended;
    if (read == NULL)
        return NULL;
    reads->ended = read->next;
    if (reads->ended == NULL)
        reads->last = &reads->ended;
    read->next = reads->free;
    reads->free = read;
    reads->under_way--;
    if (read->error != NULL)
        g_propagate_error(error, g_steal_pointer(&read->error));
    return read->tag;
}

int ferry_reads_fd(const FerryReads *reads)
{
    bool waiting = reads->has_ring && reads->ended == NULL && io_uring_sq_ready(&reads->ring) == 0;
    return waiting ? reads->ring.ring_fd : -1;
}

void ferry_reads_wait(FerryReads *reads)
{
    if (reads->has_ring && reads->ended == NULL)
        io_uring_submit_and_wait(&reads->ring, 1);
}
