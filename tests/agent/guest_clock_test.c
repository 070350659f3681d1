// SPDX-License-Identifier: GPL-2.0-or-later
// A guest's clock is set, against a guest agent of the test's own with a clock of its own.
#include "agent/guest_clock.h"
#include "agent/qga.h"
#include "hvcore/definition_private.h"
#include "hvcore/fs.h"
#include "hvcore/unix_socket.h"

#include <glib-unix.h>
#include <glib/gstdio.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

enum { WAIT_S = 20, SHORT_MS = 50, MS = 1000, SECOND = 1000 * MS };

typedef struct {
    // What the guest is like.
    gint64 off_us;          // its clock
    guint way_ms;           // of a command to it; answers are there at once
    guint later_ms;         // the same, of all commands but the first
    const char *stale;      // is in the channel before the first answer
    const char *get_answer; // instead of its time
    const char *set_answer; // instead of an empty one
    bool deaf_to_set;
    unsigned late_sets; // so many first steps are done late, and then early, in turn
    bool silent;
    bool twice; // answers each command twice
    bool hangs_up;
    // The channel.
    char *dir, *path;
    int listener, fd;
    GString *in;
    guint accepts, reads, waits;
    unsigned delimiters, syncs, gets, sets;
    // What came of it.
    GuestClock *clock;
    bool over;
    GuestClockResult result;
    GError *error;
} Guest;

// --- the guest ---

static void say(const Guest *guest, const char *text, gsize length)
{
    (void)send(guest->fd, text, length, MSG_NOSIGNAL); // nobody may listen any more
}

G_GNUC_PRINTF(2, 3)
static void say_line(const Guest *guest, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    say(guest, text, strlen(text));
    if (guest->twice)
        say(guest, text, strlen(text));
}

static void do_sync(Guest *guest, json_int_t id)
{
    guest->syncs++;
    if (guest->stale != NULL)
        say(guest, guest->stale, strlen(guest->stale));
    say_line(guest, "\xff{\"return\": %" JSON_INTEGER_FORMAT "}\n", id);
}

static void do_get(Guest *guest)
{
    guest->gets++;
    if (guest->get_answer != NULL)
        say(guest, guest->get_answer, strlen(guest->get_answer));
    else
        say_line(guest, "{\"return\": %" G_GINT64_FORMAT "}\n",
                 (g_get_real_time() + guest->off_us) * 1000);
}

static void do_set(Guest *guest, json_int_t time_ns)
{
    gint64 late_us = 0;
    if (guest->sets < guest->late_sets)
        late_us = (guest->sets % 2 == 0 ? 300 : -300) * MS;
    guest->sets++;
    if (!guest->deaf_to_set)
        guest->off_us = time_ns / 1000 - g_get_real_time() - late_us;
    say_line(guest, "%s\n", guest->set_answer != NULL ? guest->set_answer : "{\"return\": {}}");
}

static void obey(Guest *guest, const char *line)
{
    g_autoptr(json_t) object = json_loads(line, 0, NULL);
    const char *command = json_string_value(json_object_get(object, "execute"));
    const json_t *arguments = json_object_get(object, "arguments");
    if (guest->silent)
        return;
    if (g_strcmp0(command, "guest-sync-delimited") == 0)
        do_sync(guest, json_integer_value(json_object_get(arguments, "id")));
    else if (g_strcmp0(command, "guest-get-time") == 0)
        do_get(guest);
    else if (g_strcmp0(command, "guest-set-time") == 0)
        do_set(guest, json_integer_value(json_object_get(arguments, "time")));
    else
        g_error("asked for %s", line);
}

static gboolean obey_next(gpointer data)
{
    Guest *guest = data;
    guest->waits = 0;
    for (; guest->in->len > 0 && guest->in->str[0] == '\xff'; g_string_erase(guest->in, 0, 1))
        guest->delimiters++;
    char *end = strchr(guest->in->str, '\n');
    if (end == NULL)
        return G_SOURCE_REMOVE;
    g_autofree char *line = g_strndup(guest->in->str, (gsize)(end - guest->in->str));
    g_string_erase(guest->in, 0, end - guest->in->str + 1);
    obey(guest, line);
    return G_SOURCE_REMOVE;
}

static gboolean hear(gint fd, GIOCondition condition, gpointer data)
{
    (void)condition;
    Guest *guest = data;
    char bytes[4096];
    ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got <= 0) {
        guest->reads = 0;
        return G_SOURCE_REMOVE;
    }
    g_string_append_len(guest->in, bytes, got);
    guint way_ms = guest->syncs > 0 && guest->later_ms > 0 ? guest->later_ms : guest->way_ms;
    if (way_ms == 0)
        obey_next(guest);
    else if (guest->waits == 0)
        guest->waits = g_timeout_add(way_ms, obey_next, guest);
    return G_SOURCE_CONTINUE;
}

