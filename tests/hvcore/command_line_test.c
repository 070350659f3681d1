// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's command line, word by word.
#include "hvcore/command_line.h"
#include "hvcore/definition_private.h"
#include "tests/hvcore/support.h"

#include <string.h>

static GPtrArray *words_under(const char *accelerator, const HvDefinition *definition,
                              HvLaunchMode mode)
{
    static const int taps[] = {12, 13};
    const HvNode node = {.qemu_path = (char *)"/usr/bin/qemu",
                         .accelerator = (char *)accelerator};
    bool serial = definition->serial != HV_SERIAL_NONE;
    int disks[HV_MAX_DISKS];
    for (int i = 0; i < (int)definition->n_disks; i++)
        disks[i] = definition->disks[i].type == HV_DISK_ISCSI ? -1 : 20 + i;
    const HvCommandLineInput input = {.definition = definition,
                                      .node = &node,
                                      .mode = mode,
                                      .qmp_fd = 10,
                                      .qmp_aux_fd = 11,
                                      .rescue_fd = mode == HV_LAUNCH_INCOMING ? 14 : -1,
                                      .console_fd = serial ? 15 : -1,
                                      .console_log_fd = serial ? 16 : -1,
                                      .guest_agent_fd = definition->guest_agent ? 17 : -1,
                                      .tap_fds = taps,
                                      .disk_fds = disks};
    return hv_command_line(&input);
}

static GPtrArray *words(const HvDefinition *definition, HvLaunchMode mode)
{
    return words_under("kvm", definition, mode);
}

static void assert_words(GPtrArray *argv, const char *const *expected)
{
    guint i = 0;
    for (; expected[i]; i++)
        g_assert_cmpstr(argv->pdata[i], ==, expected[i]);
    g_assert_null(argv->pdata[i]);
}

static bool has(GPtrArray *argv, const char *word)
{
    return g_strv_contains((const char *const *)argv->pdata, word);
}

// The word after the N-th (from 0) OPTION.
static const char *value_of(GPtrArray *argv, const char *option, unsigned n)
{
    for (guint i = 0; argv->pdata[i]; i++)
        if (strcmp(argv->pdata[i], option) == 0 && n-- == 0)
            return argv->pdata[i + 1];
    return NULL;
}

static void test_minimal(void)
{
    static const char *const expected[] = {
        "/usr/bin/qemu",
        "-name",
        "guest=web1,process=web1,debug-threads=on",
        "-uuid",
        "3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60",
        "-machine",
        "type=pc-q35-7.2,accel=kvm,dump-guest-core=off",
        "-cpu",
        "qemu64",
        "-smp",
        "cpus=1",
        "-m",
        "size=65536K",
        "-nodefaults",
        "-no-user-config",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-display",
        "none",
        "-rtc",
        "base=utc",
        "-msg",
        "timestamp=on",
        "-S",
        "-no-shutdown",
        "-action",
        "reboot=reset",
        "-chardev",
        "socket,id=qmp,fd=10,server=on,wait=off",
        "-mon",
        "chardev=qmp,mode=control",
        "-chardev",
        "socket,id=qmp-aux,fd=11,server=on,wait=off",
        "-mon",
        "chardev=qmp-aux,mode=control",
        "-boot",
        "strict=on",
        "-object",
        "{\"qom-type\":\"rng-random\",\"id\":\"random\",\"filename\":\"/dev/urandom\"}",
        "-device",
        "{\"driver\":\"virtio-rng-pci\",\"id\":\"rng\",\"rng\":\"random\",\"bus\":\"pcie.0\","
        "\"addr\":\"0x2\"}",
        "-add-fd",
        "fd=16,set=0",
        "-chardev",
        "socket,id=console,fd=15,server=on,wait=off,logfile=/dev/fdset/0,logappend=on",
        "-serial",
        "chardev:console",
        NULL};
    g_autoptr(HvDefinition) definition = test_definition(NULL, "");
    g_autoptr(GPtrArray) argv = words(definition, HV_LAUNCH_COLD);
    assert_words(argv, expected);
}

