// SPDX-License-Identifier: GPL-2.0-or-later
// What nodes say of themselves for `vmferry doctor`: any JSON. The report is whole, whatever that
// is, and is not "clean" while a node has not said everything.
#include "tests/fuzz/fuzz.h"

#include "agent/doctor_facts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_log_quietly();
    return 0;
}

static void check_finding(json_t *finding)
{
    static const char *const keys[] = {"id", "level", "title", "seen", "why", "remedy"};
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        FUZZ_REQUIRE(doctor_text(finding, keys[i]) != NULL, "a finding without %s", keys[i]);
}

// Whether a node lacks a section.
static bool is_incomplete(json_t *facts)
{
    const char *name;
    json_t *node;
    json_object_foreach (json_object_get(facts, "nodes"), name, node)
        for (const char *const *section = doctor_sections; *section != NULL; section++)
            if (doctor_section(node, *section) == NULL)
                return true;
    return !json_is_object(json_object_get(facts, "cib"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *facts = json_loadb((const char *)data, size, 0, NULL);
    size_t index;
    json_t *finding;
    if (facts == NULL)
        return 0;
    json_t *report = doctor_judge(facts);
    const char *verdict = doctor_text(report, "verdict");
    FUZZ_REQUIRE(verdict != NULL, "no verdict");
    json_array_foreach (json_object_get(report, "findings"), index, finding)
        check_finding(finding);
    FUZZ_REQUIRE(!is_incomplete(facts) ||
                     (strcmp(verdict, "clean") != 0 && strcmp(verdict, "note") != 0),
                 "%s, and not all was looked at", verdict);
    char *text = json_dumps(report, JSON_COMPACT);
    FUZZ_REQUIRE(text != NULL, "the report cannot be told");
    free(text);
    json_decref(report);
    json_decref(facts);
    return 0;
}
