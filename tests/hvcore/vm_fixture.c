// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/hvcore/vm_fixture.h"

#include "hvcore/node_kvm.h"

enum { KVM_MS = 10000 };

// q35's power-off through ACPI: mov dx, 0x604; mov ax, 0x2000; out dx, ax; hlt; jmp $-1
static const unsigned char power_off_code[] = {0xba, 0x04, 0x06, 0xb8, 0x00,
                                               0x20, 0xef, 0xf4, 0xeb, 0xfd};
// inc dword [0x8000]; jmp $-5
static const unsigned char count_code[] = {0x66, 0xff, 0x06, 0x00, 0x80, 0xeb, 0xf9};
// cld; again: mov ax, 0x1000; segment: mov es, ax; xor di, di; mov cx, 0x8000; rep stosw;
// add ax, 0x1000; cmp ax, 0x8000; jne segment; jmp again
static const unsigned char write_code[] = {0xfc, 0xb8, 0x00, 0x10, 0x8e, 0xc0, 0x31, 0xff,
                                           0xb9, 0x00, 0x80, 0xf3, 0xab, 0x05, 0x00, 0x10,
                                           0x3d, 0x00, 0x80, 0x75, 0xef, 0xeb, 0xea};

static void set_up(VmFixture *f, const unsigned char *code, size_t length)
{
    f->dir = test_dir_new();
    f->run_dir = g_build_filename(f->dir, "run,comma", NULL);
    f->node = test_node();
    g_autofree char *disk = test_boot_disk(f->dir, code, length);
    f->definition = test_definition(disk, "");
    f->vm = hv_vm_new(f->definition, f->node, f->run_dir, &test_events, &f->events);
}

void vm_fixture_power_off(VmFixture *f, gconstpointer data)
{
    (void)data;
    set_up(f, power_off_code, sizeof power_off_code);
}

void vm_fixture_count(VmFixture *f, gconstpointer data)
{
    (void)data;
    set_up(f, count_code, sizeof count_code);
}

void vm_fixture_write(VmFixture *f, gconstpointer data)
{
    (void)data;
    set_up(f, write_code, sizeof write_code);
}

bool vm_fixture_use_kvm(VmFixture *f, char **reason)
{
    const HvLauncher launcher = {f->node->launcher, NULL};
    if (!hv_node_try_guest(&launcher, f->node->qemu_path, "kvm", KVM_MS, reason))
        return false;
    g_free(f->node->accelerator);
    f->node->accelerator = g_strdup("kvm");
    hv_vm_free(f->vm);
    f->vm = hv_vm_new(f->definition, f->node, f->run_dir, &test_events, &f->events);
    return true;
}

void vm_fixture_clear(VmFixture *f, gconstpointer data)
{
    (void)data;
    test_vm_reap(f->vm);
    hv_vm_free(f->vm);
    hv_definition_unref(f->definition);
    hv_node_free(f->node);
    test_events_clear(&f->events);
    g_free(f->run_dir);
    test_dir_free(f->dir);
}

void vm_fixture_launch(VmFixture *f)
{
    g_auto(TestAnswer) answer = {0};
    hv_vm_launch(f->vm, HV_LAUNCH_COLD, 7, test_answer_done, &answer);
    g_assert_false(answer.called);
    test_answer_ok(&answer);
}

void vm_fixture_cont(VmFixture *f)
{
    g_auto(TestAnswer) answer = {0};
    hv_vm_cont(f->vm, test_answer_done, &answer);
    test_answer_ok(&answer);
}
