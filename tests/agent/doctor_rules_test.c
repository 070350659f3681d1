// SPDX-License-Identifier: GPL-2.0-or-later
// Each rule of agent/doctor.def: a sound cluster has no finding, and one broken fact has that
// rule's, on its level, and no other's.
#include "agent/doctor_facts.h"

#define OPS                                                                                        \
    "[{'name':'start','interval':'0','timeout':'300s'},"                                           \
    "{'name':'stop','interval':'0','timeout':'300s'},"                                             \
    "{'name':'monitor','interval':'10s','timeout':'20s'},"                                         \
    "{'name':'migrate_to','interval':'0','timeout':'600s'},"                                       \
    "{'name':'migrate_from','interval':'0','timeout':'60s'}]"
#define FILES(device)                                                                              \
    "[{'role':'disk0','path':'/d','shared':true,'class':'block','fs':'b','device':" device         \
    ",'wwid':'3600a'},{'role':'disk1','path':'/m/d','shared':true,'class':'network','fs':'nfs',"   \
    "'device':" device ",'inode':7,'blocks':9},{'role':'state area','path':'/m/a','shared':true,"  \
    "'class':'network','fs':'nfs','device':" device ",'inode':8,'blocks':9}]"
#define NODE(name, device)                                                                         \
    "'" name "':{'clock':{'offset_ms':3.0,'margin_ms':5.0},"                                       \
    "'host':{'vmferry_version':'1','qemu_version':'7.2','accelerator':'kvm',"                      \
    "'accelerator_reason':'r','userfaultfd':true,'memory_mib':4096,'booted_us':" device            \
    "00000,'cpu_flags':'a b','machines':'pc pc-q35-7.2'},"                                         \
    "'corosync':{'crypto_cipher':'aes256','crypto_hash':'sha256','secauth':null,'qdevice':null,"   \
    "'token_ms':3000,'consensus_ms':3600,'nodes':3,'links':2,'two_node':false},"                   \
    "'fencing':{'reached':{'n1':['power'],'n2':['power']}},'crm_verify':{'output':''},"            \
    "'iscsi':{'sessions':[{'target':'t','state':'LOGGED_IN','recovery_tmo':20}]},"                 \
    "'multipath':{'maps':[{'name':'m','queueing':'off','paths':2,'down':0}],"                      \
    "'reservation_key':true},"                                                                     \
    "'sbd':{'running':true,'device':null,'watchdog_device':'/dev/watchdog','watchdog':true,"       \
    "'watchdog_identity':'iTCO_wdt','watchdog_timeout_s':5},"                                      \
    "'vm web':{'files':" FILES(device) ",'record':'running'}}"

static const char clean[] =
    "{'cib':{'properties':{'stonith-timeout':'60s'},'op_defaults':{},'rsc_defaults':{},"
    "'nodes':['n1','n2'],'fencing':[{'id':'power','agent':'fence_ipmilan','params':{},"
    "'meta':{'provides':'unfencing'}}],'topology':[]},"
    "'vms':[{'name':'web','meta':{'allow-migrate':'true'},'ops':" OPS ",'definition':"
    "{'machine':'pc-q35-7.2','cpu':'host','memory_mib':2048}}],"
    "'nodes':{" NODE("n1", "1") "," NODE("n2", "2") "}}";

// One step from the clean facts: PATH (keys and indices, '/' between) becomes VALUE; NULL removes
// it.
typedef struct {
    const char *path, *value;
} Change;

typedef struct {
    const char *id, *level; // of the finding that follows; NULL: none
    Change changes[4];
    guint count; // of findings; 0: one
} Case;

