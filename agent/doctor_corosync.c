// SPDX-License-Identifier: GPL-2.0-or-later
// Rules about corosync. Each node has a file of its own, and they may differ.
#include "agent/doctor_facts.h"
#include "migrate/move_source.h"

enum { TOKEN_MIN_MS = 1000 };

static void for_each(DoctorReport *report, json_t *facts,
                     void (*check)(DoctorReport *report, const char *node, json_t *corosync))
{
    const char *name;
    json_t *node;

    json_object_foreach (json_object_get(facts, "nodes"), name, node)
        if (doctor_section(node, "corosync") != NULL)
            check(report, name, doctor_section(node, "corosync"));
}

static void check_crypto(DoctorReport *report, const char *node, json_t *corosync)
{
    const char *cipher = doctor_text(corosync, "crypto_cipher");
    const char *hash = doctor_text(corosync, "crypto_hash");
    bool secauth = doctor_true(doctor_text(corosync, "secauth"));

    if (!secauth && (cipher == NULL || hash == NULL || strcmp(cipher, "none") == 0 ||
                     strcmp(hash, "none") == 0))
        doctor_found(report, node, NULL, "crypto_cipher: %s, crypto_hash: %s",
                     cipher != NULL ? cipher : "none", hash != NULL ? hash : "none");
}

void doctor_rule_no_crypto(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, check_crypto);
}

// One file for all, in this; told once.
void doctor_rule_one_link(DoctorReport *report, json_t *facts)
{
    const char *name;
    json_t *node;

    json_object_foreach (json_object_get(facts, "nodes"), name, node)
        if (doctor_number(doctor_section(node, "corosync"), "links") == 1) {
            doctor_found(report, NULL, NULL, "a node list with ring0_addr alone (%s)", name);
            return;
        }
}

static void check_long(DoctorReport *report, const char *node, json_t *corosync)
{
    json_int_t token = doctor_number(corosync, "token_ms");
    json_int_t consensus = doctor_number(corosync, "consensus_ms");

    if (token + consensus >= FERRY_LOAD_MS) // docs/TIMEOUTS.md, M5
        doctor_found(report, node, NULL,
                     "token %" JSON_INTEGER_FORMAT " ms and consensus %" JSON_INTEGER_FORMAT
                     " ms: a lost node is told after %d s",
                     token, consensus, (int)((token + consensus) / 1000));
}

void doctor_rule_token_too_long(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, check_long);
}

static void check_short(DoctorReport *report, const char *node, json_t *corosync)
{
    json_int_t token = doctor_number(corosync, "token_ms");

    if (token == 0)
        doctor_unknown(report, node, NULL, "corosync's cmap has no runtime.config.totem.token");
    else if (token < TOKEN_MIN_MS)
        doctor_found(report, node, NULL, "token %" JSON_INTEGER_FORMAT " ms", token);
}

void doctor_rule_token_too_short(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, check_short);
}