static void test_incoming(void)
{
    g_autoptr(HvDefinition) definition = test_definition("/a", "");
    g_autoptr(GPtrArray) cold = words(definition, HV_LAUNCH_COLD);
    g_autoptr(GPtrArray) incoming = words(definition, HV_LAUNCH_INCOMING);
    g_assert_false(has(cold, "-incoming"));
    g_assert_cmpstr(value_of(incoming, "-incoming", 0), ==, "defer");
    g_assert_true(has(incoming, "-S"));
    g_assert_cmpuint(incoming->len, ==, cold->len + 6);
    g_assert_cmpstr(value_of(incoming, "-chardev", 2), ==, "socket,id=qmp-rescue,fd=14");
    g_assert_cmpstr(value_of(incoming, "-mon", 2), ==, "chardev=qmp-rescue,mode=control");
}

static void test_file_disk(void)
{
    g_autoptr(HvDefinition) definition = test_definition("/shared/a,b \\\"c.img", "");
    g_autoptr(GPtrArray) argv = words(definition, HV_LAUNCH_COLD);
    g_assert_cmpstr(value_of(argv, "-add-fd", 0), ==, "fd=20,set=1");
    g_assert_cmpstr(value_of(argv, "-blockdev", 0), ==,
                    "{\"driver\":\"file\",\"filename\":\"/dev/fdset/1\",\"aio\":\"native\","
                    "\"locking\":\"on\",\"node-name\":\"storage0\",\"read-only\":false,"
                    "\"discard\":\"unmap\",\"cache\":{\"direct\":true,\"no-flush\":false},"
                    "\"auto-read-only\":false}");
    g_assert_cmpstr(value_of(argv, "-blockdev", 1), ==,
                    "{\"driver\":\"raw\",\"file\":\"storage0\",\"node-name\":\"image0\","
                    "\"read-only\":false,\"discard\":\"unmap\",\"cache\":{\"direct\":true,"
                    "\"no-flush\":false}}");
    g_assert_cmpstr(value_of(argv, "-device", 1), ==,
                    "{\"driver\":\"virtio-blk-pci\",\"id\":\"disk-disk0\",\"drive\":\"image0\","
                    "\"serial\":\"disk0\",\"bootindex\":1,\"bus\":\"pcie.0\",\"addr\":\"0xb\"}");
}

static void test_other_disks(void)
{
    g_autoptr(HvDefinition) definition = test_definition(
        NULL, ",\"disks\":[{\"type\":\"block\",\"path\":\"/dev/lun\",\"read_only\":true},"
              "{\"type\":\"iscsi\",\"url\":\"iscsi://[fd00::1]/iqn.x:t/7\",\"format\":\"qcow2\"}]");
    g_autoptr(GPtrArray) argv = words(definition, HV_LAUNCH_COLD);
    const char *block = value_of(argv, "-blockdev", 0), *iscsi = value_of(argv, "-blockdev", 2);
    g_assert_true(g_str_has_prefix(
        block, "{\"driver\":\"host_device\",\"filename\":\"/dev/fdset/1\",\"aio\":\"native\""));
    g_assert_cmpstr(value_of(argv, "-add-fd", 0), ==, "fd=20,set=1");
    g_assert_cmpstr(value_of(argv, "-add-fd", 1), ==, "fd=16,set=0"); // the console's log
    g_assert_nonnull(strstr(block, "\"read-only\":true"));
    g_assert_true(g_str_has_prefix(
        iscsi, "{\"driver\":\"iscsi\",\"transport\":\"tcp\",\"portal\":\"[fd00::1]:3260\","
               "\"target\":\"iqn.x:t\",\"lun\":7,\"node-name\":\"storage1\""));
    g_assert_true(g_str_has_prefix(value_of(argv, "-blockdev", 3), "{\"driver\":\"qcow2\""));
}