static const Case cases[] = {
    {"not-looked-at", "unknown", {{"nodes/n2", "{'problem':'it is not there'}"}}, 0},
    {"not-looked-at", "unknown", {{"nodes/n2/iscsi", NULL}}, 0},
    {"not-looked-at", "unknown", {{"nodes/n2/vm web", NULL}}, 0},
    {"not-looked-at", "unknown", {{"nodes/n2/crm_verify", "{'problem':'exit code 1'}"}}, 0},
    {"not-looked-at", "unknown", {{"cib", "null"}, {"vms", "[]"}}, 0},
    {"stonith-disabled", "danger", {{"cib/properties/stonith-enabled", "'false'"}}, 0},
    {"stonith-disabled", "danger", {{"cib/properties/stonith-enabled", "'0'"}}, 0},
    {NULL, NULL, {{"cib/properties/stonith-enabled", "'yes'"}}, 0},
    {"no-fence-device", "danger", {{"cib/fencing", "[]"}}, 0},
    {NULL, NULL, {{"cib/fencing", "[]"}, {"cib/properties/stonith-watchdog-timeout", "'10s'"}}, 0},
    {"node-not-fenced",
     "danger",
     {{"nodes/n1/fencing/reached/n2", "[]"}, {"nodes/n2/fencing/reached/n2", "[]"}},
     0},
    {"node-not-fenced",
     "unknown",
     {{"nodes/n1/fencing/reached/n2", "null"}, {"nodes/n2/fencing/reached/n2", "null"}},
     0},
    {NULL, NULL, {{"nodes/n1/fencing/reached/n2", "[]"}}, 0}, // n2 has the device
    {"topology-unknown-device",
     "danger",
     {{"cib/topology", "[{'target':'n1','index':2,'devices':['power','scsi']}]"}},
     0},
    {NULL,
     NULL,
     {{"cib/topology", "[{'target':'n1','index':1,'devices':['power','watchdog']}]"}},
     0},
    {"no-unfencing",
     "danger",
     {{"cib/fencing/0/agent", "'fence_scsi'"}, {"cib/fencing/0/meta", "{}"}},
     0},
    {NULL, NULL, {{"cib/fencing/0/agent", "'fence_scsi'"}}, 0},
    {"watchdog-without-sbd",
     "danger",
     {{"cib/properties/stonith-watchdog-timeout", "'10s'"}, {"nodes/n2/sbd/running", "false"}},
     0},
    {"watchdog-two-nodes",
     "danger",
     {{"cib/properties/stonith-watchdog-timeout", "'10s'"},
      {"cib/fencing", "[]"},
      {"nodes/n1/corosync/nodes", "2"},
      {"nodes/n1/corosync/two_node", "true"}},
     2}, // and no delay
    {"no-quorum-policy", "danger", {{"cib/properties/no-quorum-policy", "'ignore'"}}, 0},
    {NULL, NULL, {{"cib/properties/no-quorum-policy", "'freeze'"}}, 0},
    {"maintenance", "warning", {{"cib/properties/maintenance-mode", "'true'"}}, 0},
    {"two-nodes-no-delay",
     "warning",
     {{"nodes/n1/corosync/nodes", "2"}, {"nodes/n1/corosync/two_node", "true"}},
     0},
    {NULL,
     NULL,
     {{"nodes/n1/corosync/nodes", "2"},
      {"nodes/n1/corosync/two_node", "true"},
      {"cib/properties/priority-fencing-delay", "'15s'"}},
     0},
    {NULL,
     NULL,
     {{"nodes/n1/corosync/nodes", "2"},
      {"nodes/n1/corosync/two_node", "true"},
      {"cib/fencing/0/params/pcmk_delay_base", "'n1:5s;n2:0s'"}},
     0},
    {"two-nodes-no-quorum", "warning", {{"nodes/n1/corosync/nodes", "2"}}, 0},
    {NULL, NULL, {{"nodes/n1/corosync/nodes", "2"}, {"nodes/n1/corosync/qdevice", "'net'"}}, 0},
    {"cib-invalid", "warning", {{"nodes/n1/crm_verify/output", "'error: bad'"}}, 0},
    {"corosync-not-encrypted", "warning", {{"nodes/n2/corosync/crypto_cipher", "null"}}, 0},
    {"corosync-not-encrypted", "warning", {{"nodes/n2/corosync/crypto_hash", "'none'"}}, 0},
    {NULL,
     NULL,
     {{"nodes/n2/corosync/crypto_hash", "null"}, {"nodes/n2/corosync/secauth", "'on'"}},
     0},
    {"corosync-one-link", "note", {{"nodes/n2/corosync/links", "1"}}, 0},
    {"token-too-long",
     "warning",
     {{"nodes/n1/corosync/token_ms", "14000"}, {"nodes/n1/corosync/consensus_ms", "16800"}},
     0},
    {"token-too-short", "warning", {{"nodes/n1/corosync/token_ms", "900"}}, 0},
    {"token-too-short", "unknown", {{"nodes/n1/corosync/token_ms", "0"}}, 0},
    {"clock-apart", "warning", {{"nodes/n2/clock/offset_ms", "-1006.0"}}, 0},
    {NULL, NULL, {{"nodes/n2/clock/offset_ms", "1004.0"}}, 0},
    {"clock-apart", "unknown", {{"nodes/n2/clock", NULL}}, 0},
    {"clock-apart", "unknown", {{"nodes/n2/clock/margin_ms", "1500.0"}}, 0},
    {"vmferry-differs", "warning", {{"nodes/n2/host/vmferry_version", "'2'"}}, 0},
    {"qemu-differs", "warning", {{"nodes/n2/host/qemu_version", "'10.0'"}}, 0},
    {"accelerator-differs", "warning", {{"nodes/n2/host/accelerator", "'tcg'"}}, 0},
    {"no-kvm",
     "note",
     {{"nodes/n1/host/accelerator", "'tcg'"}, {"nodes/n2/host/accelerator", "'tcg'"}},
     0},
    {"cpu-differs", "warning", {{"nodes/n2/host/cpu_flags", "'a'"}}, 0},
    {"cpu-differs", "warning", {{"nodes/n2/host/cpu_flags", "'a b c'"}}, 0},
    {NULL, NULL, {{"nodes/n2/host/cpu_flags", "'a'"}, {"vms/0/definition/cpu", "'Nehalem'"}}, 0},
    {"machine-missing", "danger", {{"nodes/n2/host/machines", "'pc pc-q35-7.2.1'"}}, 0},
    {"no-userfaultfd", "warning", {{"nodes/n2/host/userfaultfd", "false"}}, 0},
    {"memory-n-1", "warning", {{"vms/0/definition/memory_mib", "4097"}}, 0},
    {NULL,
     NULL,
     {{"vms/0/definition/memory_mib", "4097"}, {"vms/0/meta/target-role", "'Stopped'"}},
     0},
    {"vm-definition",
     "danger",
     {{"vms/0/definition", "null"}, {"vms/0/problem", "'colour: not known'"}},
     0},
    {"vm-timeout-short", "warning", {{"vms/0/ops/1/timeout", "'299s'"}}, 0},
    {"vm-timeout-short", "warning", {{"vms/0/ops/3/timeout", "null"}}, 0}, // 20 s
    {NULL, NULL, {{"vms/0/ops/3/timeout", "null"}, {"cib/op_defaults/timeout", "'10min'"}}, 0},
    {"vm-no-monitor", "warning", {{"vms/0/ops/2/interval", "'0'"}}, 0},
    {"vm-no-migrate", "warning", {{"vms/0/meta/allow-migrate", "'false'"}}, 0},
    {"vm-no-migrate", "warning", {{"vms/0/meta", "{}"}}, 0},
    {NULL, NULL, {{"vms/0/meta", "{}"}, {"cib/rsc_defaults/allow-migrate", "'true'"}}, 0},
    {NULL,
     NULL,
     {{"vms/0/definition/storage", "[{'name':'fs','type':'filesystem'}]"},
      {"vms/0/meta/allow-migrate", "'false'"}},
     0},
    {"vm-migrates-mounted",
     "warning",
     {{"vms/0/definition/storage", "[{'name':'fs','type':'filesystem'}]"}},
     0},
    {"vm-stop-failure-ignored", "danger", {{"vms/0/ops/1/on-fail", "'ignore'"}}, 0},
    {"vm-unmanaged", "warning", {{"vms/0/meta/is-managed", "'false'"}}, 0},
    {"not-shared", "danger", {{"nodes/n2/vm web/files/0/wwid", "'3600b'"}}, 0},
    {"not-shared", "unknown", {{"nodes/n2/vm web/files/0/wwid", NULL}}, 0},
    {"not-shared", "danger", {{"nodes/n2/vm web/files/1/inode", "17"}}, 0},
    {"not-shared", "danger", {{"nodes/n2/vm web/files/2/class", "'local'"}}, 0},
    {"not-shared",
     "danger",
     {{"nodes/n1/vm web/files/1/class", "'local'"}, {"nodes/n2/vm web/files/1/class", "'local'"}},
     0},
    {NULL,
     NULL, // two nodes in one machine: the lab's
     {{"nodes/n1/vm web/files/1/class", "'local'"},
      {"nodes/n2/vm web/files/1/class", "'local'"},
      {"nodes/n2/host/booted_us", "109999"},
      {"nodes/n2/vm web/files/1/device", "1"}},
     0},
    {NULL,
     NULL,
     {{"nodes/n2/vm web/files/1/inode", "17"}, {"nodes/n2/vm web/files/1/shared", "false"}},
     0},
    {"in-memory", "danger", {{"nodes/n2/vm web/files/2/class", "'memory'"}}, 0},
    {"vm-cannot-run", "warning", {{"nodes/n2/vm web/cannot_run", "'no bridge br0'"}}, 0},
    {"storage-failed",
     "warning",
     {{"nodes/n2/vm web/storage", "[{'name':'data','state':'failed','problem':'another LUN'}]"}},
     0},
    {"storage-degraded",
     "warning",
     {{"nodes/n2/vm web/storage", "[{'name':'data','state':'degraded','problem':'1 of 2'},"
                                  "{'name':'fs','state':'absent','problem':null}]"}},
     0},
    {"disk-cache", "danger", {{"nodes/n2/vm web/unsafe_cache", "'cache=unsafe'"}}, 0},
    {"area-bad", "danger", {{"nodes/n2/vm web/area_problem", "'too small'"}}, 0},
    {"area-on-disk",
     "danger",
     {{"nodes/n1/vm web/files/1/inode", "8"}, {"nodes/n2/vm web/files/1/inode", "8"}},
     2},
    {"area-quarantined", "warning", {{"nodes/n1/vm web/record", "'quarantined'"}}, 0},
    {"iscsi-timeout", "warning", {{"nodes/n1/iscsi/sessions/0/recovery_tmo", "161"}}, 2},
    {"iscsi-timeout", "warning", {{"nodes/n1/iscsi/sessions/0/recovery_tmo", "-1"}}, 2},
    {"iscsi-slow-failover", "warning", {{"nodes/n1/iscsi/sessions/0/recovery_tmo", "120"}}, 0},
    {NULL,
     NULL,
     {{"nodes/n1/iscsi/sessions/0/recovery_tmo", "120"}, {"nodes/n1/multipath/maps", "[]"}},
     0},
    {"iscsi-session-down", "warning", {{"nodes/n1/iscsi/sessions/0/state", "'FAILED'"}}, 0},
    {"multipath-queue", "warning", {{"nodes/n1/multipath/maps/0/queueing", "'on'"}}, 0},
    {"multipath-path-down", "warning", {{"nodes/n1/multipath/maps/0/down", "1"}}, 0},
    {"multipath-no-key",
     "danger",
     {{"cib/fencing/0/agent", "'fence_mpath'"}, {"nodes/n1/multipath/reservation_key", "false"}},
     0},
    {NULL, NULL, {{"nodes/n1/multipath/reservation_key", "false"}}, 0},
    {"sbd-no-watchdog", "danger", {{"nodes/n1/sbd/watchdog", "false"}}, 0},
    {"sbd-softdog", "warning", {{"nodes/n1/sbd/watchdog_identity", "'Software Watchdog'"}}, 0},
    {"sbd-timeouts",
     "danger",
     {{"cib/properties/stonith-watchdog-timeout", "'9s'"},
      {"nodes/n2/sbd/watchdog_timeout_s", "4"}},
     0},
    {"sbd-timeouts",
     "danger",
     {{"nodes/n1/sbd/device", "'/dev/l'"},
      {"nodes/n1/sbd/lun_watchdog_s", "20"},
      {"nodes/n1/sbd/lun_msgwait_s", "39"}},
     0},
    {"sbd-timeouts",
     "danger",
     {{"nodes/n1/sbd/device", "'/dev/l'"},
      {"nodes/n1/sbd/lun_watchdog_s", "20"},
      {"nodes/n1/sbd/lun_msgwait_s", "50"}},
     0},
    {NULL,
     NULL,
     {{"nodes/n1/sbd/device", "'/dev/l'"},
      {"nodes/n1/sbd/lun_watchdog_s", "20"},
      {"nodes/n1/sbd/lun_msgwait_s", "40"}},
     0},
    {"sbd-timeouts", "unknown", {{"nodes/n1/sbd/device", "'/dev/l'"}}, 0},
};

