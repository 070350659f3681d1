// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/command_line.h"

#include "hvcore/definition_private.h"
#include "hvcore/hugepages.h"
#include "hvcore/iscsi_url.h"
#include <inttypes.h>
#include <string.h>

// Slots on the root bus. Fixed: a saved VM's devices must come back at the same addresses. 0, 1 and
// 31 are the chipset's.
enum { SLOT_RNG = 2, SLOT_NICS = 3, SLOT_DISKS = SLOT_NICS + HV_MAX_NICS,
       SLOT_PORTS = SLOT_DISKS + HV_MAX_DISKS };
// QEMU rounds a memory size to this.
enum { TCG_EXTRA_KIB = 8 };
// Sets of descriptors: the file /dev/fdset/SET is what QEMU was given in it, opened anew.
enum { SET_CONSOLE_LOG, SET_DISKS };
G_STATIC_ASSERT((int)SLOT_PORTS < 31);

static void add(GPtrArray *argv, const char *option, const char *value)
{
    g_ptr_array_add(argv, g_strdup(option));
    if (value)
        g_ptr_array_add(argv, g_strdup(value));
}

G_GNUC_PRINTF(3, 4)
static void add_format(GPtrArray *argv, const char *option, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *value = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    add(argv, option, value);
}

// Takes OBJECT.
static void add_json(GPtrArray *argv, const char *option, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);
    add(argv, option, text);
    free(text);
    json_decref(object);
}

static const char *root_bus(const HvDefinition *definition)
{
    return strstr(definition->machine, "i440fx") ? "pci.0" : "pcie.0";
}

static void set_address(json_t *device, const HvDefinition *definition, size_t slot)
{
    g_autofree char *address = g_strdup_printf("0x%zx", slot);
    json_object_set_new(device, "bus", json_string(root_bus(definition)));
    json_object_set_new(device, "addr", json_string(address));
}

// Under TCG QEMU can lose writes of a guest that is saved while it runs: it takes the dirty bitmap of
// a RAM block over 64 pages at a time without telling the CPU's TLB, so that a page that it has just
// cleared may be written unseen (include/exec/ram_addr.h, cpu_physical_memory_sync_dirty_bitmap). A
// block whose length is no multiple of 64 pages is taken over page by page, and the TLB told. QEMU 9.0
// tells it in either case; as a VM has the same memory under each QEMU, its machine type decides.
//
// Huge pages are what the node's check wants KVM for: they have no such block. Their RAM block has the
// name that it has without them. QEMU takes them all from the pool when it starts, or fails then.
static void add_hugepages(GPtrArray *argv, const HvDefinition *definition)
{
    add_json(argv, "-object",
             json_pack("{s:s, s:s, s:b, s:I, s:b, s:I, s:b}", "qom-type", "memory-backend-memfd",
                       "id", HV_HUGEPAGE_BLOCK, "x-use-canonical-path-for-ramblock-id", 0, "size",
                       (json_int_t)(definition->memory_mib << 20), "hugetlb", 1, "hugetlbsize",
                       (json_int_t)HV_HUGEPAGE_MIB << 20, "share", 1));
}

// "pc-q35-7.2", "pc-i440fx-10.0"; what has no version in its name may be of any QEMU.
static bool needs_qemu_9(const char *machine)
{
    const char *version = strrchr(machine, '-');
    return version != NULL && g_ascii_isdigit(version[1]) &&
           g_ascii_strtoull(version + 1, NULL, 10) >= 9;
}

bool hv_command_line_has_extra(const char *accelerator, const HvDefinition *definition)
{
    return strcmp(accelerator, "tcg") == 0 && !definition->hugepages &&
           !needs_qemu_9(definition->machine);
}

static void add_memory(GPtrArray *argv, const HvCommandLineInput *input)
{
    uint64_t kib = input->definition->memory_mib * 1024;
    if (hv_command_line_has_extra(input->node->accelerator, input->definition))
        kib += TCG_EXTRA_KIB;
    add_format(argv, "-m", "size=%" PRIu64 "K", kib);
    if (input->definition->hugepages)
        add_hugepages(argv, input->definition);
}