static void test_nics(void)
{
    g_autoptr(HvDefinition) definition =
        test_definition(NULL, ",\"nics\":[{\"bridge\":\"br0\",\"mac\":\"52:54:00:00:00:01\"},"
                              "{\"id\":\"dmz\",\"bridge\":\"br1\",\"model\":\"e1000e\"}]");
    g_autoptr(GPtrArray) argv = words(definition, HV_LAUNCH_COLD);
    g_assert_cmpstr(value_of(argv, "-netdev", 0), ==, "tap,id=tap0,fd=12");
    g_assert_cmpstr(value_of(argv, "-netdev", 1), ==, "tap,id=tap1,fd=13");
    g_assert_cmpstr(value_of(argv, "-device", 1), ==,
                    "{\"driver\":\"virtio-net-pci\",\"id\":\"nic-net0\",\"netdev\":\"tap0\","
                    "\"mac\":\"52:54:00:00:00:01\",\"romfile\":\"\",\"bus\":\"pcie.0\","
                    "\"addr\":\"0x3\"}");
    g_assert_nonnull(strstr(value_of(argv, "-device", 2), "\"addr\":\"0x4\""));
}

// A NIC more must not move the disks.
static void test_addresses_stay(void)
{
    g_autoptr(HvDefinition) one = test_definition("/a", "");
    g_autoptr(HvDefinition) two = test_definition("/a", ",\"nics\":[{\"bridge\":\"br0\"}]");
    g_autoptr(GPtrArray) before = words(one, HV_LAUNCH_COLD);
    g_autoptr(GPtrArray) after = words(two, HV_LAUNCH_COLD);
    g_assert_cmpstr(value_of(before, "-device", 1), ==, value_of(after, "-device", 2));
}

// What a VM has without it stays where it was, word for word.
static void test_guest_agent(void)
{
    static const char with_all[] = ",\"nics\":[{\"bridge\":\"br0\"}]%s";
    g_autofree char *without = g_strdup_printf(with_all, "");
    g_autofree char *with = g_strdup_printf(with_all, ",\"guest_agent\":true");
    g_autoptr(HvDefinition) plain = test_definition("/a", without);
    g_autoptr(HvDefinition) agent = test_definition("/a", with);
    g_autoptr(GPtrArray) before = words(plain, HV_LAUNCH_COLD);
    g_autoptr(GPtrArray) after = words(agent, HV_LAUNCH_COLD);
    guint n = before->len - 1; // of its words
    g_assert_cmpuint(after->len, ==, before->len + 6);
    for (guint i = 0; i < n; i++)
        g_assert_cmpstr(after->pdata[i], ==, before->pdata[i]);
    g_assert_cmpstr(after->pdata[n + 1], ==, "socket,id=guest-agent,fd=17,server=on,wait=off");
    g_assert_cmpstr(after->pdata[n + 3], ==,
                    "{\"driver\":\"virtio-serial-pci\",\"id\":\"ports\",\"max_ports\":2,"
                    "\"bus\":\"pcie.0\",\"addr\":\"0x1b\"}");
    g_assert_cmpstr(after->pdata[n + 5], ==,
                    "{\"driver\":\"virtserialport\",\"bus\":\"ports.0\",\"nr\":1,"
                    "\"chardev\":\"guest-agent\",\"name\":\"org.qemu.guest_agent.0\"}");
}

static void test_boot(void)
{
    g_autoptr(HvDefinition) definition = test_definition(
        NULL, ",\"serial\":\"none\",\"vcpus\":4,\"firmware\":\"/fw/OVMF.fd\",\"boot\":{\"kernel\":"
              "\"/k,1\",\"initrd\":\"/i\",\"cmdline\":\"console=ttyS0,115200 ro\"}");
    g_autoptr(GPtrArray) argv = words(definition, HV_LAUNCH_COLD);
    g_assert_cmpstr(value_of(argv, "-kernel", 0), ==, "/k,1");
    g_assert_cmpstr(value_of(argv, "-initrd", 0), ==, "/i");
    g_assert_cmpstr(value_of(argv, "-append", 0), ==, "console=ttyS0,115200 ro");
    g_assert_cmpstr(value_of(argv, "-bios", 0), ==, "/fw/OVMF.fd");
    g_assert_cmpstr(value_of(argv, "-smp", 0), ==, "cpus=4");
    g_assert_false(has(argv, "-serial"));
}

