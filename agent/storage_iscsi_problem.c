// SPDX-License-Identifier: GPL-2.0-or-later
// iscsiadm's exit codes, as open-iscsi's include/iscsi_err.h has them, with their remedies.
#include "agent/storage_iscsi.h"

enum {
    SUCCESS = 0,
    SESSION_NOT_CONNECTED = 32,
    LAST = 33,
};

static const char *const problems[LAST + 1] = {
    [SUCCESS] = "no error",
    [1] = "open-iscsi failed without a reason; see `journalctl -u iscsid`",
    [2] = "there is no such session; see `iscsiadm -m session`",
    [3] = "open-iscsi is out of memory on this node",
    [4] = ("the portal does not answer; is its address right, and the storage network up on "
           "this node (`ping`)?"),
    [5] = ("the target refused the login; is its name right, and may this node's initiator "
           "(/etc/iscsi/initiatorname.iscsi) use it?"),
    [6] = ("open-iscsi cannot use its records; look at /etc/iscsi/nodes (Debian 13: /var/lib/iscsi/nodes) and "
           "the free space there"),
    [7] = ("open-iscsi does not accept what it was given; compare portals and target with the "
           "target's own configuration"),
    [8] = ("the portal does not answer in time; is its address right, and the storage network "
           "up on this node (`ping`)?"),
    [9] = "iscsid or the kernel failed; see `journalctl -u iscsid` and `dmesg`",
    [10] = "the logout failed; see `journalctl -u iscsid`",
    [11] = "the target does not answer in time; is it overloaded?",
    [12] = "the kernel module iscsi_tcp is not loaded: modprobe iscsi_tcp",
    [13] = "iscsid denies it: vmferryd has to run as root",
    [14] = "the iSCSI transport cannot do this; use the interface \"default\" (tcp)",
    [15] = "there is a session already",
    [16] = "iscsid does not understand iscsiadm; are both of one release? Restart iscsid",
    [17] = "iSNS is not supported here; portals have to be named",
    [18] = "iscsid went away; see `journalctl -u iscsid`",
    [19] = ("the target refuses the login for good; is its name right, and may this node's "
            "initiator (/etc/iscsi/initiatorname.iscsi) use it?"),
    [20] = "iscsid does not run: systemctl enable --now iscsid.socket",
    [21] = "open-iscsi has no such record or session; is the target's name right?",
    [22] = "the kernel does not show the session in /sys; see `dmesg`",
    [23] = "open-iscsi finds no such iSCSI host; see `iscsiadm -m host`",
    [24] = ("the target does not accept the CHAP user or secret (or wants one and has none); "
            "compare chap_user and chap_secret_file with the target's"),
    [25] = "the iSNS server does not answer; portals have to be named",
    [26] = "the iSNS server refuses the registration; portals have to be named",
    [27] = "open-iscsi does not support this; is it 2.1 or later?",
    [28] = "it is in use on this node",
    [29] = "open-iscsi is busy; try again",
    [30] = "open-iscsi does not know this kind of discovery",
    [31] = "a process of open-iscsi was ended; see `journalctl -u iscsid`",
    [SESSION_NOT_CONNECTED] = ("the session has lost its connection; is the portal reachable "
                               "(`ping`)?"),
    [LAST] = "iscsid does not answer in time; see `journalctl -u iscsid`",
};

const char *storage_iscsi_problem(int status)
{
    return status >= SUCCESS && status <= LAST
               ? problems[status]
               : "iscsiadm ended with a code that it does not document; see `journalctl -u iscsid`";
}