static gboolean be_called(gint fd, GIOCondition condition, gpointer data)
{
    (void)condition;
    Guest *guest = data;
    guest->fd = accept(fd, NULL, NULL);
    g_assert_cmpint(guest->fd, >=, 0);
    guest->accepts = 0;
    if (guest->hangs_up)
        hv_close_fd(&guest->fd);
    else
        guest->reads = g_unix_fd_add(guest->fd, G_IO_IN | G_IO_HUP, hear, guest);
    return G_SOURCE_REMOVE;
}

static void guest_up(Guest *guest)
{
    guest->dir = g_dir_make_tmp("guest-clock-XXXXXX", NULL);
    guest->path = g_build_filename(guest->dir, "guest-agent.sock", NULL);
    guest->listener = hv_unix_listen(guest->path, NULL);
    guest->fd = -1;
    guest->in = g_string_new(NULL);
    guest->accepts = g_unix_fd_add(guest->listener, G_IO_IN, be_called, guest);
    qga_patience_ms = WAIT_S * 1000;
}

static void guest_down(Guest *guest)
{
    guest_clock_free(guest->clock);
    g_clear_handle_id(&guest->accepts, g_source_remove);
    g_clear_handle_id(&guest->reads, g_source_remove);
    g_clear_handle_id(&guest->waits, g_source_remove);
    hv_close_fd(&guest->fd);
    hv_close_fd(&guest->listener);
    g_clear_error(&guest->error);
    g_string_free(guest->in, TRUE);
    g_unlink(guest->path);
    g_rmdir(guest->dir);
    g_free(guest->path);
    g_free(guest->dir);
}

// --- setting its clock ---

static void done(const GuestClockResult *result, const GError *error, gpointer data)
{
    Guest *guest = data;
    g_assert_false(guest->over);
    g_assert_true((result != NULL) == (error == NULL));
    guest->over = true;
    if (result != NULL)
        guest->result = *result;
    else
        guest->error = g_error_copy(error);
    g_clear_pointer(&guest->clock, guest_clock_free);
}

static void start(Guest *guest)
{
    g_autoptr(GError) error = NULL;
    guest->clock = guest_clock_set(guest->path, done, guest, &error);
    g_assert_no_error(error);
}

static gboolean too_long(gpointer data)
{
    (void)data;
    g_error("it does not end");
    return G_SOURCE_REMOVE;
}

static void run(Guest *guest)
{
    guest_up(guest);
    start(guest);
    guint end = g_timeout_add_seconds(WAIT_S, too_long, NULL);
    while (!guest->over)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(end);
}

static void assert_right(const Guest *guest, gint64 within_us)
{
    g_assert_no_error(guest->error);
    g_assert_cmpint(ABS(guest->off_us), <=, within_us);
    g_assert_cmpint(ABS(guest->result.after_us - guest->off_us), <=, within_us);
}

static void assert_failed(const Guest *guest, int code, const char *words)
{
    g_assert_error(guest->error, AGENT_ERROR, code);
    g_assert_nonnull(strstr(guest->error->message, words));
}

// --- what is to come of it ---

static void test_right_already(void)
{
    Guest guest = {.off_us = -5 * MS};
    run(&guest);
    assert_right(&guest, GUEST_CLOCK_RIGHT_MS * MS);
    g_assert_cmpuint(guest.delimiters, ==, 1);
    g_assert_cmpuint(guest.sets, ==, 0);
    g_assert_cmpuint(guest.result.steps, ==, 0);
    guest_down(&guest);
}

static void test_behind(void)
{
    Guest guest = {.off_us = -3600LL * SECOND};
    run(&guest);
    assert_right(&guest, GUEST_CLOCK_RIGHT_MS * MS);
    g_assert_cmpuint(guest.sets, >=, 1);
    g_assert_cmpuint(guest.result.steps, ==, guest.sets);
    g_assert_cmpint(ABS(guest.result.before_us + 3600LL * SECOND), <=, GUEST_CLOCK_RIGHT_MS * MS);
    guest_down(&guest);
}

// All of the way is the command's, so that what is measured is wrong by half of it.
static void test_long_way(void)
{
    Guest guest = {.off_us = -10 * SECOND, .way_ms = 100};
    run(&guest);
    assert_right(&guest, GUEST_CLOCK_RIGHT_MS * MS);
    guest_down(&guest);
}

static void test_step_is_mended(void)
{
    Guest guest = {.off_us = -10 * SECOND, .late_sets = 1};
    run(&guest);
    assert_right(&guest, GUEST_CLOCK_RIGHT_MS * MS);
    g_assert_cmpuint(guest.sets, >=, 2); // too late, then too far ahead, then right
    guest_down(&guest);
}