static json_t *parse(const char *text)
{
    g_autofree char *quoted = g_strdelimit(g_strdup(text), "'", '"');
    json_error_t why;
    json_t *json = json_loads(quoted, JSON_DECODE_ANY, &why);
    if (json == NULL)
        g_error("%s: %s", why.text, quoted);
    return json;
}

static json_t *step(json_t *json, const char *key)
{
    return json_is_array(json) ? json_array_get(json, (size_t)g_ascii_strtoull(key, NULL, 10))
                               : json_object_get(json, key);
}

static void change(json_t *facts, const Change *what)
{
    g_auto(GStrv) keys = g_strsplit(what->path, "/", -1);
    guint last = g_strv_length(keys) - 1;
    json_t *at = facts;
    for (guint i = 0; i < last; i++)
        at = step(at, keys[i]);
    g_assert_true(json_is_object(at)); // or the path leads nowhere
    if (what->value == NULL)
        g_assert_cmpint(json_object_del(at, keys[last]), ==, 0);
    else
        json_object_set_new(at, keys[last], parse(what->value));
}

static void check(const Case *test, json_t *report)
{
    json_t *findings = json_object_get(report, "findings");
    g_autofree char *all = json_dumps(findings, 0);
    g_test_message("%s: %s", test->changes[0].path, all);
    g_assert_cmpuint(json_array_size(findings), ==, test->id == NULL ? 0 : MAX(test->count, 1));
    g_assert_cmpstr(doctor_text(report, "verdict"), ==, test->id != NULL ? test->level : "clean");
    if (test->id == NULL)
        return;
    json_t *finding = json_array_get(findings, 0);
    g_assert_cmpstr(doctor_text(finding, "id"), ==, test->id);
    g_assert_cmpstr(doctor_text(finding, "level"), ==, test->level);
    g_assert_cmpuint(strlen(doctor_text(finding, "seen")), >, 0);
    g_assert_null(strstr(doctor_text(finding, "seen"), "(null)"));
}

