// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/agent/storage_fixture.h"

#include "agent/storage.h"
#include "agent/storage_tool.h"
#include "hvcore/storage_path.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char iscsiadm[] =
    "portal= target= word=\n"
    "args=$*\n"
    "while [ $# -gt 0 ]; do case $1 in -p) portal=$2; shift;; -T) target=$2; shift;;\n"
    "  -o) word=$2; shift;; --login|--logout|--rescan) word=$1;; esac; shift; done\n"
    "for f in \"$root\"/exit/*; do\n"
    "  [ -e \"$f\" ] || continue\n"
    "  case $args in *$(basename \"$f\")*) code=$(cat \"$f\"); [ \"$code\" = 0 ] || exit "
    "\"$code\";; esac\n"
    "done\n"
    "nodes=$root/etc/iscsi/nodes; [ ! -d \"$root/var/lib/iscsi\" ] || nodes=$root/var/lib/iscsi/nodes\n"
    "record=$nodes/$target/${portal%:*},${portal##*:}\n"
    "case $word in\n"
    "new) mkdir -p \"$nodes/$target\"; umask 077\n"
    "  printf '# BEGIN RECORD 2.1.8\\nnode.name = %s\\nnode.session.auth.authmethod = None\\n"
    "node.session.initial_login_retry_max = 8\\n# END RECORD\\n' \"$target\" >\"$record\";;\n"
    "delete) rm -f \"$record\";;\n"
    "--login) [ -e \"$record\" ] || exit 21\n"
    "  [ -e \"$root/luns/$portal\" ] || exit 8\n"
    "  read -r n disk wwid size <\"$root/luns/$portal\"\n"
    "  s=$root/sys/class/iscsi_session/session$n "
    "c=$root/sys/class/iscsi_connection/connection$n:0\n"
    "  mkdir -p \"$s/device/target$n:0:0/$n:0:0:1/block/$disk\" \"$c\"\n"
    "  echo \"$target\" >\"$s/targetname\"; echo LOGGED_IN >\"$s/state\"\n"
    "  echo \"${portal%:*}\" >\"$c/persistent_address\"; echo \"${portal##*:}\" "
    ">\"$c/persistent_port\"\n"
    "  b=$root/sys/block/$disk; mkdir -p \"$b/device\" \"$b/holders\" \"$root/dev/disk/by-id\"\n"
    "  echo \"$wwid\" >\"$b/device/wwid\"; echo running >\"$b/device/state\"; echo \"$size\" "
    ">\"$b/size\"\n"
    "  if [ -e \"$root/late/$disk\" ]; then : >\"$b/device/wwid\"; : >\"$b/device/rescan\"\n"
    "    { n=0; while [ $n -lt 6000 ] && [ ! -s \"$b/device/rescan\" ]; do n=$((n + 1)); sleep 0.01\n"
    "      done; echo \"$wwid\" >\"$b/device/wwid\"; } >/dev/null 2>&1 & fi\n"
    "  : >\"$root/dev/$disk\"; ln -sfn \"../../$disk\" "
    "\"$root/dev/disk/by-id/scsi-3${wwid#naa.}\";;\n"
    "--logout) read -r n disk wwid size <\"$root/luns/$portal\"\n"
    "  rm -rf \"$root/sys/class/iscsi_session/session$n\" \"$root/sys/block/$disk\" "
    "\"$root/dev/$disk\";;\n"
    "esac\n";

static const char multipath[] =
    "case $1 in -a) : >\"$root/wwids\";; -f) [ -e \"$root/map-in-use\" ] && exit 1\n"
    "  rm -rf \"$root/sys/block/dm-0\"; rm -f \"$root\"/sys/block/*/holders/dm-0;; esac\n";

// Of the first disk's LUN, where its WWID is known.
static const char multipathd[] =
    "[ \"$1 $2\" = 'add path' ] || exit 0\n"
    "[ -e \"$root/no-map\" ] || [ ! -e \"$root/wwids\" ] && exit 1\n"
    "b=$root/sys/block wwid=$(cat \"$root/sys/block/$3/device/wwid\")\n"
    "mkdir -p \"$b/dm-0/dm\"; echo \"mpath-3${wwid#naa.}\" >\"$b/dm-0/dm/uuid\"\n"
    "echo \"3${wwid#naa.}\" >\"$b/dm-0/dm/name\"; cat \"$b/$3/size\" >\"$b/dm-0/size\"\n"
    "for d in \"$b\"/sd*; do : >\"$d/holders/dm-0\"; done\n"
    ": >\"$root/dev/dm-0\"; ln -sfn ../../dm-0 "
    "\"$root/dev/disk/by-id/dm-uuid-mpath-3${wwid#naa.}\"\n";

static char *below(const Fixture *fixture, const char *path)
{
    return g_build_filename(fixture->root, path, NULL);
}

