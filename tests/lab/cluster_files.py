# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration files of a node: corosync, the first CIB, vmferryd, hosts."""
from layout import API_PORT, LAN_ADDRESS, node_address

QEMU_USER = ("vmferry-qemu", 47791)

# After a message the token goes round, at real-time priority, until so many turns had nothing to send (30
# without this): on computers of their own in idle time, but here all nodes share few cores with the guests.
QUIET_TURNS = 4

TOTEM = """\
totem {{
    version: 2
    cluster_name: {cluster}
    transport: knet
    crypto_cipher: aes256
    crypto_hash: sha256
    token: {token_ms}
    seqno_unchanged_const: {quiet_turns}
}}
logging {{
    to_logfile: yes
    logfile: /var/log/corosync/corosync.log
    to_syslog: no
    to_stderr: no
    timestamp: hires
}}
quorum {{
    provider: corosync_votequorum
{quorum}}}
"""

MEMBER = """\
    node {{
        ring0_addr: {address}
        name: {name}
        nodeid: {id}
    }}
"""

PROPERTIES = {
    "stonith-enabled": "true",
    "stonith-timeout": "20s",
    "dc-deadtime": "3s",
    "no-quorum-policy": "stop",
    "have-watchdog": "false",
    # One computer carries all nodes, so its load says nothing about one of them.
    "load-threshold": "1000%",
}

CIB = """\
<cib validate-with="pacemaker-3.9" epoch="1" num_updates="0" admin_epoch="0">
  <configuration>
    <crm_config>
      <cluster_property_set id="cib-bootstrap-options">
{properties}
      </cluster_property_set>
    </crm_config>
    <nodes/>
    <resources>
      <primitive id="power" class="stonith" type="fence_vmferry_lab">
        <instance_attributes id="power-instance_attributes">
          <nvpair id="power-socket" name="socket" value="{socket}"/>
          <nvpair id="power-hosts" name="pcmk_host_list" value="{hosts}"/>
          <nvpair id="power-check" name="pcmk_host_check" value="static-list"/>
        </instance_attributes>
        <operations>
          <op id="power-monitor" name="monitor" interval="60s" timeout="20s"/>
        </operations>
      </primitive>
    </resources>
    <constraints/>
    <rsc_defaults>
      <meta_attributes id="rsc-options">
        <nvpair id="rsc-options-stickiness" name="resource-stickiness" value="100"/>
      </meta_attributes>
    </rsc_defaults>
  </configuration>
  <status/>
</cib>
"""

AGENT = """\
[agent]
listen=127.0.0.1:{port};{address}:{port}
token_file=/etc/vmferry/token
run_dir=/run/vmferry
libexec_dir={build}/migrate
"""


def corosync_conf(cluster, addresses, token_ms):
    """addresses: of the nodes, by their names."""
    quorum = "    two_node: 1\n" if len(addresses) == 2 else ""
    members = "".join(MEMBER.format(address=address, name=name, id=name[1:])
                      for name, address in addresses.items())
    totem = TOTEM.format(cluster=cluster, quorum=quorum, token_ms=token_ms, quiet_turns=QUIET_TURNS)
    return f"{totem}nodelist {{\n{members}}}\n"


def first_cib(power_socket, nodes):
    properties = "\n".join(
        f'        <nvpair id="cib-bootstrap-options-{name}" name="{name}" value="{value}"/>'
        for name, value in PROPERTIES.items())
    return CIB.format(properties=properties, socket=power_socket, hosts=" ".join(nodes))


def agent_conf(node, build):
    return AGENT.format(port=API_PORT, address=node_address(node), build=build)


def users(passwd, group):
    """The node's /etc/passwd and /etc/group: this computer's, and who QEMU runs as."""
    name, ids = QEMU_USER
    lines = [f"{line}{',' if line[-1] != ':' else ''}{name}" if line.startswith("kvm:") else line
             for line in group.splitlines()]
    return (f"{passwd}{name}:x:{ids}:{ids}::/:/usr/sbin/nologin\n",
            "\n".join(lines) + f"\n{name}:x:{ids}:\n")


def hosts(nodes):
    lines = ["127.0.0.1 localhost", f"{LAN_ADDRESS} lan"]
    lines += [f"{node_address(name)} {name}" for name in nodes]
    return "\n".join(lines) + "\n"