static void add_machine(GPtrArray *argv, const HvCommandLineInput *input)
{
    const HvDefinition *definition = input->definition;
    add_format(argv, "-name", "guest=%s,process=%s,debug-threads=on", definition->name,
               definition->name);
    add(argv, "-uuid", definition->uuid);
    add_format(argv, "-machine", "type=%s,accel=%s,dump-guest-core=off%s", definition->machine,
               input->node->accelerator,
               definition->hugepages ? ",memory-backend=" HV_HUGEPAGE_BLOCK : "");
    add(argv, "-cpu", definition->cpu);
    add_format(argv, "-smp", "cpus=%" PRIu32, definition->vcpus);
    add_memory(argv, input);
    add(argv, "-nodefaults", NULL);
    add(argv, "-no-user-config", NULL);
    // Of what QEMU may ask the kernel for, it needs none of this once it runs.
    add(argv, "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    add(argv, "-display", "none");
    add(argv, "-rtc", "base=utc");
    add(argv, "-msg", "timestamp=on");
    add(argv, "-S", NULL);
    // The guest's power-off is seen and recorded before QEMU goes.
    add(argv, "-no-shutdown", NULL);
    add(argv, "-action", "reboot=reset");
    if (input->mode == HV_LAUNCH_INCOMING)
        add(argv, "-incoming", "defer");
}

static void add_monitor(GPtrArray *argv, const char *id, int fd)
{
    add_format(argv, "-chardev", "socket,id=%s,fd=%d,server=on,wait=off", id, fd);
    add_format(argv, "-mon", "chardev=%s,mode=control", id);
}

static void add_rescue_monitor(GPtrArray *argv, int fd)
{
    add_format(argv, "-chardev", "socket,id=qmp-rescue,fd=%d", fd);
    add(argv, "-mon", "chardev=qmp-rescue,mode=control");
}

static void add_boot(GPtrArray *argv, const HvDefinition *definition)
{
    add(argv, "-boot", "strict=on");
    if (!g_str_equal(definition->firmware, "bios"))
        add(argv, "-bios", definition->firmware);
    if (definition->kernel)
        add(argv, "-kernel", definition->kernel);
    if (definition->initrd)
        add(argv, "-initrd", definition->initrd);
    if (definition->cmdline)
        add(argv, "-append", definition->cmdline);
}

static json_t *cache_direct(void)
{
    return json_pack("{s:b, s:b}", "direct", 1, "no-flush", 0);
}

static json_t *iscsi_node(const HvDisk *disk)
{
    g_auto(HvIscsiUrl) url = {0};
    const char *reason;
    if (!hv_iscsi_url_parse(disk->path, &url, &reason))
        return json_object(); // the definition was checked: cannot be
    return json_pack("{s:s, s:s, s:s, s:s, s:i}", "driver", "iscsi", "transport", "tcp", "portal",
                     url.portal, "target", url.target, "lun", (int)url.lun);
}

// What the launcher has opened; its name is only in the launcher's words.
static json_t *local_node(const HvDisk *disk, size_t set)
{
    g_autofree char *path = g_strdup_printf("/dev/fdset/%zu", set);
    return json_pack("{s:s, s:s, s:s, s:s}", "driver",
                     disk->type == HV_DISK_BLOCK ? "host_device" : "file", "filename", path,
                     "aio", "native", "locking", disk->type == HV_DISK_BLOCK ? "auto" : "on");
}

static void finish_node(json_t *node, const char *name, const HvDisk *disk)
{
    json_object_set_new(node, "node-name", json_string(name));
    json_object_set_new(node, "read-only", json_boolean(disk->read_only));
    json_object_set_new(node, "discard", json_string("unmap"));
    json_object_set_new(node, "cache", cache_direct());
}

static json_t *storage_node(GPtrArray *argv, const HvDisk *disk, int fd, size_t set)
{
    if (fd < 0)
        return iscsi_node(disk);
    add_format(argv, "-add-fd", "fd=%d,set=%zu", fd, set);
    return local_node(disk, set);
}

static void add_disk(GPtrArray *argv, const HvCommandLineInput *input, size_t index)
{
    const HvDisk *disk = &input->definition->disks[index];
    g_autofree char *storage = g_strdup_printf("storage%zu", index);
    g_autofree char *image = g_strdup_printf("image%zu", index);
    g_autofree char *id = g_strconcat("disk-", disk->id, NULL);
    json_t *node = storage_node(argv, disk, input->disk_fds[index], SET_DISKS + index);
    finish_node(node, storage, disk);
    json_object_set_new(node, "auto-read-only", json_false());
    add_json(argv, "-blockdev", node);
    node = json_pack("{s:s, s:s}", "driver", disk->format, "file", storage);
    finish_node(node, image, disk);
    add_json(argv, "-blockdev", node);
    json_t *device = json_pack("{s:s, s:s, s:s, s:s, s:i}", "driver", "virtio-blk-pci", "id", id,
                               "drive", image, "serial", disk->id, "bootindex", (int)index + 1);
    set_address(device, input->definition, SLOT_DISKS + index);
    add_json(argv, "-device", device);
}

// Without its boot ROM: the ROM's size differs between distributions, and then memory saved on one
// node cannot be loaded on another.
static void add_nic(GPtrArray *argv, const HvCommandLineInput *input, size_t index)
{
    const HvNic *nic = &input->definition->nics[index];
    g_autofree char *netdev = g_strdup_printf("tap%zu", index);
    g_autofree char *id = g_strconcat("nic-", nic->id, NULL);
    add_format(argv, "-netdev", "tap,id=%s,fd=%d", netdev, input->tap_fds[index]);
    json_t *device = json_pack("{s:s, s:s, s:s, s:s, s:s}", "driver", nic->model, "id", id,
                               "netdev", netdev, "mac", nic->mac, "romfile", "");
    set_address(device, input->definition, SLOT_NICS + index);
    add_json(argv, "-device", device);
}

static void add_rng(GPtrArray *argv, const HvDefinition *definition)
{
    add_json(argv, "-object",
             json_pack("{s:s, s:s, s:s}", "qom-type", "rng-random", "id", "random", "filename",
                       "/dev/urandom"));
    json_t *device =
        json_pack("{s:s, s:s, s:s}", "driver", "virtio-rng-pci", "id", "rng", "rng", "random");
    set_address(device, definition, SLOT_RNG);
    add_json(argv, "-device", device);
}

static void add_serial(GPtrArray *argv, const HvCommandLineInput *input)
{
    if (input->console_fd < 0)
        return;
    add_format(argv, "-add-fd", "fd=%d,set=%d", input->console_log_fd, SET_CONSOLE_LOG);
    add_format(argv, "-chardev",
               "socket,id=console,fd=%d,server=on,wait=off,logfile=/dev/fdset/%d,logappend=on",
               input->console_fd, SET_CONSOLE_LOG);
    add(argv, "-serial", "chardev:console");
}

// By that name the guest finds the port: /dev/virtio-ports/org.qemu.guest_agent.0.
static void add_guest_agent(GPtrArray *argv, const HvCommandLineInput *input)
{
    if (input->guest_agent_fd < 0)
        return;
    add_format(argv, "-chardev", "socket,id=guest-agent,fd=%d,server=on,wait=off",
               input->guest_agent_fd);
    json_t *device = json_pack("{s:s, s:s, s:i}", "driver", "virtio-serial-pci", "id", "ports",
                               "max_ports", 2); // port 0 is a console's
    set_address(device, input->definition, SLOT_PORTS);
    add_json(argv, "-device", device);
    add_json(argv, "-device",
             json_pack("{s:s, s:s, s:i, s:s, s:s}", "driver", "virtserialport", "bus",
                       "ports.0", "nr", 1, "chardev", "guest-agent", "name",
                       "org.qemu.guest_agent.0"));
}

GPtrArray *hv_command_line(const HvCommandLineInput *input)
{
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(argv, g_strdup(input->node->qemu_path));
    add_machine(argv, input);
    add_monitor(argv, "qmp", input->qmp_fd);
    add_monitor(argv, "qmp-aux", input->qmp_aux_fd);
    if (input->rescue_fd >= 0)
        add_rescue_monitor(argv, input->rescue_fd);
    add_boot(argv, input->definition);
    add_rng(argv, input->definition);
    for (size_t i = 0; i < input->definition->n_nics; i++)
        add_nic(argv, input, i);
    for (size_t i = 0; i < input->definition->n_disks; i++)
        add_disk(argv, input, i);
    add_serial(argv, input);
    add_guest_agent(argv, input);
    g_ptr_array_add(argv, NULL);
    return argv;
}
