// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/fs.h"

#include "hvcore/error.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool write_all(int fd, const char *text)
{
    for (size_t left = strlen(text); left;) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        text += n;
        left -= (size_t)n;
    }
    return true;
}

bool hv_fs_replace(const char *path, const char *text, GError **error)
{
    g_autofree char *partial = g_strconcat(path, ".new", NULL);
    (void)unlink(partial);
    HV_AUTO_FD fd = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && write_all(fd, text) && rename(partial, path) == 0)
        return true;
    g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "cannot write %s: %s", path, g_strerror(errno));
    (void)unlink(partial);
    return false;
}

bool hv_fs_remove_flat(const char *directory, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(directory, name, NULL);
        (void)unlink(path);
    }
    if (rmdir(directory) == 0 || errno == ENOENT)
        return true;
    g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "cannot remove %s: %s", directory,
                g_strerror(errno));
    return false;
}

char *hv_fs_tail(const char *path, size_t max)
{
    HV_AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return g_strdup("");
    off_t start = status.st_size > (off_t)max ? status.st_size - (off_t)max : 0;
    g_autofree char *text = g_malloc0(max + 1);
    ssize_t n = pread(fd, text, max, start);
    if (n <= 0)
        return g_strdup("");
    text[n] = 0;
    char *newline = start ? strchr(text, '\n') : NULL;
    return g_strstrip(g_utf8_make_valid(newline ? newline + 1 : text, -1));
}
