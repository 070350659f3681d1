// SPDX-License-Identifier: GPL-2.0-or-later
// Definitions that are refused, and that the message names the key and the remedy.
#include "tests/hvcore/support.h"

#include <string.h>

typedef struct {
    const char *key, *value; // replaces or adds the key (JSON text); NULL removes it
    const char *prefix, *part;
} Case;

#define DISK(rest) "[{\"type\":\"file\",\"path\":\"/d\"" rest "}]"
#define NIC(rest) "[{\"bridge\":\"br0\"" rest "}]"
#define ISCSI(url) "[{\"type\":\"iscsi\",\"url\":\"" url "\"}]"

static const Case cases[] = {
    {"name", NULL, "name: ", "missing"},
    {"name", "7", "name: ", "string"},
    {"name", "\"\"", "name: ", "empty"},
    {"name", "\"a/b\"", "name: ", "\"/\""},
    {"name", "\"a..b\"", "name: ", "\"..\""},
    {"name", "\".hidden\"", "name: ", "begin"},
    {"name", "\"a,b\"", "name: ", "hold only"},
    {"name", "\"a\\nb\"", "name: ", "control"},
    {"name", "\"0123456789012345678901234567890123456789012345678901234567890123\"",
     "name: ", "63"},
    {"uuid", NULL, "uuid: ", "missing"},
    {"uuid", "\"3f2a6c1e\"", "uuid: ", "uuidgen"},
    {"uuid", "\"00000000-0000-0000-0000-000000000000\"", "uuid: ", "uuidgen"},
    {"memory_mib", NULL, "memory_mib: ", "missing"},
    {"memory_mib", "15", "memory_mib: ", "between 16 and"},
    {"memory_mib", "67108865", "memory_mib: ", "MiB"},
    {"memory_mib", "64.0", "memory_mib: ", "whole number"},
    {"memory_mib", "\"64\"", "memory_mib: ", "whole number"},
    {"memory_mib", "-1", "memory_mib: ", "between"},
    {"hugepages", "\"yes\"", "hugepages: ", "true or false"},
    {"vcpus", "0", "vcpus: ", "between 1 and 1024"},
    {"vcpus", "1025", "vcpus: ", "between"},
    {"cpu", "\"qemu64 -enable\"", "cpu: ", "model"},
    {"machine", NULL, "machine: ", "missing"},
    {"machine", "\"q35\"", "machine: ", "alias"},
    {"machine", "\"pc\"", "machine: ", "pc-i440fx-7.2"},
    {"machine", "\"microvm\"", "machine: ", "versioned"},
    {"machine", "\"pc-q35-7.2,accel=kvm\"", "machine: ", "versioned"},
    {"firmware", "\"OVMF.fd\"", "firmware: ", "absolute"},
    {"guest_agent", "1", "guest_agent: ", "true or false"},
    {"serial", "\"yes\"", "serial: ", "none, console"},
    {"on_stop", "\"kill\"", "on_stop: ", "save, shutdown, poweroff"},
    {"state_area", NULL, "state_area: ", "missing"},
    {"state_area", "\"web1.state\"", "state_area: ", "absolute"},
    {"max_blackout_ms", "0", "max_blackout_ms: ", "ms"},
    {"convergence", "\"retry\"", "convergence: ", "force, abort"},
    {"convergence", "1", "convergence: ", "string"},
    {"max_throttle_percent", "100", "max_throttle_percent: ", "between 0 and 99 per cent"},
    {"max_throttle_percent", "-1", "max_throttle_percent: ", "between 0 and 99"},
    {"max_throttle_percent", "\"20\"", "max_throttle_percent: ", "whole number"},
    {"memroy_mib", "64", "memroy_mib: ", "unknown key"},
    {"boot", "\"/k\"", "boot: ", "object"},
    {"boot", "{}", "boot.kernel: ", "missing"},
    {"boot", "{\"kernel\":\"vmlinuz\"}", "boot.kernel: ", "absolute"},
    {"boot", "{\"kernel\":\"/k\",\"x\":1}", "boot.x: ", "unknown key"},
    {"disks", "{}", "disks: ", "array"},
    {"disks", "[7]", "disks[0]: ", "object"},
    {"disks", "[{\"path\":\"/d\"}]", "disks[0].type: ", "missing"},
    {"disks", "[{\"type\":\"nfs\",\"path\":\"/d\"}]", "disks[0].type: ", "file, block, iscsi"},
    {"disks", "[{\"type\":\"file\"}]", "disks[0].path: ", "missing"},
    {"disks", "[{\"type\":\"file\",\"url\":\"iscsi://a/b/1\"}]", "disks[0].url: ", "path"},
    {"disks", "[{\"type\":\"iscsi\",\"path\":\"/d\"}]", "disks[0].path: ", "url"},
    {"disks", DISK(",\"format\":\"vmdk\""), "disks[0].format: ", "raw, qcow2"},
    {"disks", DISK(",\"read_only\":1"), "disks[0].read_only: ", "true or false"},
    {"disks", DISK(",\"id\":\"0x\""), "disks[0].id: ", "begin with a letter"},
    {"disks", DISK(",\"cache\":\"writeback\""), "disks[0].cache: ", "unknown key"},
    {"disks", DISK("},{\"type\":\"file\",\"path\":\"/d\""), "disks[1]: ", "also disks[0]"},
    {"disks", DISK("},{\"id\":\"disk0\",\"type\":\"file\",\"path\":\"/e\""), "disks[1]: ", "id"},
    {"disks", "[{\"type\":\"file\",\"path\":\"/shared/web1.state\"}]", "state_area: ", "overwrite"},
    {"disks", ISCSI("iscsi://admin%secret@10.0.0.9/iqn.x:t/1"), "disks[0].url: ", "secrets"},
    {"disks", ISCSI("iscsi://10.0.0.9/iqn.x:t"), "disks[0].url: ", "form"},
    {"disks", ISCSI("http://10.0.0.9/iqn.x:t/1"), "disks[0].url: ", "form"},
    {"disks", "[{\"type\":\"iscsi\",\"storage\":\"d\",\"url\":\"iscsi://a/iqn.x:t/1\"}]",
     "disks[0].storage: ", "QEMU's own initiator"},
    {"disks", "[{\"type\":\"block\",\"storage\":\"e\"}]", "disks[0].storage: ", "no storage \"e\""},
    {"state_area", "{\"storage\":\"d\"}", "state_area.storage: ", "no storage \"d\""},
    {"state_area", "{}", "state_area.storage: ", "missing"},
    {"state_area", "{\"storage\":\"d\",\"file\":\"x\"}", "state_area.file: ", "unknown key"},
    {"nics", "[{}]", "nics[0].bridge: ", "missing"},
    {"nics", "[{\"bridge\":\"../br0\"}]", "nics[0].bridge: ", "interface"},
    {"nics", "[{\"bridge\":\"a-name-that-is-too-long\"}]", "nics[0].bridge: ", "longer than 15"},
    {"nics", NIC(",\"mac\":\"53:54:00:00:00:01\""), "nics[0].mac: ", "multicast"},
    {"nics", NIC(",\"mac\":\"00:00:00:00:00:00\""), "nics[0].mac: ", "not usable"},
    {"nics", NIC(",\"mac\":\"52-54-00-00-00-01\""), "nics[0].mac: ", "52:54:00"},
    {"nics", NIC(",\"model\":\"ne2k_pci\""), "nics[0].model: ", "virtio-net-pci"},
    {"nics", NIC(",\"mac\":\"52:54:00:00:00:01\"},{\"bridge\":\"b\",\"mac\":\"52:54:00:00:00:01\""),
     "nics[1]: ", "mac"},
    {"resources", "{\"cpu_weight\":0}", "resources.cpu_weight: ", "between 1 and 10000"},
    {"resources", "{\"cpus\":1}", "resources.cpus: ", "unknown key"},
    {"resources", "{\"memory_max_mib\":64}", "resources.memory_max_mib: ", "memory_mib + 128"},
};

