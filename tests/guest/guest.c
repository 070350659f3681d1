// SPDX-License-Identifier: GPL-2.0-or-later
// The test guest's workload and, as process 1, its power button. It counts in memory, answers on
// TCP port 7777 and does things to memory and disk that a test can check. Line protocol, one reply
// line for each request line; a thread for each connection, so that a long request on one
// connection leaves the others alone:
//
//   c           c COUNTER BOOTID MONOTONIC_NS; the counter grows with each tick (1 ms) and request
//   push MS     ok; then a line as of "c" every MS ms without a request, 0 stops
//   time        time REALTIME_NS
//   fill MIB    ok; that much memory with incompressible data in place of the earlier fill
//   sum         sum HEX, of all filled memory
//   dirty MBPS  ok; rewrites the pages of a 64 MiB buffer at that rate (MB/s), 0 stops
//   gap         gap MONOTONIC_NS BOOTTIME_NS, the longest time between two ticks since last asked
//   work MBPS   ok; computes on all filled memory from now on and writes pages of it at that rate
//               (MB/s); its progress is in the answers by UDP on the same port (echo.h, work.h)
//   compute MBPS   the same, with much more computing for each word: as fast as the CPU, not the memory
//   worksum     worksum HEX WRITES, of all filled memory as if WRITES had not been; ends the work
//   disk N      disk COUNT; appends N records of 4 KiB to /dev/vda and flushes; all there are now
//   diskcheck   diskcheck COUNT, when all records are whole and in order, none lost
//   journal     journal COUNT, records of journal.h that are there
//   (any)       err TEXT
#include "echo.h"
#include "journal.h"
#include "numbers.h"
#include "work.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PORT = 7777,
    LINE_MAX_BYTES = 256,
    BUTTONS_MAX = 8,
    TICK_NS = 1000000,
    DIRTY_BYTES = 64 << 20,
    COMPUTE_ROUNDS = 16,
};

#define RECORD_MAGIC 0x766d66657272790aULL

static atomic_ullong counter;
static uint64_t boot_id;

// ---- clocks

