// SPDX-License-Identifier: GPL-2.0-or-later
// A VM definition: what is accepted is printed and read again as the same.
#include "tests/fuzz/fuzz.h"

#include "hvcore/definition.h"

#include <string.h>

static HvDefinition *parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    HvDefinition *definition = hv_definition_parse(text, &error);
    fuzz_check_error(definition != NULL, error);
    return definition;
}

static void check_accepted(const HvDefinition *definition)
{
    g_autofree char *printed = hv_definition_to_json(definition);
    FUZZ_REQUIRE(printed != NULL, "an accepted definition cannot be printed");
    g_autoptr(HvDefinition) again = parse(printed);
    FUZZ_REQUIRE(again != NULL, "a printed definition is refused: %s", printed);
    g_autofree char *printed_again = hv_definition_to_json(again);
    FUZZ_REQUIRE(strcmp(printed, printed_again) == 0, "printed anew: %s\n%s", printed,
                 printed_again);
    g_autofree char *pending = hv_definition_pending(definition, again);
    FUZZ_REQUIRE(pending == NULL, "a definition differs from itself: %s", pending);
    g_autofree char *digest = hv_definition_digest(again);
    FUZZ_REQUIRE(strlen(digest) == 64, "digest %s", digest);
}

static void check_limits(const HvDefinition *definition)
{
    FUZZ_REQUIRE(strlen(definition->name) <= 63 && strchr(definition->name, '/') == NULL, "name %s",
                 definition->name);
    FUZZ_REQUIRE(strlen(definition->uuid) == 36, "uuid %s", definition->uuid);
    FUZZ_REQUIRE(definition->state_area[0] == '/', "state_area %s", definition->state_area);
    FUZZ_REQUIRE(definition->memory_mib > 0 && definition->vcpus > 0, "memory or vcpus of 0");
    for (size_t i = 0; i < definition->n_disks; i++)
        FUZZ_REQUIRE(strlen(definition->disks[i].id) <= 20 &&
                         strcmp(definition->disks[i].path, definition->state_area) != 0,
                     "disk %zu", i);
    for (size_t i = 0; i < definition->n_nics; i++)
        FUZZ_REQUIRE(strlen(definition->nics[i].bridge) < 16 &&
                         strlen(definition->nics[i].mac) == 17,
                     "nic %zu", i);
}

// What is on storage lies below its path, and nothing on a file system of the owner's is the state
// area.
static void check_storage(const HvDefinition *definition)
{
    for (size_t i = 0; i < definition->n_disks; i++) {
        const HvDisk *disk = &definition->disks[i];
        const HvStorage *storage =
            disk->storage != NULL ? hv_definition_storage(definition, disk->storage) : NULL;
        if (disk->storage == NULL)
            continue;
        FUZZ_REQUIRE(storage != NULL && g_str_has_prefix(disk->path, storage->path),
                     "disk %s at %s", disk->id, disk->path);
        FUZZ_REQUIRE(strstr(disk->path + strlen(storage->path), "/../") == NULL, "disk %s at %s",
                     disk->id, disk->path);
    }
    if (definition->state_storage != NULL)
        FUZZ_REQUIRE(hv_definition_storage(definition, definition->state_storage)->type !=
                         HV_STORAGE_FILESYSTEM,
                     "the state area is on %s", definition->state_storage);
    for (size_t i = 0; i < definition->n_storage; i++)
        FUZZ_REQUIRE(strpbrk(definition->storage[i].name, "/.") == NULL, "name %s",
                     definition->storage[i].name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput input = {data, size};
    g_autofree char *text = fuzz_rest(&input);
    g_autoptr(HvDefinition) definition = parse(text);
    if (definition == NULL)
        return 0;
    check_limits(definition);
    check_storage(definition);
    check_accepted(definition);
    return 0;
}