static void test_case(gconstpointer data)
{
    const Case *c = data;
    g_autofree char *base = test_definition_text(NULL, "");
    json_t *root = json_loads(base, 0, NULL);
    if (c->value)
        json_object_set_new(root, c->key, json_loads(c->value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(root, c->key);
    char *text = json_dumps(root, JSON_COMPACT);
    test_refused(text, c->prefix, c->part);
    free(text);
    json_decref(root);
}

static void test_text(void)
{
    test_refused("", "the VM definition is not valid JSON", "line 1");
    test_refused("[]", "the VM definition", "object");
    test_refused("{\"name\":\"a\",\"name\":\"b\"}", "the VM definition", "uplicate");
    test_refused("{\"name\":\"\xff\xfe\"}", "the VM definition", "decode");
    test_refused("{\"name\":\"a\\u0000b\"}", "the VM definition", "\\u0000");
    test_refused("{} trailing", "the VM definition", "end of file");
}

static void test_half_a_hugepage(void)
{
    test_refused("{\"name\":\"a\",\"uuid\":\"3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60\","
                 "\"memory_mib\":65,\"hugepages\":true,\"machine\":\"pc-q35-7.2\","
                 "\"state_area\":\"/s\"}",
                 "hugepages: ", "multiple of 2 MiB");
}

static void test_too_long(void)
{
    g_autofree char *blanks = g_strnfill(64 * 1024, ' ');
    g_autofree char *base = test_definition_text(NULL, "");
    g_autofree char *text = g_strconcat(base, blanks, NULL);
    test_refused(text, "the VM definition", "longer than 65536");
}

static void test_too_many(void)
{
    GString *disks = g_string_new(",\"disks\":[");
    for (int i = 0; i < 17; i++)
        g_string_append_printf(disks, "%s{\"type\":\"file\",\"path\":\"/d%d\"}", i ? "," : "", i);
    g_string_append_c(disks, ']');
    g_autofree char *text = test_definition_text(NULL, disks->str);
    g_string_free(disks, TRUE);
    test_refused(text, "disks: ", "16 at most");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/definition-refused/%zu-%s", i, cases[i].key);
        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_func("/definition-refused/text", test_text);
    g_test_add_func("/definition-refused/half-a-hugepage", test_half_a_hugepage);
    g_test_add_func("/definition-refused/too-long", test_too_long);
    g_test_add_func("/definition-refused/too-many", test_too_many);
    return g_test_run();
}