static void sleep_until(uint64_t ns)
{
    struct timespec until = {.tv_sec = (time_t)(ns / 1000000000ULL),
                             .tv_nsec = (long)(ns % 1000000000ULL)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

// Long work gives way to the threads that answer.
static void become_nice(void)
{
    setpriority(PRIO_PROCESS, 0, 19);
}

static void become_usual(void)
{
    setpriority(PRIO_PROCESS, 0, 0);
}

// ---- ticks

static pthread_mutex_t gap_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t gap_monotonic, gap_boottime;

static void note_gap(uint64_t monotonic, uint64_t boottime)
{
    pthread_mutex_lock(&gap_lock);
    if (monotonic > gap_monotonic)
        gap_monotonic = monotonic;
    if (boottime > gap_boottime)
        gap_boottime = boottime;
    pthread_mutex_unlock(&gap_lock);
}

static void *tick(void *unused)
{
    (void)unused;
    struct sched_param priority = {.sched_priority = 10};
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
    uint64_t monotonic = clock_ns(CLOCK_MONOTONIC), boottime = clock_ns(CLOCK_BOOTTIME);
    for (uint64_t due = monotonic;;) {
        due += TICK_NS;
        sleep_until(due);
        uint64_t m = clock_ns(CLOCK_MONOTONIC), b = clock_ns(CLOCK_BOOTTIME);
        note_gap(m - monotonic, b - boottime);
        echo_note_gap(m - monotonic);
        monotonic = m;
        boottime = b;
        if (m > due + 10 * TICK_NS)
            due = m;
        counter++;
    }
    return NULL;
}

static void reply_gap(char *reply, size_t size)
{
    pthread_mutex_lock(&gap_lock);
    snprintf(reply, size, "gap %llu %llu", (unsigned long long)gap_monotonic,
             (unsigned long long)gap_boottime);
    gap_monotonic = gap_boottime = 0;
    pthread_mutex_unlock(&gap_lock);
}

// ---- memory

Fill filled = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool fill(size_t bytes)
{
    if (filled.words)
        munmap(filled.words, filled.bytes);
    filled.words = NULL;
    filled.bytes = 0;
    filled.generation++;
    if (!bytes)
        return true;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    madvise(memory, bytes, MADV_HUGEPAGE); // fewer faults; they are most of the time without KVM
    Random random = random_seeded(boot_id);
    random_words(&random, memory, bytes / sizeof(uint64_t));
    filled.words = memory;
    filled.bytes = bytes;
    return true;
}

static void reply_fill(unsigned long mib, char *reply, size_t size)
{
    become_nice();
    pthread_mutex_lock(&filled.lock);
    bool done = fill((size_t)mib << 20);
    pthread_mutex_unlock(&filled.lock);
    become_usual();
    snprintf(reply, size, done ? "ok" : "err no memory");
}

static void reply_sum(char *reply, size_t size)
{
    become_nice();
    pthread_mutex_lock(&filled.lock);
    uint64_t sum = checksum(filled.words, filled.bytes / sizeof(uint64_t));
    pthread_mutex_unlock(&filled.lock);
    become_usual();
    snprintf(reply, size, "sum %016llx", (unsigned long long)sum);
}

static atomic_ulong dirty_rate; // MB/s

static void *dirty(void *memory)
{
    become_nice();
    Random random = random_seeded(boot_id + 1);
    size_t at = 0;
    double owed = 0;
    for (uint64_t due = clock_ns(CLOCK_MONOTONIC);; due += TICK_NS) {
        sleep_until(due);
        uint64_t now = clock_ns(CLOCK_MONOTONIC);
        if (now > due + 100 * TICK_NS)
            due = now; // the rate cannot be held, or the guest was paused: no catching up
        for (owed += (double)dirty_rate * 1e6 / 1000 / PAGE; owed >= 1; owed--) {
            random_words(&random, (uint64_t *)((char *)memory + at), WORDS);
            at = (at + PAGE) % DIRTY_BYTES;
        }
    }
    return NULL;
}

static void *dirty_memory; // also: the thread is there; under filled.lock

static bool dirty_start(void)
{
    if (dirty_memory)
        return true;
    void *memory =
        mmap(NULL, DIRTY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_t thread;
    if (memory == MAP_FAILED || pthread_create(&thread, NULL, dirty, memory))
        return false;
    dirty_memory = memory;
    return true;
}

static void reply_dirty(unsigned long rate, char *reply, size_t size)
{
    dirty_rate = rate;
    pthread_mutex_lock(&filled.lock);
    bool done = dirty_start();
    pthread_mutex_unlock(&filled.lock);
    snprintf(reply, size, done ? "ok" : "err no memory");
}

static void reply_work(unsigned long rate, unsigned rounds, char *reply, size_t size)
{
    snprintf(reply, size, work_start(boot_id, rate, rounds) ? "ok" : "err nothing is filled");
}

static void reply_worksum(char *reply, size_t size)
{
    work_stop();
    become_nice();
    WorkCheck check = work_check();
    become_usual();
    if (check.found != check.writes)
        snprintf(reply, size, "err %llu writes, but the pages show %llu",
                 (unsigned long long)check.writes, (unsigned long long)check.found);
    else
        snprintf(reply, size, "worksum %016llx %llu", (unsigned long long)check.sum,
                 (unsigned long long)check.writes);
}

// ---- disk

typedef struct {
    uint64_t magic;
    uint64_t sequence;
    uint64_t boot_id;
    uint64_t data[WORDS - 4];
    uint64_t sum; // of everything before
} Record;
_Static_assert(sizeof(Record) == PAGE, "a record is a page");

static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t disk_records = -1; // written and flushed, as this boot knows; -1 = not looked yet

static bool record_is_whole(const Record *record, uint64_t sequence)
{
    return record->magic == RECORD_MAGIC && record->sequence == sequence &&
           record->sum == checksum((const uint64_t *)record, WORDS - 1);
}

static void record_make(Record *record, uint64_t sequence)
{
    Random random = random_seeded(boot_id ^ sequence);
    record->magic = RECORD_MAGIC;
    record->sequence = sequence;
    record->boot_id = boot_id;
    random_words(&random, record->data, sizeof record->data / sizeof record->data[0]);
    record->sum = checksum((const uint64_t *)record, WORDS - 1);
}

// How many records there are, up to the first that is none: -1 on an error, -2 at a broken one.
static int64_t disk_count(int disk, Record *record)
{
    for (int64_t count = 0;; count++) {
        ssize_t got = pread(disk, record, PAGE, (off_t)count * PAGE);
        if (got == 0)
            return count;
        if (got != PAGE)
            return -1;
        if (record->magic != RECORD_MAGIC)
            return count;
        if (!record_is_whole(record, (uint64_t)count))
            return -2;
    }
}

static const char *disk_append(int disk, Record *record, unsigned long count)
{
    if (disk_records < 0) {
        int64_t found = disk_count(disk, record);
        if (found < 0)
            return "err disk has a broken record";
        disk_records = found;
    }
    int64_t next = disk_records;
    for (unsigned long i = 0; i < count; i++, next++) {
        record_make(record, (uint64_t)next);
        if (pwrite(disk, record, PAGE, (off_t)next * PAGE) != PAGE)
            return "err disk write";
    }
    if (fdatasync(disk))
        return "err disk flush";
    disk_records = next;
    return NULL;
}

static const char *disk_check(int disk, Record *record)
{
    int64_t found = disk_count(disk, record);
    if (found == -1)
        return "err disk read";
    if (found == -2)
        return "err disk has a broken record";
    if (disk_records >= 0 && found != disk_records)
        return found < disk_records ? "err disk lost records" : "err disk has foreign records";
    disk_records = found;
    return NULL;
}

// Runs with the lock; returns the error or NULL.
static const char *disk_do(bool check, unsigned long count)
{
    int disk = open("/dev/vda", O_RDWR | O_DIRECT | O_CLOEXEC);
    if (disk < 0)
        return "err no disk";
    Record *record = aligned_alloc(PAGE, PAGE);
    const char *problem = check ? disk_check(disk, record) : disk_append(disk, record, count);
    free(record);
    close(disk);
    return problem;
}

static void reply_disk(bool check, unsigned long count, char *reply, size_t size)
{
    become_nice();
    pthread_mutex_lock(&disk_lock);
    const char *problem = disk_do(check, count);
    if (problem)
        snprintf(reply, size, "%s", problem);
    else
        snprintf(reply, size, "%s %lld", check ? "diskcheck" : "disk", (long long)disk_records);
    pthread_mutex_unlock(&disk_lock);
    become_usual();
}

// ---- connections

static void reply_count(char *reply, size_t size)
{
    unsigned long long count = ++counter;
    snprintf(reply, size, "c %llu %016llx %llu", count, (unsigned long long)boot_id,
             (unsigned long long)clock_ns(CLOCK_MONOTONIC));
}

// push: the interval in ms, for the connection's own loop
static void answer(const char *line, char *reply, size_t size, unsigned long *push)
{
    unsigned long number = 0;
    char word[16] = "";
    int fields = sscanf(line, "%15s %lu", word, &number);
    if (fields == 1 && !strcmp(word, "c"))
        reply_count(reply, size);
    else if (fields == 1 && !strcmp(word, "time"))
        snprintf(reply, size, "time %llu", (unsigned long long)clock_ns(CLOCK_REALTIME));
    else if (fields == 2 && !strcmp(word, "fill"))
        reply_fill(number, reply, size);
    else if (fields == 1 && !strcmp(word, "sum"))
        reply_sum(reply, size);
    else if (fields == 2 && !strcmp(word, "dirty"))
        reply_dirty(number, reply, size);
    else if (fields == 2 && !strcmp(word, "work"))
        reply_work(number, 1, reply, size);
    else if (fields == 2 && !strcmp(word, "compute"))
        reply_work(number, COMPUTE_ROUNDS, reply, size);
    else if (fields == 1 && !strcmp(word, "worksum"))
        reply_worksum(reply, size);
    else if (fields == 1 && !strcmp(word, "gap"))
        reply_gap(reply, size);
    else if (fields == 1 && !strcmp(word, "journal"))
        snprintf(reply, size, "journal %llu", (unsigned long long)journal_records());
    else if (fields == 2 && !strcmp(word, "disk"))
        reply_disk(false, number, reply, size);
    else if (fields == 1 && !strcmp(word, "reboot"))
        reboot(RB_AUTOBOOT);
    else if (fields == 1 && !strcmp(word, "diskcheck"))
        reply_disk(true, 0, reply, size);
    else if (fields == 2 && !strcmp(word, "push")) {
        *push = number;
        snprintf(reply, size, "ok");
    } else
        snprintf(reply, size, "err unknown request");
}

typedef struct {
    int socket;
    unsigned long push; // ms, 0 = none
    uint64_t push_due;
    char input[LINE_MAX_BYTES];
    size_t length;
} Connection;

static bool send_line(Connection *connection, char *line)
{
    size_t length = strlen(line), sent = 0;
    line[length++] = '\n';
    while (sent < length) {
        ssize_t done = send(connection->socket, line + sent, length - sent, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        sent += (size_t)done;
    }
    return true;
}

// Answers all whole lines that are there.
static bool answer_lines(Connection *connection)
{
    char *start = connection->input, *end = start + connection->length, *newline;
    while ((newline = memchr(start, '\n', (size_t)(end - start)))) {
        char reply[LINE_MAX_BYTES];
        unsigned long push = connection->push;
        *newline = '\0';
        answer(start, reply, sizeof reply - 1, &push);
        if (!send_line(connection, reply))
            return false;
        if (push && !connection->push)
            connection->push_due = clock_ns(CLOCK_MONOTONIC);
        connection->push = push;
        start = newline + 1;
    }
    connection->length = (size_t)(end - start);
    memmove(connection->input, start, connection->length);
    return connection->length < sizeof connection->input;
}

static bool receive(Connection *connection)
{
    ssize_t got = recv(connection->socket, connection->input + connection->length,
                       sizeof connection->input - connection->length, 0);
    if (got <= 0)
        return got < 0 && errno == EINTR;
    connection->length += (size_t)got;
    return answer_lines(connection);
}

// Sends what is due; *wait is the time until the next push, -1 s = none.
static bool push_line(Connection *connection, struct timespec *wait)
{
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    if (now >= connection->push_due) {
        char line[LINE_MAX_BYTES];
        reply_count(line, sizeof line - 1);
        if (!send_line(connection, line))
            return false;
        connection->push_due += connection->push * 1000000ULL;
        if (connection->push_due < now)
            connection->push_due = now;
    }
    uint64_t left = connection->push_due > now ? connection->push_due - now : 0;
    wait->tv_sec = (time_t)(left / 1000000000ULL);
    wait->tv_nsec = (long)(left % 1000000000ULL);
    return true;
}

static void *serve(void *data)
{
    Connection *connection = data;
    for (bool open = true; open;) {
        struct timespec wait;
        struct pollfd poll_fd = {.fd = connection->socket, .events = POLLIN};
        bool push = connection->push != 0;
        if (push && !push_line(connection, &wait))
            break;
        if (ppoll(&poll_fd, 1, push ? &wait : NULL, NULL) > 0)
            open = receive(connection);
    }
    close(connection->socket);
    free(connection);
    return NULL;
}

static void accept_one(int listener)
{
    int on = 1;
    int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (accepted < 0)
        return;
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(accepted, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    Connection *connection = calloc(1, sizeof *connection);
    connection->socket = accepted;
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, connection)) {
        close(accepted);
        free(connection);
        return;
    }
    pthread_detach(thread);
}

static int listen_on(uint16_t port)
{
    int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64)) {
        perror("guest: listen");
        exit(1);
    }
    return listener;
}

// ---- power

static void power_off(void)
{
    sync();
    reboot(RB_POWER_OFF);
}

static void read_button(int button)
{
    struct input_event event;
    while (read(button, &event, sizeof event) == sizeof event)
        if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1)
            power_off();
}

