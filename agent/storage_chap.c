// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/storage_chap.h"

#include "agent/storage_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SECRET_MAX = 255, // open-iscsi's AUTH_STR_MAX_LEN, without its end
    RECORD_MAX = 64 * 1024,
};

// --- memory for secrets ---

typedef struct {
    char *text; // with a NUL behind it
    size_t length, size;
} Secret;

static void secret_clear(Secret *secret)
{
    if (secret->text == NULL)
        return;
    explicit_bzero(secret->text, secret->size);
    munmap(secret->text, secret->size);
    secret->text = NULL;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Secret, secret_clear)

// In no core dump, no swap and no child.
static bool secret_new(Secret *secret, GError **error)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    // cppcheck-suppress invalidFunctionArg ; there is no file
    void *memory = mmap(NULL, RECORD_MAX, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) {
        storage_refuse(error, "no memory for a secret: %s", g_strerror(errno));
        return false;
    }
    if (madvise(memory, RECORD_MAX, MADV_DONTDUMP) != 0 ||
        madvise(memory, RECORD_MAX, MADV_WIPEONFORK) != 0) {
        storage_refuse(error, "the kernel cannot keep a secret out of core dumps: %s",
                       g_strerror(errno));
        munmap(memory, RECORD_MAX);
        return false;
    }
    (void)mlock(memory, RECORD_MAX); // a limit may forbid it
    *secret = (Secret){memory, 0, RECORD_MAX};
    return true;
}

static bool secret_append(Secret *secret, const char *text, size_t length)
{
    if (secret->length + length >= secret->size)
        return false;
    memcpy(secret->text + secret->length, text, length);
    secret->length += length;
    secret->text[secret->length] = '\0';
    return true;
}

static bool secret_append_string(Secret *secret, const char *text)
{
    return secret_append(secret, text, strlen(text));
}

// MAX bytes at most; false with errno (EFBIG: there are more).
static bool read_all(int fd, Secret *secret, size_t max)
{
    ssize_t got;
    while ((got = read(fd, secret->text + secret->length, max + 1 - secret->length)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        secret->length += (size_t)got;
        errno = EFBIG;
        if (secret->length > max)
            return false;
    }
    secret->text[secret->length] = '\0';
    return true;
}

// --- the secret ---

static char *secret_path(const char *name, GError **error)
{
    const char *credentials = g_getenv("CREDENTIALS_DIRECTORY");
    if (name[0] == '/')
        return storage_path(name);
    if (credentials != NULL)
        return g_build_filename(credentials, name, NULL);
    storage_refuse(error,
                   "chap_secret_file: vmferryd has no systemd credential \"%s\"; give it one "
                   "(LoadCredential= in a drop-in of vmferryd.service) or name a file",
                   name);
    return NULL;
}

static bool is_private(const struct stat *status, const char *path, GError **error)
{
    if (!S_ISREG(status->st_mode))
        return storage_refuse(error, "chap_secret_file: %s is not a regular file", path);
    if (status->st_uid != 0)
        return storage_refuse(error, "chap_secret_file: %s belongs to uid %u: chown root %s", path,
                              (unsigned)status->st_uid, path);
    if ((status->st_mode & 077) != 0)
        return storage_refuse(error,
                              "chap_secret_file: others than root may use %s (mode %04o): chmod "
                              "0600 %s",
                              path, (unsigned)status->st_mode & 07777, path);
    return true;
}

static bool is_usable(Secret *secret, const char *path, GError **error)
{
    if (secret->length > 0 && secret->text[secret->length - 1] == '\n')
        secret->text[--secret->length] = '\0';
    bool usable = secret->length > 0;
    for (size_t i = 0; i < secret->length; i++)
        usable = usable && secret->text[i] > ' ' && secret->text[i] <= '~';
    return usable ||
           storage_refuse(error,
                          "chap_secret_file: %s has to hold the secret in one line, of printable "
                          "ASCII without blanks",
                          path);
}

static bool read_secret(const char *name, Secret *secret, GError **error)
{
    g_autofree char *path = secret_path(name, error);
    struct stat status;
    if (path == NULL || !secret_new(secret, error))
        return false;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return storage_refuse(error, "chap_secret_file: %s: %s", path,
                              errno == ELOOP ? "is a symbolic link" : g_strerror(errno));
    bool read = fstat(fd, &status) == 0 && is_private(&status, path, error) &&
                (read_all(fd, secret, SECRET_MAX + 1) ||
                 storage_refuse(error, "chap_secret_file: %s: %s", path,
                                errno == EFBIG ? "is longer than 255 bytes" : g_strerror(errno)));
    close(fd);
    return read && is_usable(secret, path, error);
}

// --- the record ---

const char *storage_records_directory(void)
{
    static const char moved[] = "/var/lib/iscsi";
    g_autofree char *path = storage_path(moved);
    return g_file_test(path, G_FILE_TEST_IS_DIR) ? moved : "/etc/iscsi";
}

static void add_records(GStrvBuilder *builder, const char *directory, const char *name)
{
    g_autofree char *relative = g_build_filename(directory, name, NULL);
    g_autofree char *path = storage_path(relative);
    g_auto(GStrv) interfaces = storage_names(relative);
    if (g_file_test(path, G_FILE_TEST_IS_REGULAR))
        g_strv_builder_add(builder, path);
    for (char **interface = interfaces; *interface != NULL; interface++) {
        g_autofree char *file = g_build_filename(path, *interface, NULL);
        g_strv_builder_add(builder, file);
    }
}

// "host,port" is a file; one that discovery has found is "host,port,group/interface".
char **storage_records(const char *target, const char *portal)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    g_autofree char *directory = g_build_filename(storage_records_directory(), "nodes", target, NULL);
    g_auto(GStrv) names = storage_names(directory);
    const char *colon = strrchr(portal, ':');
    bool bracketed = portal[0] == '[';
    g_autofree char *host = g_strndup(portal + bracketed, (gsize)(colon - portal) - 2 * bracketed);
    g_autofree char *plain = g_strdup_printf("%s,%s", host, colon + 1);
    g_autofree char *grouped = g_strconcat(plain, ",", NULL);
    for (char **name = names; *name != NULL; name++)
        if (strcmp(*name, plain) == 0 || g_str_has_prefix(*name, grouped))
            add_records(builder, directory, *name);
    return g_strv_builder_end(builder);
}

