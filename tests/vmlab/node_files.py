# SPDX-License-Identifier: GPL-2.0-or-later
"""What makes a node itself: the files that it unpacks from its second disk at its first boot."""
import io
import tarfile

from places import API_PORT, CHAP_FILE, LAB, NETWORKS, REPOSITORY, address, mac

from cluster_files import corosync_conf  # of tests/lab

TOKEN_MS = 5000  # nodes without KVM are slow

AGENT = """\
[agent]
listen=127.0.0.1:{port};{address}:{port}
accelerator=kvm
"""

# A path that is lost is given up after 15 s: docs/FENCING.md, T5.
ISCSID = """\
iscsid.startup = /bin/systemctl start iscsid.socket
node.startup = manual
node.leading_login = No
node.session.timeo.replacement_timeout = 5
node.conn[0].timeo.login_timeout = 15
node.conn[0].timeo.noop_out_interval = 5
node.conn[0].timeo.noop_out_timeout = 5
node.session.initial_login_retry_max = 4
node.session.scan = auto
"""

CHRONY = """\
server {server} iburst minpoll 2 maxpoll 4
makestep 0.05 -1
driftfile /var/lib/chrony/drift
rtcsync
"""

SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
"""


def of_node(lab_name, names, name, secrets):
    """{path: (content, mode)}; secrets are the lab's: authkey, token, chap, host_key, client_key (public)."""
    files = {
        "etc/hostname": f"{name}\n",
        "etc/hosts": hosts(names),
        "etc/corosync/corosync.conf": corosync_conf(
            f"vmlab-{lab_name}", {each: address("lan", each) for each in names}, TOKEN_MS),
        "etc/corosync/authkey": (secrets["authkey"], 0o600),
        "etc/vmferry/vmferryd.conf": AGENT.format(port=API_PORT, address=address("lan", name)),
        "etc/vmferry/token": (secrets["token"], 0o600),
        "etc/iscsi/initiatorname.iscsi": (f"InitiatorName=iqn.2026-01.lab.vmferry:{name}\n", 0o600),
        "etc/iscsi/iscsid.conf": (ISCSID, 0o600),
        CHAP_FILE.lstrip("/"): (secrets["chap"], 0o600),
        "etc/multipath.conf": (REPOSITORY / "config/pacemaker/multipath.conf").read_bytes(),
        "etc/chrony/chrony.conf": CHRONY.format(server=address("mgmt")),
        "etc/ssh/sshd_config": SSHD,
        "etc/ssh/ssh_host_ed25519_key": (secrets["host_key"], 0o600),
        "root/.ssh/authorized_keys": (secrets["client_key"], 0o600),
        "usr/sbin/fence_vmferry_lab": ((LAB / "fence_vmferry_lab").read_bytes(), 0o755),
    }
    for path in secrets["guest"].iterdir():
        files[f"srv/guest/{path.name}"] = path.read_bytes()
    files |= {f"etc/systemd/network/{path}": text for path, text in network(name).items()}
    return {path: each if isinstance(each, tuple) else (each, 0o644) for path, each in files.items()}


def network(name):
    """The guests' bridge takes the LAN's port; its own address does not depend on a guest's tap."""
    files = {
        "10-br0.netdev": f"[NetDev]\nName=br0\nKind=bridge\nMACAddress={mac('lan', name)}\n"
                         "[Bridge]\nSTP=no\nForwardDelaySec=0\n",
        "20-br0.network": f"[Match]\nName=br0\n[Network]\nAddress={address('lan', name)}/24\n",
        "10-lan.link": _link("lan", name),
        "20-lan.network": "[Match]\nName=lan\n[Network]\nBridge=br0\n",
    }
    for each in NETWORKS:
        if each != "lan":
            files[f"10-{each}.link"] = _link(each, name)
            files[f"20-{each}.network"] = (f"[Match]\nName={each}\n[Network]\n"
                                           f"Address={address(each, name)}/24\n")
    return files


def _link(network_name, name):
    return (f"[Match]\nMACAddress={mac(network_name, name)}\nDriver=virtio_net\n"
            f"[Link]\nName={network_name}\n")


def hosts(names):
    lines = ["127.0.0.1 localhost", f"{address('lan')} lab"]
    return "\n".join(lines + [f"{address('lan', name)} {name}" for name in names]) + "\n"


def pack(files, path):
    """A tar archive, filled up to whole sectors: it becomes a disk."""
    with tarfile.open(path, "w") as archive:
        for name, (content, mode) in sorted(files.items()):
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
