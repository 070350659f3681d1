// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/iscsi_url.h"

#include <string.h>

static void expect(const char *url, const char *portal, const char *target, unsigned lun)
{
    g_auto(HvIscsiUrl) out = {0};
    const char *reason;
    g_assert_true(hv_iscsi_url_parse(url, &out, &reason));
    g_assert_cmpstr(out.portal, ==, portal);
    g_assert_cmpstr(out.target, ==, target);
    g_assert_cmpuint(out.lun, ==, lun);
}

static void expect_refused(const char *url, const char *part)
{
    HvIscsiUrl out = {0};
    const char *reason;
    g_assert_false(hv_iscsi_url_parse(url, &out, &reason));
    g_assert_nonnull(strstr(reason, part));
    g_assert_null(out.portal);
}

static void test_good(void)
{
    expect("iscsi://10.0.0.9/iqn.2020-01.org.x:t1/0", "10.0.0.9:3260", "iqn.2020-01.org.x:t1", 0);
    expect("iscsi://san.example:3261/iqn.x/16383", "san.example:3261", "iqn.x", 16383);
    expect("iscsi://[fd00::1]/iqn.x/1", "[fd00::1]:3260", "iqn.x", 1);
    expect("iscsi://[fd00::1]:4000/iqn.x/1", "[fd00::1]:4000", "iqn.x", 1);
}

static void test_form(void)
{
    static const char *const urls[] = {"",
                                       "iscsi://",
                                       "iscsi:///iqn.x/1",
                                       "iscsi://h/iqn.x",
                                       "iscsi://h/iqn.x/",
                                       "iscsi://h/iqn.x/1/2",
                                       "iscsi://h/iqn.x/-1",
                                       "iscsi://h/iqn.x/16384",
                                       "iscsi://h/iqn x/1",
                                       "iscsi://h//1",
                                       "iscsi://h:0/iqn.x/1",
                                       "iscsi://h:65536/iqn.x/1",
                                       "iscsi://[/iqn.x/1",
                                       "iscsi://[fd00::1/iqn.x/1",
                                       "iscsi://h,x=y/iqn.x/1",
                                       "iser://h/iqn.x/1"};
    for (size_t i = 0; i < G_N_ELEMENTS(urls); i++)
        expect_refused(urls[i], "form");
}

static void test_secret(void)
{
    expect_refused("iscsi://user%secret@h/iqn.x/1", "secrets");
    expect_refused("iscsi://user@h/iqn.x/1", "secrets");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iscsi-url/good", test_good);
    g_test_add_func("/iscsi-url/form", test_form);
    g_test_add_func("/iscsi-url/secret", test_secret);
    return g_test_run();
}