// What is learnt of one step makes the next one worse; after a rest the guest is quicker.
static void test_busy_for_a_while(void)
{
    Guest guest = {.off_us = -10 * SECOND, .late_sets = GUEST_CLOCK_STEPS - 2};
    run(&guest);
    assert_right(&guest, GUEST_CLOCK_RIGHT_MS * MS);
    g_assert_cmpuint(guest.sets, ==, GUEST_CLOCK_STEPS - 1);
    guest_down(&guest);
}

static void test_ahead(void)
{
    Guest guest = {.off_us = 5 * SECOND};
    run(&guest);
    assert_failed(&guest, AGENT_ERROR_CONFLICT, "ahead");
    g_assert_cmpuint(guest.sets, ==, 0);
    guest_down(&guest);
}

static void test_ahead_by_a_boot(void)
{
    Guest guest = {.off_us = 500 * MS};
    run(&guest);
    assert_right(&guest, GUEST_CLOCK_RIGHT_MS * MS);
    g_assert_cmpuint(guest.sets, >=, 1);
    guest_down(&guest);
}

static void test_a_little_ahead(void)
{
    Guest guest = {.off_us = 60 * MS};
    run(&guest);
    assert_right(&guest, GUEST_CLOCK_RIGHT_MS * MS);
    g_assert_cmpuint(guest.sets, ==, 0);
    guest_down(&guest);
}

// hwclock is missing, say.
static void test_error_but_set(void)
{
    Guest guest = {.off_us = -10 * SECOND,
                   .set_answer = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"hwclock failed to "
                                 "set hardware clock to system time\"}}"};
    run(&guest);
    assert_right(&guest, GUEST_CLOCK_RIGHT_MS * MS);
    guest_down(&guest);
}

static void test_set_is_disabled(void)
{
    Guest guest = {.off_us = -10 * SECOND,
                   .deaf_to_set = true,
                   .set_answer = "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": "
                                 "\"Command guest-set-time has been disabled\"}}"};
    run(&guest);
    assert_failed(&guest, AGENT_ERROR_REFUSED, "has been disabled");
    g_assert_nonnull(strstr(guest.error->message, "block-rpcs"));
    g_assert_cmpuint(guest.sets, ==, 1);
    guest_down(&guest);
}

static void test_set_does_nothing(void)
{
    Guest guest = {.off_us = -10 * SECOND, .deaf_to_set = true};
    run(&guest);
    assert_failed(&guest, AGENT_ERROR_FAILED, "still");
    g_assert_cmpuint(guest.sets, ==, GUEST_CLOCK_STEPS);
    guest_down(&guest);
}

static void test_silent(void)
{
    Guest guest = {.silent = true};
    guest_up(&guest);
    qga_patience_ms = SHORT_MS;
    start(&guest);
    while (!guest.over)
        g_main_context_iteration(NULL, TRUE);
    assert_failed(&guest, AGENT_ERROR_TIMEOUT, "is qemu-guest-agent installed");
    guest_down(&guest);
}

// One that is there may take longer than one of whom nobody knows that.
static void test_slow_but_there(void)
{
    enum { PATIENCE_MS = 200, LATER_MS = 300 };
    Guest guest = {.off_us = -10 * SECOND, .later_ms = LATER_MS};
    guest_up(&guest);
    qga_patience_ms = PATIENCE_MS;
    start(&guest);
    while (!guest.over)
        g_main_context_iteration(NULL, TRUE);
    assert_right(&guest, LATER_MS * MS); // half of it cannot be seen
    g_assert_cmpuint(guest.sets, >=, 1);
    guest_down(&guest);
}

static void test_too_slow(void)
{
    Guest guest = {.off_us = -10 * SECOND, .way_ms = SHORT_MS};
    unsigned before = guest_clock_patience_ms;
    guest_clock_patience_ms = 2 * SHORT_MS;
    run(&guest);
    guest_clock_patience_ms = before;
    assert_failed(&guest, AGENT_ERROR_TIMEOUT, "slowly");
    guest_down(&guest);
}

static void test_stale(void)
{
    Guest guest = {.off_us = -10 * SECOND,
                   .stale = "\"return\": 12}\n\xff{\"return\": 4294967296}\n{\"return\": {}}\n"
                            "\xff{\"error\": {\"class\": \"GenericError\", \"desc\": \"x\"}}\n\xff}}\n"};
    run(&guest);
    assert_right(&guest, GUEST_CLOCK_RIGHT_MS * MS);
    guest_down(&guest);
}

static void assert_answer_fails(const char *answer, const char *words)
{
    Guest guest = {.get_answer = answer};
    run(&guest);
    assert_failed(&guest, AGENT_ERROR_FAILED, words);
    guest_down(&guest);
}