void fixture_write(const Fixture *fixture, const char *path, const char *text)
{
    g_autofree char *full = below(fixture, path);
    g_autofree char *directory = g_path_get_dirname(full);
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(g_mkdir_with_parents(directory, 0700), ==, 0);
    g_file_set_contents(full, text, -1, &error);
    g_assert_no_error(error);
}

char *fixture_read(const Fixture *fixture, const char *path)
{
    g_autofree char *full = below(fixture, path);
    char *text = NULL;
    (void)g_file_get_contents(full, &text, NULL, NULL);
    return text;
}

bool fixture_has(const Fixture *fixture, const char *path)
{
    g_autofree char *full = below(fixture, path);
    return g_file_test(full, G_FILE_TEST_EXISTS);
}

void fixture_program(const Fixture *fixture, const char *program, const char *body)
{
    g_autofree char *path = g_build_filename("bin", program, NULL);
    g_autofree char *full = below(fixture, path);
    g_autofree char *text = g_strdup_printf(
        "#!/bin/sh\nroot=%s\necho \"%s $*\" >>\"$root/log\"\n%s", fixture->root, program, body);
    fixture_write(fixture, path, text);
    g_assert_cmpint(g_chmod(full, 0700), ==, 0);
}

void fixture_set_up(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    g_autoptr(GError) error = NULL;
    fixture->root = g_dir_make_tmp("storage-XXXXXX", &error);
    g_assert_no_error(error);
    fixture->log = below(fixture, "log");
    fixture_write(fixture, "log", "");
    fixture_write(fixture, "etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.2026-01.x:n1\n");
    fixture_program(fixture, "iscsiadm", iscsiadm);
    fixture_program(fixture, "multipath", multipath);
    fixture_program(fixture, "multipathd", multipathd);
    fixture_program(fixture, "udevadm", "");
    storage_patience_ms = 500;
    storage_root = fixture->root;
    storage_tools = below(fixture, "bin");
    g_autofree char *run = below(fixture, "run");
    hv_storage_set_run_dir(run);
}

static void remove_tree(const char *path)
{
    g_autoptr(GDir) dir =
        g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
    const char *name;
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        remove_tree(child);
    }
    (void)g_remove(path);
}

void fixture_tear_down(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    remove_tree(fixture->root);
    storage_root = "";
    g_free((char *)storage_tools);
    storage_tools = NULL;
    g_free(fixture->root);
    g_free(fixture->log);
}

void fixture_lun(const Fixture *fixture, const char *portal, int number, const char *disk,
                 const char *wwid, unsigned mib)
{
    g_autofree char *path = g_build_filename("luns", portal, NULL);
    g_autofree char *text = g_strdup_printf("%d %s %s %u\n", number, disk, wwid, mib * 2048);
    fixture_write(fixture, path, text);
}

void fixture_exit(const Fixture *fixture, const char *word, int status)
{
    g_autofree char *path = g_build_filename("exit", word, NULL);
    g_autofree char *text = g_strdup_printf("%d", status);
    fixture_write(fixture, path, text);
}

char *fixture_log(const Fixture *fixture)
{
    return fixture_read(fixture, "log");
}

unsigned fixture_count(const Fixture *fixture, const char *word)
{
    g_autofree char *log = fixture_log(fixture);
    g_auto(GStrv) lines = g_strsplit(log, "\n", -1);
    unsigned count = 0;
    for (char **line = lines; *line != NULL; line++)
        count += strstr(*line, word) != NULL;
    return count;
}

HvDefinition *fixture_definition(const char *storage)
{
    g_autofree char *text = g_strdup_printf(
        "{\"name\":\"web\",\"uuid\":\"3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60\","
        "\"memory_mib\":64,\"machine\":\"pc-q35-7.2\",\"state_area\":\"/s/web.vmf\","
        "\"storage\":[%s]}",
        storage);
    g_autoptr(GError) error = NULL;
    HvDefinition *definition = hv_definition_parse(text, &error);
    g_assert_no_error(error);
    return definition;
}

void fixture_assert_error(GError *error, const char *part)
{
    g_assert_nonnull(error);
    if (strstr(error->message, part) == NULL)
        g_error("\"%s\" does not hold \"%s\"", error->message, part);
    g_error_free(error);
}

bool fixture_available(const char *storage, GError **error)
{
    g_autoptr(HvDefinition) definition = fixture_definition(storage);
    return storage_make_available(definition, true, error);
}

void fixture_assert_refused(const char *storage, const char *part)
{
    GError *error = NULL;
    g_assert_false(fixture_available(storage, &error));
    fixture_assert_error(error, part);
}

char *fixture_device_of_link(void)
{
    g_autofree char *link = hv_storage_link("web", "data");
    char *real = realpath(link, NULL);
    char *name = real != NULL ? g_path_get_basename(real) : NULL;
    free(real);
    return name;
}
