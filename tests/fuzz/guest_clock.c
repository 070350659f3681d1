// SPDX-License-Identifier: GPL-2.0-or-later
// A guest that answers what it likes while its clock is set; "|" stands between what it says at once.
// However that goes it is told once; what is called right is right, and the guest's words are printable.
#include "tests/fuzz/fuzz.h"

#include "agent/guest_clock.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ID = 7 };
#define NOW_US G_GINT64_CONSTANT(1700000000000000)

typedef struct {
    GuestClock *clock;
    unsigned told;
} Talk;

static int end_for_product;

int __wrap_hv_unix_connect(const char *path, GError **error);
guint32 __wrap_g_random_int(void);
gint64 __wrap_g_get_real_time(void);
gint64 __wrap_g_get_monotonic_time(void);

int __wrap_hv_unix_connect(const char *path, GError **error)
{
    (void)path, (void)error;
    return end_for_product;
}

guint32 __wrap_g_random_int(void)
{
    return ID;
}

gint64 __wrap_g_get_real_time(void)
{
    return NOW_US;
}

gint64 __wrap_g_get_monotonic_time(void)
{
    return NOW_US;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_log_quietly();
    guest_clock_rest_ms = 0;
    return 0;
}

static void check_result(const GuestClockResult *result)
{
    FUZZ_REQUIRE(ABS(result->after_us) < (GUEST_CLOCK_RIGHT_MS + 1) * 1000, "off by %" G_GINT64_FORMAT,
                 result->after_us);
    FUZZ_REQUIRE(result->steps <= GUEST_CLOCK_STEPS, "%u steps", result->steps);
}

static void check_words(const char *message)
{
    for (; *message != '\0'; message = g_utf8_next_char(message))
        FUZZ_REQUIRE(g_unichar_isprint(g_utf8_get_char(message)), "not printable: %s", message);
}

static void on_done(const GuestClockResult *result, const GError *error, gpointer data)
{
    Talk *talk = data;
    fuzz_check_error(result != NULL, error);
    FUZZ_REQUIRE(++talk->told == 1, "told again");
    if (result != NULL)
        check_result(result);
    else
        check_words(error->message);
    g_clear_pointer(&talk->clock, guest_clock_free);
}

static void converse(Talk *talk, int peer, const uint8_t *data, size_t size)
{
    char asked[4096];
    while (talk->clock != NULL && size > 0) {
        const uint8_t *end = memchr(data, '|', size);
        size_t length = end != NULL ? (size_t)(end - data) : size;
        if (length > 0 && send(peer, data, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        fuzz_run_loop();
        while (recv(peer, asked, sizeof asked, MSG_DONTWAIT) > 0)
            ;
        size_t used = end != NULL ? length + 1 : length;
        data += used;
        size -= used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ends[2];
    Talk talk = {0};
    guint mark = fuzz_sources_mark();
    FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0,
                 "no sockets");
    end_for_product = ends[0];
    talk.clock = guest_clock_set("guest-agent.sock", on_done, &talk, NULL);
    converse(&talk, ends[1], data, size);
    shutdown(ends[1], SHUT_WR);
    fuzz_run_loop();
    FUZZ_REQUIRE(talk.told == 1 && talk.clock == NULL, "the end is not told");
    fuzz_sources_drop(mark);
    close(ends[1]);
    return 0;
}
