// SPDX-License-Identifier: GPL-2.0-or-later
// Parsing and checking. Every value is read through a HvReader, which knows the path of the object it
// reads, so that each message can name the key. After the first error all reads do nothing.
#include "hvcore/definition.h"

#include "hvcore/definition_reader.h"
#include "hvcore/definition_storage.h"
#include "hvcore/iscsi_url.h"
#include <inttypes.h>
#include <string.h>

enum {
    TEXT_MAX = 64 * 1024,
    CMDLINE_MAX = 2000, // the kernel's COMMAND_LINE_SIZE on x86 is 2048
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

static char *read_name(HvReader *reader)
{
    const char *name = hv_reader_string(reader, "name", HV_TEXT_LIMIT);
    if (!name)
        return NULL;
    if (strchr(name, '/') || strstr(name, ".."))
        hv_reader_fail(reader, "name", "\"%s\" holds \"/\" or \"..\"; the name is also a file name", name);
    else if (!g_ascii_isalnum(name[0]) ||
             !hv_reader_only(name, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_.-") || strlen(name) > 63)
        hv_reader_fail(reader, "name",
             "\"%s\" must begin with a letter or digit and hold only letters, digits, \"_\", "
             "\".\" and \"-\", 63 at most",
             name);
    return reader->failed ? NULL : g_strdup(name);
}

static char *read_uuid(HvReader *reader)
{
    const char *text = hv_reader_string(reader, "uuid", HV_TEXT_LIMIT);
    if (!text)
        return NULL;
    if (!g_uuid_string_is_valid(text) || hv_reader_only(text, "0-"))
        hv_reader_fail(reader, "uuid",
             "\"%s\" is not a UUID such as 3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60 (uuidgen)", text);
    return reader->failed ? NULL : g_ascii_strdown(text, -1);
}

// pc-q35-7.2, pc-i440fx-10.0, and distributions' pc-q35-rhel9.2.0.
static bool machine_is_versioned(const char *machine)
{
    return g_regex_match_simple("^pc-(q35|i440fx)-(rhel)?[0-9]+(\\.[0-9]+)+$", machine,
                                G_REGEX_DOLLAR_ENDONLY, 0);
}

static char *read_machine(HvReader *reader)
{
    const char *machine = hv_reader_string(reader, "machine", 63);
    if (!machine || machine_is_versioned(machine))
        return g_strdup(machine);
    if (g_str_equal(machine, "q35") || g_str_equal(machine, "pc"))
        hv_reader_fail(
            reader, "machine",
            "\"%s\" is an alias that means another machine with each QEMU release; name a "
            "version that all nodes have, such as \"pc-%s-7.2\" (qemu-system-x86_64 -machine help)",
            machine, g_str_equal(machine, "q35") ? "q35" : "i440fx");
    else
        hv_reader_fail(reader, "machine",
             "\"%s\" is not a versioned machine type such as \"pc-q35-7.2\" or \"pc-i440fx-7.2\"",
             machine);
    return NULL;
}

static char *read_cpu(HvReader *reader)
{
    const char *cpu = hv_reader_string(reader, "cpu", 512);
    if (cpu && !hv_reader_only(cpu, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_.,=+-"))
        hv_reader_fail(reader, "cpu", "\"%s\" is not a QEMU CPU model such as \"qemu64\" or \"EPYC,-sse4a\"",
             cpu);
    return reader->failed ? NULL : g_strdup(cpu ? cpu : "qemu64");
}

static char *read_firmware(HvReader *reader)
{
    const char *firmware = hv_reader_string(reader, "firmware", HV_TEXT_LIMIT);
    if (!firmware || g_str_equal(firmware, "bios"))
        return g_strdup("bios");
    return hv_reader_path(reader, "firmware");
}

// An id becomes a QEMU id and a disk's serial number, which virtio limits to 20 characters.
static char *read_id(HvReader *reader, const char *fallback, size_t index)
{
    const char *id = hv_reader_string(reader, "id", HV_TEXT_LIMIT);
    if (!id)
        return g_strdup_printf("%s%zu", fallback, index);
    if (!g_ascii_isalpha(id[0]) || !hv_reader_only(id, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_-") ||
        strlen(id) > 20)
        hv_reader_fail(reader, "id",
             "\"%s\" must begin with a letter and hold only letters, digits, \"_\" and \"-\", 20 "
             "at most",
             id);
    return g_strdup(id);
}

static void read_boot(HvReader *reader, HvDefinition *definition)
{
    definition->kernel = hv_reader_path(reader, "kernel");
    definition->initrd = hv_reader_path(reader, "initrd");
    definition->cmdline = g_strdup(hv_reader_string(reader, "cmdline", CMDLINE_MAX));
}

static void read_resources(HvReader *reader, HvDefinition *definition)
{
    HvResources *resources = &definition->resources;
    resources->cpu_weight =
        (uint32_t)hv_reader_number(reader, "cpu_weight", 0, 1, WEIGHT_MAX, "(cgroup weight)");
    resources->io_weight =
        (uint32_t)hv_reader_number(reader, "io_weight", 0, 1, WEIGHT_MAX, "(cgroup weight)");
    resources->memory_max_mib =
        hv_reader_number(reader, "memory_max_mib", 0, MEMORY_MIN_MIB, MEMORY_MAX_MIB * 2, "MiB");
    if (resources->memory_max_mib &&
        resources->memory_max_mib < definition->memory_mib + QEMU_OVERHEAD_MIB)
        hv_reader_fail(reader, "memory_max_mib",
             "%" PRIu64 " MiB would kill the VM; it must be at least memory_mib + %d MiB for QEMU "
             "itself",
             resources->memory_max_mib, QEMU_OVERHEAD_MIB);
}

static char *read_disk_url(HvReader *reader)
{
    const char *url = hv_reader_string(reader, "url", HV_TEXT_LIMIT);
    const char *reason;
    g_auto(HvIscsiUrl) parsed = {0};
    if (url && !hv_iscsi_url_parse(url, &parsed, &reason))
        hv_reader_fail(reader, "url", "%s", reason);
    return reader->failed ? NULL : g_strdup(url);
}

static void check_disk_place(HvReader *reader, HvDiskType type, const char *const *types)
{
    bool iscsi = type == HV_DISK_ISCSI;
    const char *wanted = iscsi ? "url" : hv_reader_get(reader, "storage") ? "storage" : "path";
    if (iscsi && hv_reader_get(reader, "storage"))
        hv_reader_fail(reader, "storage",
                       "not for type \"iscsi\", which is QEMU's own initiator; type \"block\" takes "
                       "the LUN that the node has logged in to");
    else if (hv_reader_get(reader, iscsi ? "path" : "url"))
        hv_reader_fail(reader, iscsi ? "path" : "url", "not for type \"%s\", which takes \"%s\"",
                       types[type], iscsi ? "url" : "path");
    else if (!hv_reader_get(reader, wanted))
        hv_reader_fail(reader, wanted, "missing (type \"%s\")", types[type]);
}

static void read_disk(HvReader *reader, HvDefinition *definition, size_t index)
{
    static const char *const types[] = {"file", "block", "iscsi", NULL};
    static const char *const formats[] = {"raw", "qcow2", NULL};
    HvDisk *disk = &definition->disks[index];
    disk->type = (HvDiskType)hv_reader_word(reader, "type", types, HV_DISK_FILE);
    check_disk_place(reader, disk->type, types);
    disk->id = read_id(reader, "disk", index);
    if (hv_reader_get(reader, "storage"))
        hv_definition_read_disk_storage(reader, definition, disk);
    else
        disk->path = disk->type == HV_DISK_ISCSI ? read_disk_url(reader)
                                                 : hv_reader_path(reader, "path");
    disk->format = g_strdup(formats[hv_reader_word(reader, "format", formats, 0)]);
    disk->read_only = hv_reader_bool(reader, "read_only", false);
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

static char *read_mac(HvReader *reader, const char *uuid, size_t index)
{
    const char *mac = hv_reader_string(reader, "mac", HV_TEXT_LIMIT);
    if (reader->failed)
        return NULL;
    if (!mac)
        return hv_definition_derived_mac(uuid, index);
    if (!g_regex_match_simple("^([0-9a-f]{2}:){5}[0-9a-f]{2}$", mac,
                              G_REGEX_CASELESS | G_REGEX_DOLLAR_ENDONLY, 0))
        hv_reader_fail(reader, "mac", "\"%s\" is not an address such as 52:54:00:12:34:56", mac);
    else if (g_ascii_xdigit_value(mac[1]) & 1)
        hv_reader_fail(reader, "mac", "\"%s\" is a multicast address", mac);
    else if (hv_reader_only(mac, "0:"))
        hv_reader_fail(reader, "mac", "\"%s\" is not usable", mac);
    return g_ascii_strdown(mac, -1);
}

static void read_nic(HvReader *reader, HvDefinition *definition, size_t index)
{
    static const char *const models[] = {"virtio-net-pci", "e1000e", "e1000", "rtl8139", NULL};
    HvNic *nic = &definition->nics[index];
    nic->id = read_id(reader, "net", index);
    const char *bridge = hv_reader_string(reader, "bridge", 15); // IFNAMSIZ - 1
    if (bridge && (strpbrk(bridge, "/ ") || bridge[0] == '.'))
        hv_reader_fail(reader, "bridge", "\"%s\" is not the name of a network interface", bridge);
    nic->bridge = g_strdup(bridge);
    nic->mac = read_mac(reader, definition->uuid, index);
    nic->model = g_strdup(models[hv_reader_word(reader, "model", models, 0)]);
}

static void check_disks(HvReader *top, const HvDefinition *definition)
{
    for (size_t i = 0; i < definition->n_disks && !top->failed; i++) {
        const HvDisk *disk = &definition->disks[i];
        g_autofree char *key = g_strdup_printf("disks[%zu]", i);
        if (g_str_equal(disk->path, definition->state_area))
            hv_reader_fail(top, "state_area", "\"%s\" is also %s; the saved memory would overwrite the disk",
                 definition->state_area, key);
        for (size_t j = 0; j < i; j++) {
            if (g_str_equal(disk->id, definition->disks[j].id))
                hv_reader_fail(top, key, "the id \"%s\" is also that of disks[%zu]", disk->id, j);
            if (g_str_equal(disk->path, definition->disks[j].path))
                hv_reader_fail(top, key, "\"%s\" is also disks[%zu]", disk->path, j);
        }
    }
}

static void check_nics(HvReader *top, const HvDefinition *definition)
{
    for (size_t i = 0; i < definition->n_nics && !top->failed; i++) {
        const HvNic *nic = &definition->nics[i];
        g_autofree char *key = g_strdup_printf("nics[%zu]", i);
        for (size_t j = 0; j < i; j++) {
            if (g_str_equal(nic->id, definition->nics[j].id))
                hv_reader_fail(top, key, "the id \"%s\" is also that of nics[%zu]", nic->id, j);
            if (g_str_equal(nic->mac, definition->nics[j].mac))
                hv_reader_fail(top, key, "the mac \"%s\" is also that of nics[%zu]", nic->mac, j);
        }
    }
}

static void read_top(HvReader *top, HvDefinition *definition)
{
    static const char *const serials[] = {"none", "console", NULL};
    static const char *const on_stops[] = {"save", "shutdown", "poweroff", NULL};
    static const char *const restores[] = {"lazy", "eager", NULL};
    static const char *const convergences[] = {"force", "abort", NULL};
    hv_reader_check_keys(top);
    definition->name = read_name(top);
    definition->uuid = read_uuid(top);
    definition->memory_mib =
        hv_reader_number(top, "memory_mib", 0, MEMORY_MIN_MIB, MEMORY_MAX_MIB, "MiB");
    definition->hugepages = hv_reader_bool(top, "hugepages", false);
    if (definition->hugepages && definition->memory_mib % HV_HUGEPAGE_MIB != 0)
        hv_reader_fail(top, "hugepages", "memory_mib has to be a multiple of %d MiB then", HV_HUGEPAGE_MIB);
    definition->vcpus = (uint32_t)hv_reader_number(top, "vcpus", 1, 1, VCPUS_MAX, "processors");
    definition->cpu = read_cpu(top);
    definition->machine = read_machine(top);
    definition->firmware = read_firmware(top);
    definition->serial = (HvSerial)hv_reader_word(top, "serial", serials, HV_SERIAL_CONSOLE);
    definition->guest_agent = hv_reader_bool(top, "guest_agent", false);
    definition->on_stop = (HvOnStop)hv_reader_word(top, "on_stop", on_stops, HV_ON_STOP_SAVE);
    definition->restore = (HvRestore)hv_reader_word(top, "restore", restores, HV_RESTORE_LAZY);
    hv_reader_array(top, "storage", HV_MAX_STORAGE, sizeof(HvStorage), definition,
                    &definition->storage, &definition->n_storage, hv_definition_read_storage);
    if (json_is_object(hv_reader_get(top, "state_area")))
        hv_reader_object(top, "state_area", definition, hv_definition_read_state_area);
    else
        definition->state_area = hv_reader_path(top, "state_area");
    definition->max_blackout_ms =
        (uint32_t)hv_reader_number(top, "max_blackout_ms", 100, 1, BLACKOUT_MAX_MS, "ms");
    definition->convergence =
        (HvConvergence)hv_reader_word(top, "convergence", convergences, HV_CONVERGENCE_FORCE);
    definition->max_throttle_percent = (uint32_t)hv_reader_number(
        top, "max_throttle_percent", THROTTLE_DEFAULT, 0, THROTTLE_MAX, "per cent");
    hv_reader_object(top, "boot", definition, read_boot);
    hv_reader_array(top, "disks", HV_MAX_DISKS, sizeof(HvDisk), definition, &definition->disks,
               &definition->n_disks, read_disk);
    hv_reader_array(top, "nics", HV_MAX_NICS, sizeof(HvNic), definition, &definition->nics,
               &definition->n_nics, read_nic);
    hv_reader_object(top, "resources", definition, read_resources);
    hv_definition_check_storage(top, definition);
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
    HvReader top = {root, "", "", error, false};
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
        g_free(definition->disks[i].storage);
        g_free(definition->disks[i].inside);
    }
    for (size_t i = 0; i < definition->n_storage; i++)
        hv_definition_clear_storage(&definition->storage[i]);
    for (size_t i = 0; i < definition->n_nics; i++) {
        g_free(definition->nics[i].id);
        g_free(definition->nics[i].bridge);
        g_free(definition->nics[i].mac);
        g_free(definition->nics[i].model);
    }
    char *strings[] = {definition->name,    definition->uuid,     definition->cpu,
                       definition->machine, definition->firmware, definition->kernel,
                       definition->initrd,  definition->cmdline,  definition->state_area,
                       definition->state_storage, definition->state_inside};
    for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
        g_free(strings[i]);
    g_free(definition->storage);
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