static void test_garbage(void)
{
    assert_answer_fails("garbage\n", "not of its protocol");
    assert_answer_fails("\n", "not of its protocol");
    assert_answer_fails("{\"return\": 1}{\n", "not of its protocol");
    assert_answer_fails("{\"error\": \"no\"}\n", "not of its protocol");
    assert_answer_fails("[1]\n", "not of its protocol");
    assert_answer_fails("{\"return\": {}}\n", "no time");
    assert_answer_fails("{\"return\": 1e18}\n", "no time");
    assert_answer_fails("{\"return\": -1}\n", "no time");
    assert_answer_fails("{\"return\": 9223372036854775808}\n", "not of its protocol");
}

static void test_largest_time(void)
{
    Guest guest = {.get_answer = "{\"return\": 9223372036854775807}\n"};
    run(&guest);
    assert_failed(&guest, AGENT_ERROR_CONFLICT, "ahead");
    guest_down(&guest);
}

static void test_words_are_printable(void)
{
    Guest guest = {.get_answer = "{\"error\": {\"desc\": \"a\\u001b[2J\\nb\\u202e\"}}\n"};
    run(&guest);
    assert_failed(&guest, AGENT_ERROR_REFUSED, "\"a?[2J?b?\"");
    guest_down(&guest);
}

static void test_too_long_a_line(void)
{
    g_autofree char *line = g_strnfill(10000, ' ');
    assert_answer_fails(line, "too much");
}

static void test_too_much(void)
{
    g_autofree char *stale = g_strnfill(100 * 1000, '\n');
    Guest guest = {.stale = stale};
    run(&guest);
    assert_failed(&guest, AGENT_ERROR_FAILED, "too much");
    guest_down(&guest);
}

static void test_unasked(void)
{
    Guest guest = {.twice = true};
    run(&guest);
    assert_failed(&guest, AGENT_ERROR_FAILED, "more than it is asked");
    guest_down(&guest);
}

static void test_closed(void)
{
    Guest guest = {.hangs_up = true};
    run(&guest);
    assert_failed(&guest, AGENT_ERROR_FAILED, "closed");
    guest_down(&guest);
}

static void test_nobody_listens(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(guest_clock_set("/nowhere/guest-agent.sock", done, NULL, &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_CLOSED);
}

static void test_cancelled(void)
{
    for (unsigned commands = 0; commands < 4; commands++) {
        Guest guest = {.off_us = -10 * SECOND};
        guest_up(&guest);
        start(&guest);
        while (guest.syncs + guest.gets + guest.sets < commands)
            g_main_context_iteration(NULL, TRUE);
        g_clear_pointer(&guest.clock, guest_clock_free);
        while (g_main_context_iteration(NULL, FALSE))
            ;
        g_assert_false(guest.over);
        guest_down(&guest);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest_clock_rest_ms = SHORT_MS;
    g_test_add_func("/guest-clock/right-already", test_right_already);
    g_test_add_func("/guest-clock/behind", test_behind);
    g_test_add_func("/guest-clock/long-way", test_long_way);
    g_test_add_func("/guest-clock/step-is-mended", test_step_is_mended);
    g_test_add_func("/guest-clock/busy-for-a-while", test_busy_for_a_while);
    g_test_add_func("/guest-clock/ahead", test_ahead);
    g_test_add_func("/guest-clock/ahead-by-a-boot", test_ahead_by_a_boot);
    g_test_add_func("/guest-clock/a-little-ahead", test_a_little_ahead);
    g_test_add_func("/guest-clock/error-but-set", test_error_but_set);
    g_test_add_func("/guest-clock/set-is-disabled", test_set_is_disabled);
    g_test_add_func("/guest-clock/set-does-nothing", test_set_does_nothing);
    g_test_add_func("/guest-clock/silent", test_silent);
    g_test_add_func("/guest-clock/slow-but-there", test_slow_but_there);
    g_test_add_func("/guest-clock/too-slow", test_too_slow);
    g_test_add_func("/guest-clock/stale", test_stale);
    g_test_add_func("/guest-clock/garbage", test_garbage);
    g_test_add_func("/guest-clock/largest-time", test_largest_time);
    g_test_add_func("/guest-clock/words-are-printable", test_words_are_printable);
    g_test_add_func("/guest-clock/too-long-a-line", test_too_long_a_line);
    g_test_add_func("/guest-clock/too-much", test_too_much);
    g_test_add_func("/guest-clock/unasked", test_unasked);
    g_test_add_func("/guest-clock/closed", test_closed);
    g_test_add_func("/guest-clock/nobody-listens", test_nobody_listens);
    g_test_add_func("/guest-clock/cancelled", test_cancelled);
    return g_test_run();
}
