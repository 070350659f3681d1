// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/tap.h"

#include "hvcore/fs.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct ifreq request_for(const char *interface)
{
    struct ifreq request = {0};
    g_strlcpy(request.ifr_name, interface, sizeof request.ifr_name);
    return request;
}

// Asked by ioctl and not through /sys, which shows the network namespace of who mounted it.
HvBridge hv_bridge_look(const char *name)
{
    HV_AUTO_FD fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = request_for(name);
    if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &request) < 0)
        return HV_BRIDGE_MISSING;
    struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
    request.ifr_data = (void *)&info;
    bool bridge = ioctl(fd, SIOCETHTOOL, &request) == 0 && strcmp(info.driver, "bridge") == 0;
    return bridge ? HV_BRIDGE_OK : HV_BRIDGE_OTHER;
}

char *hv_tap_name(const char *uuid, size_t index)
{
    g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, uuid, -1);
    return g_strdup_printf("vf%.8s-%zu", digest, index);
}

// A bridge takes the lowest address of its ports as its own: a tap's must never be the lowest.
static void set_high_mac(int control, const char *name, const char *guest_mac)
{
    struct ifreq request = request_for(name);
    unsigned char *mac = (unsigned char *)request.ifr_hwaddr.sa_data;
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    for (size_t i = 0; i < 6; i++)
        mac[i] = (unsigned char)(g_ascii_xdigit_value(guest_mac[3 * i]) << 4 |
                                 g_ascii_xdigit_value(guest_mac[3 * i + 1]));
    mac[0] = 0xfe;
    mac[1] = 0xff; // a random address of a veth or bond may begin with fe, too
    (void)ioctl(control, SIOCSIFHWADDR, &request);
}

// The bridge's MTU would otherwise fall to the tap's.
static void copy_mtu(int control, const char *name, const char *bridge)
{
    struct ifreq request = request_for(bridge);
    if (ioctl(control, SIOCGIFMTU, &request) < 0)
        return;
    g_strlcpy(request.ifr_name, name, sizeof request.ifr_name);
    (void)ioctl(control, SIOCSIFMTU, &request);
}

// The host itself must not speak on the tap.
static void disable_ipv6(const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    HV_AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "1", 1) < 0)
        g_debug("%s: %s", path, g_strerror(errno));
}

static bool join_bridge(int control, const char *name, const char *bridge)
{
    struct ifreq request = request_for(name);
    if (ioctl(control, SIOCGIFINDEX, &request) < 0)
        return false;
    int index = request.ifr_ifindex;
    request = request_for(bridge);
    request.ifr_ifindex = index;
    return ioctl(control, SIOCBRADDIF, &request) == 0;
}

static bool bring_up(int control, const char *name)
{
    struct ifreq request = request_for(name);
    if (ioctl(control, SIOCGIFFLAGS, &request) < 0)
        return false;
    request.ifr_flags |= IFF_UP;
    return ioctl(control, SIOCSIFFLAGS, &request) == 0;
}

static int problem(GError **error, const char *what, const char *which)
{
    int saved = errno;
    g_set_error(error, HV_ERROR, HV_ERROR_RESOURCE, "cannot %s %s: %s%s", what, which,
                g_strerror(saved),
                saved == EBUSY ? "; another QEMU on this node holds the VM's tap" : "");
    return -1;
}

int hv_tap_open(const char *name, const char *bridge, const char *guest_mac, GError **error)
{
    HV_AUTO_FD control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    HV_AUTO_FD tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (control < 0 || tap < 0)
        return problem(error, "open", "/dev/net/tun");
    struct ifreq request = request_for(name);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (ioctl(tap, TUNSETIFF, &request) < 0)
        return problem(error, "create the tap", name);
    set_high_mac(control, name, guest_mac);
    copy_mtu(control, name, bridge);
    disable_ipv6(name);
    if (!join_bridge(control, name, bridge))
        return problem(error, "add a tap to the bridge", bridge);
    if (!bring_up(control, name))
        return problem(error, "bring up the tap", name);
    return hv_steal_fd(&tap);
}
