// SPDX-License-Identifier: GPL-2.0-or-later
// Asks a test guest by UDP every millisecond, or every MS, and keeps each answer with the time it came.
//
//   udp-probe IP PORT FILE [MS]      until standard input ends
//
// FILE gets a ProbeRecord for each answer, in the order they came. Standard output gets one JSON
// object: the interval, how many were sent and answered, and when this program itself was late and by
// how much (more than 2 ms), since a probe that does not run looks like a guest that does not answer. An
// answer's time is the kernel's, taken when the packet came in on this machine, so that a late
// probe does not make it late. Nothing is sent twice, and a question that was due while the probe
// did not run is not sent later.
#include "tests/guest/echo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    MS_NS = 1000000,
    MOST_MS = 999,
    PRIORITY = 50,
    LATE_NS = 2000000,
    MOST_LATE = 4096,
    BATCH = 64,
    MOST_RECORDS = 2000000
};

typedef struct {
    EchoAnswer answer;
    uint64_t came; // CLOCK_REALTIME, ns
} ProbeRecord;

// It ran at AT (CLOCK_REALTIME), and should have run so many ns before.
typedef struct {
    uint64_t at, ns;
} Lateness;

typedef struct {
    int udp, timer;
    ProbeRecord *records; // room for MOST_RECORDS; pages that are not used cost nothing
    size_t count;
    uint64_t sequence, skipped, unsendable;
    uint64_t due; // CLOCK_MONOTONIC
    long interval_ns;
    Lateness late[MOST_LATE];
    size_t late_count;
    uint64_t worst_late;
} Probe;

static uint64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void note_lateness(Probe *probe)
{
    uint64_t now = now_ns(CLOCK_MONOTONIC), late = now > probe->due ? now - probe->due : 0;
    if (late > probe->worst_late)
        probe->worst_late = late;
    if (late > LATE_NS && probe->late_count < MOST_LATE)
        probe->late[probe->late_count++] = (Lateness){now_ns(CLOCK_REALTIME), late};
}

static void ask(Probe *probe)
{
    uint64_t turns = 0;
    if (read(probe->timer, &turns, sizeof turns) != sizeof turns || !turns)
        return;
    note_lateness(probe);
    probe->due += turns * (uint64_t)probe->interval_ns;
    probe->skipped += turns - 1;
    uint64_t question[2] = {probe->sequence++, now_ns(CLOCK_REALTIME)};
    if (send(probe->udp, question, sizeof question, MSG_DONTWAIT) != sizeof question)
        probe->unsendable++; // its lack of an answer tells
}

static uint64_t time_of(struct msghdr *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec time;
            memcpy(&time, CMSG_DATA(part), sizeof time);
            return (uint64_t)time.tv_sec * 1000000000ULL + (uint64_t)time.tv_nsec;
        }
    return now_ns(CLOCK_REALTIME);
}

typedef union {
    struct cmsghdr header; // for its alignment
    char bytes[CMSG_SPACE(sizeof(struct timespec))];
} Control;

static void receive(Probe *probe)
{
    struct mmsghdr messages[BATCH] = {0};
    struct iovec parts[BATCH];
    Control controls[BATCH];
    size_t room = MOST_RECORDS - probe->count, most = room < BATCH ? room : BATCH;
    for (size_t i = 0; i < most; i++) {
        parts[i] = (struct iovec){&probe->records[probe->count + i].answer, sizeof(EchoAnswer)};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i],
                                              .msg_iovlen = 1,
                                              .msg_control = &controls[i],
                                              .msg_controllen = sizeof controls[i]};
    }
    int got = recvmmsg(probe->udp, messages, (unsigned)most, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; i++) {
        if (messages[i].msg_len != sizeof(EchoAnswer))
            continue;
        probe->records[probe->count].answer = *(EchoAnswer *)parts[i].iov_base;
        probe->records[probe->count++].came = time_of(&messages[i].msg_hdr);
    }
}

static bool input_ended(void)
{
    char bytes[64];
    return read(STDIN_FILENO, bytes, sizeof bytes) <= 0;
}

static void run(Probe *probe)
{
    struct pollfd polls[] = {{.fd = probe->udp, .events = POLLIN},
                             {.fd = probe->timer, .events = POLLIN},
                             {.fd = STDIN_FILENO, .events = POLLIN}};
    while (probe->count < MOST_RECORDS) {
        if (poll(polls, 3, -1) < 0 && errno != EINTR)
            return;
        if (polls[0].revents)
            receive(probe); // also takes a refusal from the other side off the socket
        if (polls[1].revents)
            ask(probe);
        if (polls[2].revents && input_ended())
            return;
    }
}

static void start(Probe *probe, const char *ip, const char *port)
{
    int on = 1, buffer = 4 << 20;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    struct sched_param priority = {.sched_priority = PRIORITY};
    probe->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(probe->udp, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    setsockopt(probe->udp, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    probe->records = mmap(NULL, MOST_RECORDS * sizeof *probe->records, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (inet_pton(AF_INET, ip, &address.sin_addr) != 1 || probe->records == MAP_FAILED ||
        connect(probe->udp, (struct sockaddr *)&address, sizeof address) ||
        sched_setscheduler(0, SCHED_FIFO, &priority)) {
        perror("udp-probe");
        exit(1);
    }
    probe->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    probe->due = now_ns(CLOCK_MONOTONIC) + (uint64_t)probe->interval_ns;
    struct itimerspec every = {
        .it_interval = {.tv_nsec = probe->interval_ns},
        .it_value = {(time_t)(probe->due / 1000000000), (long)(probe->due % 1000000000)}};
    timerfd_settime(probe->timer, TFD_TIMER_ABSTIME, &every, NULL);
}

static bool save(const Probe *probe, const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return false;
    size_t done = fwrite(probe->records, sizeof *probe->records, probe->count, file);
    return !fclose(file) && done == probe->count;
}

static void print_summary(const Probe *probe)
{
    printf("{\"interval_ms\": %ld, \"sent\": %llu, \"answered\": %zu, \"skipped\": %llu, "
           "\"unsendable\": %llu, \"worst_late_us\": %llu, \"late\": [",
           probe->interval_ns / MS_NS, (unsigned long long)probe->sequence, probe->count,
           (unsigned long long)probe->skipped, (unsigned long long)probe->unsendable,
           (unsigned long long)(probe->worst_late / 1000));
    for (size_t i = 0; i < probe->late_count; i++)
        printf("%s[%.6f, %.6f]", i ? ", " : "", (double)probe->late[i].at / 1e9,
               (double)probe->late[i].ns / 1e9);
    printf("]}\n");
}

int main(int argc, char **argv)
{
    static Probe probe;
    int ms = argc == 5 ? atoi(argv[4]) : 1;
    if (argc < 4 || argc > 5 || ms < 1 || ms > MOST_MS) {
        fprintf(stderr, "usage: udp-probe IP PORT FILE [MS], at most %d ms\n", MOST_MS);
        return 2;
    }
    probe.interval_ns = ms * (long)MS_NS;
    start(&probe, argv[1], argv[2]);
    run(&probe);
    if (!save(&probe, argv[3])) {
        perror(argv[3]);
        return 1;
    }
    print_summary(&probe);
    return 0;
}