static void test_case(gconstpointer data)
{
    const Case *test = data;
    json_t *facts = parse(clean);
    for (size_t i = 0; i < G_N_ELEMENTS(test->changes) && test->changes[i].path != NULL; i++)
        change(facts, &test->changes[i]);
    json_t *report = doctor_judge(facts);
    check(test, report);
    json_decref(report);
    json_decref(facts);
}

static void test_clean(void)
{
    json_t *facts = parse(clean);
    json_t *report = doctor_judge(facts);
    g_assert_cmpstr(doctor_text(report, "verdict"), ==, "clean");
    g_assert_cmpuint(json_array_size(json_object_get(report, "findings")), ==, 0);
    json_decref(report);
    json_decref(facts);
}

// No rule is without a case that it finds.
static void test_every_rule(void)
{
    static const char *const ids[] = {
#define DOCTOR_RULE(id, level, function, title, why, remedy) id,
#include "agent/doctor.def"
#undef DOCTOR_RULE
    };
    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++) {
        bool found = false;
        for (size_t j = 0; j < G_N_ELEMENTS(cases); j++)
            found |= g_strcmp0(cases[j].id, ids[i]) == 0;
        if (!found)
            g_error("no case for %s", ids[i]);
    }
}

// Facts of a later or earlier release, or none at all, end no agent.
static void test_strange_facts(void)
{
    static const char *const strange[] = {
        "{}", "{'nodes':{'n1':3,'n2':{'host':[],'corosync':7,'fencing':{'reached':[1]}}}}",
        "{'cib':{'fencing':[{}],'nodes':[3]},'vms':[{},7],'nodes':{'n1':{'vm ':{'files':[3]}}}}"};
    for (size_t i = 0; i < G_N_ELEMENTS(strange); i++) {
        json_t *facts = parse(strange[i]);
        json_t *report = doctor_judge(facts);
        g_assert_cmpstr(doctor_text(report, "verdict"), !=, "clean");
        json_decref(report);
        json_decref(facts);
    }
}

static void test_times(void)
{
    g_assert_cmpint(doctor_ms("60s", -1), ==, 60000);
    g_assert_cmpint(doctor_ms("60", -1), ==, 60000);
    g_assert_cmpint(doctor_ms("2min", -1), ==, 120000);
    g_assert_cmpint(doctor_ms("500ms", -1), ==, 500);
    g_assert_cmpint(doctor_ms("PT5M", -1), ==, -1);
    g_assert_cmpint(doctor_ms("5 parsecs", -1), ==, -1);
    g_assert_cmpint(doctor_ms(NULL, -1), ==, -1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/doctor/clean", test_clean);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name =
            g_strdup_printf("/doctor/%s/%zu", cases[i].id != NULL ? cases[i].id : "fine", i);
        g_test_add_data_func(name, &cases[i], test_case);
    }
    g_test_add_func("/doctor/every-rule", test_every_rule);
    g_test_add_func("/doctor/strange-facts", test_strange_facts);
    g_test_add_func("/doctor/times", test_times);
    return g_test_run();
}
