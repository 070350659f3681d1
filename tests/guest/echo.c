// SPDX-License-Identifier: GPL-2.0-or-later
#include "echo.h"

#include "numbers.h"
#include "work.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { PRIORITY = 20, QUESTION_BYTES = 16 };

static atomic_ullong longest_gap;
static const atomic_ullong *ticks;
static uint64_t boot;

void echo_note_gap(uint64_t ns)
{
    unsigned long long before = longest_gap;
    while (ns > before && !atomic_compare_exchange_weak(&longest_gap, &before, ns))
        ;
}

static void complete(EchoAnswer *answer)
{
    answer->work = work_done();
    answer->monotonic = clock_ns(CLOCK_MONOTONIC);
    answer->realtime = clock_ns(CLOCK_REALTIME);
    answer->counter = *ticks;
    answer->gap = atomic_exchange(&longest_gap, 0);
    answer->boot_id = boot;
}

static void *answer_all(void *data)
{
    int udp = *(int *)data;
    struct sched_param priority = {.sched_priority = PRIORITY};
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
    for (;;) {
        EchoAnswer answer;
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t got = recvfrom(udp, &answer, sizeof answer, 0, (struct sockaddr *)&from, &length);
        if (got < QUESTION_BYTES)
            continue;
        complete(&answer);
        sendto(udp, &answer, sizeof answer, MSG_DONTWAIT, (struct sockaddr *)&from, length);
    }
    return NULL;
}

void echo_start(uint16_t port, const atomic_ullong *counter, uint64_t boot_id)
{
    static int udp;
    pthread_t thread;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    ticks = counter;
    boot = boot_id;
    udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(udp, (struct sockaddr *)&address, sizeof address) ||
        pthread_create(&thread, NULL, answer_all, &udp)) {
        perror("guest: echo");
        exit(1);
    }
}