// A multiple of 256 KiB would make QEMU's TCG lose writes during a save.
static void test_memory_under_tcg(void)
{
    g_autoptr(HvDefinition) definition = test_definition("/a", "");
    g_autoptr(GPtrArray) argv = words_under("tcg", definition, HV_LAUNCH_COLD);
    g_assert_cmpstr(value_of(argv, "-m", 0), ==, "size=65544K");
}

static HvDefinition *with_machine(const char *machine)
{
    g_autofree char *base = test_definition_text("/a", "");
    g_auto(GStrv) parts = g_strsplit(base, "pc-q35-7.2", 2);
    g_autofree char *text = g_strjoinv(machine, parts);
    HvDefinition *definition = hv_definition_parse(text, NULL);
    g_assert_nonnull(definition);
    return definition;
}

// QEMU 9.0 does not lose them, and takes the bitmap over 64 pages at a time again.
static void test_memory_under_newer_tcg(void)
{
    static const struct {
        const char *machine, *memory;
    } cases[] = {
        {"pc-q35-8.2", "size=65544K"},         {"pc-q35-9.0", "size=65536K"},
        {"pc-i440fx-10.0", "size=65536K"},     {"pc-q35-rhel9.4.0", "size=65544K"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(HvDefinition) definition = with_machine(cases[i].machine);
        g_autoptr(GPtrArray) argv = words_under("tcg", definition, HV_LAUNCH_COLD);
        g_assert_cmpstr(value_of(argv, "-m", 0), ==, cases[i].memory);
    }
}

static void test_i440fx(void)
{
    g_autoptr(HvDefinition) definition = with_machine("pc-i440fx-7.2");
    g_autoptr(GPtrArray) argv = words(definition, HV_LAUNCH_COLD);
    g_assert_nonnull(strstr(value_of(argv, "-device", 1), "\"bus\":\"pci.0\""));
}

static void test_hugepages(void)
{
    g_autoptr(HvDefinition) definition = test_definition(NULL, ",\"hugepages\":true");
    g_autoptr(GPtrArray) argv = words(definition, HV_LAUNCH_COLD);
    g_assert_cmpstr(value_of(argv, "-m", 0), ==, "size=65536K");
    g_assert_cmpstr(value_of(argv, "-machine", 0), ==,
                    "type=pc-q35-7.2,accel=kvm,dump-guest-core=off,memory-backend=pc.ram");
    g_assert_cmpstr(value_of(argv, "-object", 0), ==,
                    "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\","
                    "\"x-use-canonical-path-for-ramblock-id\":false,\"size\":67108864,"
                    "\"hugetlb\":true,\"hugetlbsize\":2097152,\"share\":true}");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/command-line/minimal", test_minimal);
    g_test_add_func("/command-line/incoming", test_incoming);
    g_test_add_func("/command-line/file-disk", test_file_disk);
    g_test_add_func("/command-line/other-disks", test_other_disks);
    g_test_add_func("/command-line/nics", test_nics);
    g_test_add_func("/command-line/addresses-stay", test_addresses_stay);
    g_test_add_func("/command-line/guest-agent", test_guest_agent);
    g_test_add_func("/command-line/boot", test_boot);
    g_test_add_func("/command-line/memory-under-tcg", test_memory_under_tcg);
    g_test_add_func("/command-line/memory-under-newer-tcg", test_memory_under_newer_tcg);
    g_test_add_func("/command-line/hugepages", test_hugepages);
    g_test_add_func("/command-line/i440fx", test_i440fx);
    return g_test_run();
}
