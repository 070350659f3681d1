// SPDX-License-Identifier: GPL-2.0-or-later
// The storage of a definition: read, checked, written. Internal to hvcore.
#pragma once

#include "hvcore/definition_reader.h"

void hv_definition_read_storage(HvReader *reader, HvDefinition *definition, size_t index);
// DISK's path from the storage that it names, which is read already.
void hv_definition_read_disk_storage(HvReader *reader, const HvDefinition *definition,
                                     HvDisk *disk);
void hv_definition_read_state_area(HvReader *reader, HvDefinition *definition);
// What several entries say together.
void hv_definition_check_storage(HvReader *top, const HvDefinition *definition);
void hv_definition_clear_storage(HvStorage *storage);
json_t *hv_definition_storage_as_json(const HvStorage *storage); // new reference
