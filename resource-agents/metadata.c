// SPDX-License-Identifier: GPL-2.0-or-later
#include "resource-agents/metadata.h"

#include <glib.h>
#include <string.h>

// Timeouts and intervals are those that vmferryd registers a VM with (agent/cib_xml.c). The DTD that
// resource-agents installs is OCF 1.0's; the internal subset, which is read first, adds what 1.1
// brought.
static const char xml[] =
    "<?xml version=\"1.0\"?>\n"
    "<!DOCTYPE resource-agent SYSTEM \"ra-api-1.dtd\" [\n"
    "<!ATTLIST parameter reloadable (1|0) \"0\">\n"
    "<!ATTLIST action name (start|stop|monitor|migrate_to|migrate_from|reload-agent|validate-all|"
    "meta-data) #REQUIRED>\n"
    "]>\n"
    "<resource-agent name=\"VirtualMachine\" version=\"" VMFERRY_VERSION "\">\n"
    "<version>1.1</version>\n"
    "<longdesc lang=\"en\">\n"
    "A KVM virtual machine that vmferryd runs: it is moved to another node with its memory, saved\n"
    "and restored over shared storage, and started again after a failure. `vmferry define` makes\n"
    "the resource; vmferryd has to run on every node of the cluster.\n"
    "</longdesc>\n"
    "<shortdesc lang=\"en\">Virtual machine moved by vmferry</shortdesc>\n"
    "<parameters>\n"
    "<parameter name=\"definition\" unique=\"0\" required=\"1\" reloadable=\"1\">\n"
    "<longdesc lang=\"en\">\n"
    "The VM's definition as JSON text (schema: vm-definition.schema.json). Its name has to be the\n"
    "resource's.\n"
    "A change is taken over at once; what a running guest cannot take waits for its next start.\n"
    "</longdesc>\n"
    "<shortdesc lang=\"en\">VM definition (JSON)</shortdesc>\n"
    "<content type=\"string\"/>\n"
    "</parameter>\n"
    "<parameter name=\"run_dir\" unique=\"0\" required=\"0\" reloadable=\"0\">\n"
    "<longdesc lang=\"en\">\n"
    "vmferryd's run_dir (vmferryd.conf), where its socket and the VMs' process files are.\n"
    "</longdesc>\n"
    "<shortdesc lang=\"en\">vmferryd's run directory</shortdesc>\n"
    "<content type=\"string\" default=\"/run/vmferry\"/>\n"
    "</parameter>\n"
    "</parameters>\n"
    "<actions>\n"
    "<action name=\"start\" timeout=\"300s\"/>\n"
    "<action name=\"stop\" timeout=\"300s\"/>\n"
    "<action name=\"monitor\" timeout=\"20s\" interval=\"10s\" depth=\"0\"/>\n"
    "<action name=\"migrate_to\" timeout=\"600s\"/>\n"
    "<action name=\"migrate_from\" timeout=\"60s\"/>\n"
    "<action name=\"reload-agent\" timeout=\"20s\"/>\n"
    "<action name=\"validate-all\" timeout=\"20s\"/>\n"
    "<action name=\"meta-data\" timeout=\"5s\"/>\n"
    "</actions>\n"
    "</resource-agent>\n";

const char *metadata_xml(void)
{
    return xml;
}

unsigned metadata_timeout_ms(const char *action)
{
    g_autofree char *begin = g_strdup_printf("<action name=\"%s\" timeout=\"", action);
    const char *found = strstr(xml, begin);
    return found != NULL ? (unsigned)g_ascii_strtoull(found + strlen(begin), NULL, 10) * 1000 : 0;
}
