// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/definition_keys.h"

#include <string.h>

const HvDefinitionKey hv_definition_keys[] = {
    {"", "name", true, false},
    {"", "uuid", true, false},
    {"", "memory_mib", true, false},
    {"", "hugepages", false, false},
    {"", "vcpus", false, false},
    {"", "cpu", false, false},
    {"", "machine", true, false},
    {"", "firmware", false, false},
    {"", "boot", false, false},
    {"", "storage", false, false},
    {"", "disks", false, false},
    {"", "nics", false, false},
    {"", "serial", false, false},
    {"", "guest_agent", false, false},
    {"", "on_stop", false, true},
    {"", "restore", false, true},
    {"", "state_area", true, false},
    {"", "max_blackout_ms", false, true},
    {"", "convergence", false, true},
    {"", "max_throttle_percent", false, true},
    {"", "resources", false, false},
    {"boot", "kernel", true, false},
    {"boot", "initrd", false, false},
    {"boot", "cmdline", false, false},
    {"disks", "id", false, false},
    {"disks", "type", true, false},
    {"disks", "path", false, false},
    {"disks", "storage", false, false},
    {"disks", "url", false, false},
    {"disks", "format", false, false},
    {"disks", "read_only", false, false},
    {"state_area", "storage", true, false},
    {"state_area", "path", false, false},
    {"storage", "name", true, false},
    {"storage", "type", true, false},
    {"storage", "portals", false, false},
    {"storage", "target", false, false},
    {"storage", "lun", false, false},
    {"storage", "chap_user", false, false},
    {"storage", "chap_secret_file", false, false},
    {"storage", "wwid", false, false},
    {"storage", "size_mib", false, false},
    {"storage", "vg", false, false},
    {"storage", "lv", false, false},
    {"storage", "path", false, false},
    {"storage", "source", false, false},
    {"storage", "on", false, false},
    {"storage", "fstype", false, false},
    {"storage", "options", false, false},
    {"nics", "id", false, false},
    {"nics", "bridge", true, false},
    {"nics", "mac", false, false},
    {"nics", "model", false, false},
    {"resources", "cpu_weight", false, false},
    {"resources", "io_weight", false, false},
    {"resources", "memory_max_mib", false, false},
};
const size_t hv_definition_n_keys = sizeof hv_definition_keys / sizeof hv_definition_keys[0];

const HvDefinitionKey *hv_definition_key_find(const char *object, const char *key)
{
    for (size_t i = 0; i < hv_definition_n_keys; i++) {
        const HvDefinitionKey *entry = &hv_definition_keys[i];
        if (strcmp(entry->object, object) == 0 && strcmp(entry->key, key) == 0)
            return entry;
    }
    return NULL;
}
