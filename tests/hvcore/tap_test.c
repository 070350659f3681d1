// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: taps on a bridge, alone and under the real QEMU. Needs root (a network namespace).
#include "hvcore/fs.h"
#include "hvcore/tap.h"
#include "tests/hvcore/isolate.h"
#include "tests/hvcore/vm_fixture.h"

#include <linux/if.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool exists(const char *name)
{
    return hv_bridge_look(name) != HV_BRIDGE_MISSING;
}

static void add_bridge(void)
{
    HV_AUTO_FD fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(ioctl(fd, SIOCBRADDBR, "vftest0"), ==, 0);
}

static void test_name(void)
{
    g_autofree char *name = hv_tap_name("3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60", 7);
    g_assert_cmpuint(strlen(name), <, IFNAMSIZ);
    g_assert_true(g_str_has_suffix(name, "-7"));
}

static void test_look(void)
{
    g_assert_cmpint(hv_bridge_look("vftest0"), ==, HV_BRIDGE_OK);
    g_assert_cmpint(hv_bridge_look("lo"), ==, HV_BRIDGE_OTHER);
    g_assert_cmpint(hv_bridge_look("vf-none"), ==, HV_BRIDGE_MISSING);
}

static void test_open(void)
{
    g_autoptr(GError) error = NULL;
    struct ifreq request = {.ifr_name = "vftap"};
    HV_AUTO_FD control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    HV_AUTO_FD tap = hv_tap_open("vftap", "vftest0", "52:54:00:00:00:01", &error);
    g_assert_no_error(error);
    g_assert_cmpint(ioctl(control, SIOCGIFFLAGS, &request), ==, 0);
    g_assert_true(request.ifr_flags & IFF_UP);
    g_assert_cmpint(ioctl(control, SIOCGIFHWADDR, &request), ==, 0);
    g_assert_cmpuint((unsigned char)request.ifr_hwaddr.sa_data[0], ==, 0xfe);
    int second = hv_tap_open("vftap", "vftest0", "52:54:00:00:00:01", &error);
    g_assert_cmpint(second, ==, -1);
    g_assert_error(error, HV_ERROR, HV_ERROR_RESOURCE);
    hv_close_fd(&tap);
    g_assert_false(exists("vftap")); // it goes with its descriptor
}

static void test_no_bridge(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(hv_tap_open("vftap", "vf-none", "52:54:00:00:00:01", &error), ==, -1);
    g_assert_error(error, HV_ERROR, HV_ERROR_RESOURCE);
    g_assert_false(exists("vftap"));
}

static void test_qemu(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(HvDefinition) definition = test_definition(
        NULL, ",\"nics\":[{\"bridge\":\"vftest0\"},{\"bridge\":\"vftest0\",\"model\":\"e1000e\"}]");
    hv_vm_free(f->vm);
    f->vm = hv_vm_new(definition, f->node, f->run_dir, &test_events, &f->events);
    vm_fixture_launch(f);
    g_autofree char *first = hv_tap_name(definition->uuid, 0);
    g_autofree char *second = hv_tap_name(definition->uuid, 1);
    g_assert_true(exists(first) && exists(second));
    g_assert_true(hv_vm_kill(f->vm, NULL));
    g_assert_true(test_wait(&f->events.exited, 30));
    g_assert_false(exists(first) || exists(second));
}

int main(int argc, char **argv)
{
    if (geteuid() != 0 || access("/dev/net/tun", W_OK) < 0)
        return 77; // ctest: skipped
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    add_bridge();
    g_test_add_func("/tap/name", test_name);
    g_test_add_func("/tap/look", test_look);
    g_test_add_func("/tap/open", test_open);
    g_test_add_func("/tap/no-bridge", test_no_bridge);
    g_test_add("/tap/qemu", VmFixture, NULL, vm_fixture_count, test_qemu, vm_fixture_clear);
    return g_test_run();
}
