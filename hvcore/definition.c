// SPDX-License-Identifier: GPL-2.0-or-later
// Parsing and checking. Every value is read through a Reader, which knows the path of the object it
// reads, so that each message can name the key. After the first error all reads do nothing.
#include "hvcore/definition.h"

#include "hvcore/definition_keys.h"
#include "hvcore/definition_private.h"
#include "hvcore/iscsi_url.h"
#include <inttypes.h>
#include <string.h>

enum {
    TEXT_MAX = 64 * 1024,
    CMDLINE_MAX = 2000, // the kernel's COMMAND_LINE_SIZE on x86 is 2048
    PATH_LIMIT = 1024,
    MEMORY_MIN_MIB = 16,
    VCPUS_MAX = 1024,
    BLACKOUT_MAX_MS = 60 * 1000,
    THROTTLE_DEFAULT = 80,
    THROTTLE_MAX = 99, // as QEMU's
    WEIGHT_MAX = 10000,
    QEMU_OVERHEAD_MIB = 128,
};
#define MEMORY_MAX_MIB ((uint64_t)64 * 1024 * 1024)

typedef struct {
    HvDefinition definition; // first: what the public functions hand out
    gatomicrefcount references;
} Counted;

typedef struct {
    json_t *object;     // borrowed; NULL where the definition has no such object
    const char *kind;   // as in hv_definition_keys
    const char *prefix; // "" or "disks[1]."
    GError **error;
    bool failed;
} Reader;

G_GNUC_PRINTF(3, 4)
static void fail(Reader *reader, const char *key, const char *format, ...)
{
    if (reader->failed)
        return;
    reader->failed = true;
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error(reader->error, HV_ERROR, HV_ERROR_DEFINITION, "%s%s: %s", reader->prefix, key,
                text);
}

static void check_keys(Reader *reader)
{
    const char *key;
    json_t *value;
    json_object_foreach(reader->object, key, value) if (!hv_definition_key_find(reader->kind, key))
        fail(reader, key, "unknown key; see the schema of VM definitions");
    for (size_t i = 0; i < hv_definition_n_keys; i++) {
        const HvDefinitionKey *entry = &hv_definition_keys[i];
        if (entry->required && strcmp(entry->object, reader->kind) == 0 &&
            !json_object_get(reader->object, entry->key))
            fail(reader, entry->key, "missing");
    }
}

static json_t *get(Reader *reader, const char *key)
{
    return reader->failed ? NULL : json_object_get(reader->object, key);
}

// NULL where the key is absent or after an error. Borrowed.
static const char *read_string(Reader *reader, const char *key, size_t max)
{
    json_t *value = get(reader, key);
    if (!value)
        return NULL;
    const char *text = json_string_value(value);
    if (!text)
        return fail(reader, key, "must be a string"), NULL;
    if (!*text)
        return fail(reader, key, "must not be empty"), NULL;
    if (strlen(text) > max)
        return fail(reader, key, "longer than %zu bytes", max), NULL;
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return fail(reader, key, "holds a control character"), NULL;
    return text;
}

static uint64_t read_number(Reader *reader, const char *key, uint64_t fallback, uint64_t min,
                            uint64_t max, const char *unit)
{
    json_t *value = get(reader, key);
    if (!value)
        return fallback;
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value))
        fail(reader, key, "must be a whole number (%s)", unit);
    else if (number < 0 || (uint64_t)number < min || (uint64_t)number > max)
        fail(reader, key, "%" JSON_INTEGER_FORMAT " is not between %" PRIu64 " and %" PRIu64 " %s",
             number, min, max, unit);
    else
        return (uint64_t)number;
    return fallback;
}

static bool read_bool(Reader *reader, const char *key, bool fallback)
{
    json_t *value = get(reader, key);
    if (value && !json_is_boolean(value))
        fail(reader, key, "must be true or false");
    return value && !reader->failed ? json_is_true(value) : fallback;
}