// All input devices: there are only buttons and perhaps a keyboard with a power key.
static nfds_t open_buttons(struct pollfd *polls)
{
    nfds_t count = 0;
    for (int i = 0; i < BUTTONS_MAX; i++) {
        char path[32];
        snprintf(path, sizeof path, "/dev/input/event%d", i);
        int button = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (button >= 0)
            polls[count++] = (struct pollfd){.fd = button, .events = POLLIN};
    }
    return count;
}

static void start_ticks(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, tick, NULL)) {
        perror("guest: ticks");
        exit(1);
    }
}

int main(void)
{
    struct pollfd polls[1 + BUTTONS_MAX];
    if (getrandom(&boot_id, sizeof boot_id, GRND_INSECURE) != sizeof boot_id)
        boot_id = clock_ns(CLOCK_REALTIME);
    signal(SIGPIPE, SIG_IGN);
    start_ticks();
    echo_start(PORT, &counter, boot_id);
    journal_start(&counter, boot_id);
    polls[0] = (struct pollfd){.fd = listen_on(PORT), .events = POLLIN};
    nfds_t count = 1 + open_buttons(polls + 1);
    printf("guest: up %016llx\n", (unsigned long long)boot_id);
    fflush(stdout);
    for (;;) {
        if (poll(polls, count, -1) <= 0)
            continue;
        if (polls[0].revents)
            accept_one(polls[0].fd);
        for (nfds_t i = 1; i < count; i++)
            if (polls[i].revents)
                read_button(polls[i].fd);
    }
}