bool storage_record_is_static(const char *file)
{
    const char *first = strchr(strrchr(file, '/'), ',');
    return first != NULL && strchr(first + 1, ',') == NULL;
}

typedef struct {
    const char *key, *value;
} Setting;

static bool is_set(const Setting *settings, size_t count, const char *line)
{
    for (size_t i = 0; i < count; i++)
        if (g_str_has_prefix(line, settings[i].key) &&
            strchr(" =", line[strlen(settings[i].key)]) != NULL)
            return true;
    return false;
}

static bool append_settings(Secret *text, const Setting *settings, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!secret_append_string(text, settings[i].key) || !secret_append_string(text, " = ") ||
            !secret_append_string(text, settings[i].value) || !secret_append_string(text, "\n"))
            return false;
    return true;
}

// OLD with the settings in place of what it says about them, before its end mark.
static bool compose(const Secret *old, const Setting *settings, size_t count, Secret *text)
{
    bool done = false;
    for (const char *line = old->text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        length += line[length] == '\n';
        if (g_str_has_prefix(line, "# END RECORD")) {
            if (!append_settings(text, settings, count))
                return false;
            done = true;
        }
        if (!is_set(settings, count, line) && !secret_append(text, line, length))
            return false;
        line += length;
    }
    return done || append_settings(text, settings, count);
}

// Beside the records: what lies among them iscsiadm takes for one.
static bool replace_record(const char *file, const Secret *text, GError **error)
{
    g_autofree char *beside = g_build_filename(storage_records_directory(), ".vmferry-XXXXXX", NULL);
    g_autofree char *fresh = storage_path(beside);
    int fd = g_mkstemp_full(fresh, O_WRONLY | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write(fd, text->text, text->length) == (ssize_t)text->length &&
                   rename(fresh, file) == 0;
    int problem = errno;
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && !written)
        unlink(fresh);
    return written || storage_refuse(error, "%s cannot be written: %s", file, g_strerror(problem));
}

static bool write_settings(const char *file, const Setting *settings, size_t count, GError **error)
{
    g_auto(Secret) old = {0}, text = {0};
    if (!secret_new(&old, error) || !secret_new(&text, error))
        return false;
    int fd = open(file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    bool good = fd >= 0 && read_all(fd, &old, RECORD_MAX - 2);
    int problem = errno;
    if (fd >= 0)
        close(fd);
    if (!good)
        return storage_refuse(error, "%s: %s", file, g_strerror(problem));
    if (!compose(&old, settings, count, &text))
        return storage_refuse(error, "%s is too long", file);
    return strcmp(old.text, text.text) == 0 || replace_record(file, &text, error);
}

bool storage_record_complete(const char *file, const HvStorage *storage, bool fresh, GError **error)
{
    g_auto(Secret) secret = {0};
    Setting settings[5];
    size_t count = 0;
    if (storage->chap_user != NULL) {
        if (!read_secret(storage->chap_secret_file, &secret, error))
            return false;
        settings[count++] = (Setting){"node.session.auth.authmethod", "CHAP"};
        settings[count++] = (Setting){"node.session.auth.username", storage->chap_user};
        settings[count++] = (Setting){"node.session.auth.password", secret.text};
    }
    if (fresh) { // a portal that does not answer is told within a rehearsal
        settings[count++] = (Setting){"node.startup", "manual"};
        settings[count++] = (Setting){"node.session.initial_login_retry_max", "1"};
    }
    return count == 0 || write_settings(file, settings, count, error);
}