// The index in the NULL-terminated WORDS, or FALLBACK.
static unsigned read_word(Reader *reader, const char *key, const char *const *words,
                          unsigned fallback)
{
    const char *text = read_string(reader, key, PATH_LIMIT);
    if (!text)
        return fallback;
    for (unsigned i = 0; words[i]; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    g_autofree char *choices = g_strjoinv(", ", (char **)words);
    fail(reader, key, "\"%s\" is not one of: %s", text, choices);
    return fallback;
}

static char *read_path(Reader *reader, const char *key)
{
    const char *path = read_string(reader, key, PATH_LIMIT);
    if (path && path[0] != '/')
        fail(reader, key, "\"%s\" is not an absolute path", path);
    return reader->failed ? NULL : g_strdup(path);
}

static bool only(const char *text, const char *set)
{
    return strspn(text, set) == strlen(text);
}

static char *read_name(Reader *reader)
{
    const char *name = read_string(reader, "name", PATH_LIMIT);
    if (!name)
        return NULL;
    if (strchr(name, '/') || strstr(name, ".."))
        fail(reader, "name", "\"%s\" holds \"/\" or \"..\"; the name is also a file name", name);
    else if (!g_ascii_isalnum(name[0]) ||
             !only(name, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_.-") || strlen(name) > 63)
        fail(reader, "name",
             "\"%s\" must begin with a letter or digit and hold only letters, digits, \"_\", "
             "\".\" and \"-\", 63 at most",
             name);
    return reader->failed ? NULL : g_strdup(name);
}

static char *read_uuid(Reader *reader)
{
    const char *text = read_string(reader, "uuid", PATH_LIMIT);
    if (!text)
        return NULL;
    if (!g_uuid_string_is_valid(text) || only(text, "0-"))
        fail(reader, "uuid",
             "\"%s\" is not a UUID such as 3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60 (uuidgen)", text);
    return reader->failed ? NULL : g_ascii_strdown(text, -1);
}

// pc-q35-7.2, pc-i440fx-10.0, and distributions' pc-q35-rhel9.2.0.
static bool machine_is_versioned(const char *machine)
{
    return g_regex_match_simple("^pc-(q35|i440fx)-(rhel)?[0-9]+(\\.[0-9]+)+$", machine,
                                G_REGEX_DOLLAR_ENDONLY, 0);
}

static char *read_machine(Reader *reader)
{
    const char *machine = read_string(reader, "machine", 63);
    if (!machine || machine_is_versioned(machine))
        return g_strdup(machine);
    if (g_str_equal(machine, "q35") || g_str_equal(machine, "pc"))
        fail(
            reader, "machine",
            "\"%s\" is an alias that means another machine with each QEMU release; name a "
            "version that all nodes have, such as \"pc-%s-7.2\" (qemu-system-x86_64 -machine help)",
            machine, g_str_equal(machine, "q35") ? "q35" : "i440fx");
    else
        fail(reader, "machine",
             "\"%s\" is not a versioned machine type such as \"pc-q35-7.2\" or \"pc-i440fx-7.2\"",
             machine);
    return NULL;
}

static char *read_cpu(Reader *reader)
{
    const char *cpu = read_string(reader, "cpu", 512);
    if (cpu && !only(cpu, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_.,=+-"))
        fail(reader, "cpu", "\"%s\" is not a QEMU CPU model such as \"qemu64\" or \"EPYC,-sse4a\"",
             cpu);
    return reader->failed ? NULL : g_strdup(cpu ? cpu : "qemu64");
}

static char *read_firmware(Reader *reader)
{
    const char *firmware = read_string(reader, "firmware", PATH_LIMIT);
    if (!firmware || g_str_equal(firmware, "bios"))
        return g_strdup("bios");
    return read_path(reader, "firmware");
}

// An id becomes a QEMU id and a disk's serial number, which virtio limits to 20 characters.
static char *read_id(Reader *reader, const char *fallback, size_t index)
{
    const char *id = read_string(reader, "id", PATH_LIMIT);
    if (!id)
        return g_strdup_printf("%s%zu", fallback, index);
    if (!g_ascii_isalpha(id[0]) || !only(id, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_-") ||
        strlen(id) > 20)
        fail(reader, "id",
             "\"%s\" must begin with a letter and hold only letters, digits, \"_\" and \"-\", 20 "
             "at most",
             id);
    return g_strdup(id);
}

static void read_boot(Reader *reader, HvDefinition *definition)
{
    definition->kernel = read_path(reader, "kernel");
    definition->initrd = read_path(reader, "initrd");
    definition->cmdline = g_strdup(read_string(reader, "cmdline", CMDLINE_MAX));
}

static void read_resources(Reader *reader, HvDefinition *definition)
{
    HvResources *resources = &definition->resources;
    resources->cpu_weight =
        (uint32_t)read_number(reader, "cpu_weight", 0, 1, WEIGHT_MAX, "(cgroup weight)");
    resources->io_weight =
        (uint32_t)read_number(reader, "io_weight", 0, 1, WEIGHT_MAX, "(cgroup weight)");
    resources->memory_max_mib =
        read_number(reader, "memory_max_mib", 0, MEMORY_MIN_MIB, MEMORY_MAX_MIB * 2, "MiB");
    if (resources->memory_max_mib &&
        resources->memory_max_mib < definition->memory_mib + QEMU_OVERHEAD_MIB)
        fail(reader, "memory_max_mib",
             "%" PRIu64 " MiB would kill the VM; it must be at least memory_mib + %d MiB for QEMU "
             "itself",
             resources->memory_max_mib, QEMU_OVERHEAD_MIB);
}

static char *read_disk_url(Reader *reader)
{
    const char *url = read_string(reader, "url", PATH_LIMIT);
    const char *reason;
    g_auto(HvIscsiUrl) parsed = {0};
    if (url && !hv_iscsi_url_parse(url, &parsed, &reason))
        fail(reader, "url", "%s", reason);
    return reader->failed ? NULL : g_strdup(url);
}

static void read_disk(Reader *reader, HvDefinition *definition, size_t index)
{
    static const char *const types[] = {"file", "block", "iscsi", NULL};
    static const char *const formats[] = {"raw", "qcow2", NULL};
    HvDisk *disk = &definition->disks[index];
    disk->type = (HvDiskType)read_word(reader, "type", types, HV_DISK_FILE);
    bool iscsi = disk->type == HV_DISK_ISCSI;
    const char *wanted = iscsi ? "url" : "path", *other = iscsi ? "path" : "url";
    if (get(reader, other))
        fail(reader, other, "not for type \"%s\", which takes \"%s\"", types[disk->type], wanted);
    else if (!get(reader, wanted))
        fail(reader, wanted, "missing (type \"%s\")", types[disk->type]);
    disk->id = read_id(reader, "disk", index);
    disk->path = iscsi ? read_disk_url(reader) : read_path(reader, "path");
    disk->format = g_strdup(formats[read_word(reader, "format", formats, 0)]);
    disk->read_only = read_bool(reader, "read_only", false);
}

char *hv_definition_derived_mac(const char *uuid, size_t index)
{
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    g_autofree char *text = g_strdup_printf("%s/%zu", uuid, index);
    g_checksum_update(checksum, (const guchar *)text, -1);
    guint8 digest[32];
    gsize length = sizeof digest;
    g_checksum_get_digest(checksum, digest, &length);
    return g_strdup_printf("52:54:00:%02x:%02x:%02x", digest[0], digest[1], digest[2]);
}

static char *read_mac(Reader *reader, const char *uuid, size_t index)
{
    const char *mac = read_string(reader, "mac", PATH_LIMIT);
    if (reader->failed)
        return NULL;
    if (!mac)
        return hv_definition_derived_mac(uuid, index);
    if (!g_regex_match_simple("^([0-9a-f]{2}:){5}[0-9a-f]{2}$", mac,
                              G_REGEX_CASELESS | G_REGEX_DOLLAR_ENDONLY, 0))
        fail(reader, "mac", "\"%s\" is not an address such as 52:54:00:12:34:56", mac);
    else if (g_ascii_xdigit_value(mac[1]) & 1)
        fail(reader, "mac", "\"%s\" is a multicast address", mac);
    else if (only(mac, "0:"))
        fail(reader, "mac", "\"%s\" is not usable", mac);
    return g_ascii_strdown(mac, -1);
}

static void read_nic(Reader *reader, HvDefinition *definition, size_t index)
{
    static const char *const models[] = {"virtio-net-pci", "e1000e", "e1000", "rtl8139", NULL};
    HvNic *nic = &definition->nics[index];
    nic->id = read_id(reader, "net", index);
    const char *bridge = read_string(reader, "bridge", 15); // IFNAMSIZ - 1
    if (bridge && (strpbrk(bridge, "/ ") || bridge[0] == '.'))
        fail(reader, "bridge", "\"%s\" is not the name of a network interface", bridge);
    nic->bridge = g_strdup(bridge);
    nic->mac = read_mac(reader, definition->uuid, index);
    nic->model = g_strdup(models[read_word(reader, "model", models, 0)]);
}

typedef void (*ReadItem)(Reader *reader, HvDefinition *definition, size_t index);

static void read_item(Reader *parent, HvDefinition *definition, json_t *array, size_t index,
                      ReadItem read)
{
    g_autofree char *prefix = g_strdup_printf("%s[%zu].", parent->kind, index);
    Reader item = {json_array_get(array, index), parent->kind, prefix, parent->error, false};
    if (!json_is_object(item.object)) {
        item.prefix = "";
        prefix[strlen(prefix) - 1] = 0;
        fail(&item, prefix, "must be an object");
    } else {
        check_keys(&item);
        read(&item, definition, index);
    }
    parent->failed = item.failed;
}

// COUNT is raised before each item is read, so that a half-read one is freed too.
static void read_array(Reader *top, const char *key, size_t max, size_t item_size,
                       HvDefinition *definition, void *items, size_t *count, ReadItem read)
{
    json_t *array = get(top, key);
    if (!array)
        return;
    if (!json_is_array(array))
        return fail(top, key, "must be an array");
    if (json_array_size(array) > max)
        return fail(top, key, "%zu entries; %zu at most", json_array_size(array), max);
    *(void **)items = g_malloc0_n(json_array_size(array) + 1, item_size);
    Reader reader = {NULL, key, "", top->error, top->failed};
    for (size_t i = 0; i < json_array_size(array) && !reader.failed; i++) {
        (*count)++;
        read_item(&reader, definition, array, i, read);
    }
    top->failed = reader.failed;
}

static void read_object(Reader *top, const char *key, HvDefinition *definition,
                        void (*read)(Reader *, HvDefinition *))
{
    json_t *object = get(top, key);
    if (!object)
        return;
    if (!json_is_object(object))
        return fail(top, key, "must be an object");
    g_autofree char *prefix = g_strconcat(key, ".", NULL);
    Reader reader = {object, key, prefix, top->error, false};
    check_keys(&reader);
    read(&reader, definition);
    top->failed = reader.failed;
}

static void check_disks(Reader *top, const HvDefinition *definition)
{
    for (size_t i = 0; i < definition->n_disks && !top->failed; i++) {
        const HvDisk *disk = &definition->disks[i];
        g_autofree char *key = g_strdup_printf("disks[%zu]", i);
        if (g_str_equal(disk->path, definition->state_area))
            fail(top, "state_area", "\"%s\" is also %s; the saved memory would overwrite the disk",
                 definition->state_area, key);
        for (size_t j = 0; j < i; j++) {
            if (g_str_equal(disk->id, definition->disks[j].id))
                fail(top, key, "the id \"%s\" is also that of disks[%zu]", disk->id, j);
            if (g_str_equal(disk->path, definition->disks[j].path))
                fail(top, key, "\"%s\" is also disks[%zu]", disk->path, j);
        }
    }
}

static void check_nics(Reader *top, const HvDefinition *definition)
{
    for (size_t i = 0; i < definition->n_nics && !top->failed; i++) {
        const HvNic *nic = &definition->nics[i];
        g_autofree char *key = g_strdup_printf("nics[%zu]", i);
        for (size_t j = 0; j < i; j++) {
            if (g_str_equal(nic->id, definition->nics[j].id))
                fail(top, key, "the id \"%s\" is also that of nics[%zu]", nic->id, j);
            if (g_str_equal(nic->mac, definition->nics[j].mac))
                fail(top, key, "the mac \"%s\" is also that of nics[%zu]", nic->mac, j);
        }
    }
}

static void read_top(Reader *top, HvDefinition *definition)
{
    static const char *const serials[] = {"none", "console", NULL};
    static const char *const on_stops[] = {"save", "shutdown", "poweroff", NULL};
    static const char *const restores[] = {"lazy", "eager", NULL};
    static const char *const convergences[] = {"force", "abort", NULL};
    check_keys(top);
    definition->name = read_name(top);
    definition->uuid = read_uuid(top);
    definition->memory_mib =
        read_number(top, "memory_mib", 0, MEMORY_MIN_MIB, MEMORY_MAX_MIB, "MiB");
    definition->hugepages = read_bool(top, "hugepages", false);
    if (definition->hugepages && definition->memory_mib % HV_HUGEPAGE_MIB != 0)
        fail(top, "hugepages", "memory_mib has to be a multiple of %d MiB then", HV_HUGEPAGE_MIB);
    definition->vcpus = (uint32_t)read_number(top, "vcpus", 1, 1, VCPUS_MAX, "processors");
    definition->cpu = read_cpu(top);
    definition->machine = read_machine(top);
    definition->firmware = read_firmware(top);
    definition->serial = (HvSerial)read_word(top, "serial", serials, HV_SERIAL_CONSOLE);
    definition->on_stop = (HvOnStop)read_word(top, "on_stop", on_stops, HV_ON_STOP_SAVE);
    definition->restore = (HvRestore)read_word(top, "restore", restores, HV_RESTORE_LAZY);
    definition->state_area = read_path(top, "state_area");
    definition->max_blackout_ms =
        (uint32_t)read_number(top, "max_blackout_ms", 100, 1, BLACKOUT_MAX_MS, "ms");
    definition->convergence =
        (HvConvergence)read_word(top, "convergence", convergences, HV_CONVERGENCE_FORCE);
    definition->max_throttle_percent = (uint32_t)read_number(
        top, "max_throttle_percent", THROTTLE_DEFAULT, 0, THROTTLE_MAX, "per cent");
    read_object(top, "boot", definition, read_boot);
    read_array(top, "disks", HV_MAX_DISKS, sizeof(HvDisk), definition, &definition->disks,
               &definition->n_disks, read_disk);
    read_array(top, "nics", HV_MAX_NICS, sizeof(HvNic), definition, &definition->nics,
               &definition->n_nics, read_nic);
    read_object(top, "resources", definition, read_resources);
    check_disks(top, definition);
    check_nics(top, definition);
}

HvDefinition *hv_definition_from_json(json_t *root, GError **error)
{
    if (!json_is_object(root)) {
        g_set_error(error, HV_ERROR, HV_ERROR_DEFINITION, "the VM definition is not a JSON object");
        return NULL;
    }
    Counted *counted = g_new0(Counted, 1);
    g_atomic_ref_count_init(&counted->references);
    g_autoptr(HvDefinition) definition = &counted->definition;
    Reader top = {root, "", "", error, false};
    read_top(&top, definition);
    return top.failed ? NULL : g_steal_pointer(&definition);
}

HvDefinition *hv_definition_parse(const char *text, GError **error)
{
    size_t length = strnlen(text, TEXT_MAX + 1);
    if (length > TEXT_MAX) {
        g_set_error(error, HV_ERROR, HV_ERROR_DEFINITION,
                    "the VM definition is longer than %d bytes", TEXT_MAX);
        return NULL;
    }
    json_error_t problem;
    g_autoptr(json_t) root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &problem);
    if (!root) {
        g_autofree char *why = g_utf8_make_valid(problem.text, -1); // it quotes the text, and may cut it
        g_set_error(error, HV_ERROR, HV_ERROR_DEFINITION,
                    "the VM definition is not valid JSON: line %d, column %d: %s", problem.line,
                    problem.column, why);
        return NULL;
    }
    return hv_definition_from_json(root, error);
}

HvDefinition *hv_definition_ref(const HvDefinition *definition)
{
    Counted *counted = (Counted *)definition;
    g_atomic_ref_count_inc(&counted->references);
    return &counted->definition;
}

static void free_contents(HvDefinition *definition)
{
    for (size_t i = 0; i < definition->n_disks; i++) {
        g_free(definition->disks[i].id);
        g_free(definition->disks[i].path);
        g_free(definition->disks[i].format);
    }
    for (size_t i = 0; i < definition->n_nics; i++) {
        g_free(definition->nics[i].id);
        g_free(definition->nics[i].bridge);
        g_free(definition->nics[i].mac);
        g_free(definition->nics[i].model);
    }
    char *strings[] = {definition->name,    definition->uuid,     definition->cpu,
                       definition->machine, definition->firmware, definition->kernel,
                       definition->initrd,  definition->cmdline,  definition->state_area};
    for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
        g_free(strings[i]);
    g_free(definition->disks);
    g_free(definition->nics);
}

void hv_definition_unref(HvDefinition *definition)
{
    Counted *counted = (Counted *)definition;
    if (!counted || !g_atomic_ref_count_dec(&counted->references))
        return;
    free_contents(definition);
    g_free(counted);
}
