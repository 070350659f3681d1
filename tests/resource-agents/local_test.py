# SPDX-License-Identifier: GPL-2.0-or-later
"""What the resource agent does by itself: meta-data, usage, validate-all."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest
import xml.etree.ElementTree as xml

from case import (ARGS, CONFIGURED, Case, DEFINITION, INSTALLED, RA, SUCCESS, UNIMPLEMENTED)

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SCHEMAS = "/usr/share/resource-agents"


class MetaData(Case):
    def setUp(self):
        super().setUp()
        self.text = subprocess.run([RA, "meta-data"], env={}, check=True, text=True,
                                   stdout=subprocess.PIPE).stdout
        self.root = xml.fromstring(self.text)

    def test_version(self):
        self.assertEqual(self.root.findtext("version"), "1.1")
        self.assertEqual(self.root.get("name"), "VirtualMachine")

    def test_parameters(self):
        parameters = {each.get("name"): (each.get("required"), each.get("reloadable"))
                      for each in self.root.iter("parameter")}
        self.assertEqual(parameters, {"definition": ("1", "1"), "run_dir": ("0", "0")})

    def test_actions_are_those_that_are_registered(self):
        registered = re.findall(r'add_operation\(operations, resource, "([^"]+)", "([^"]+)", '
                                r'"([^"]+)"\)', SOURCE.joinpath("agent/cib_xml.c").read_text())
        advertised = {action.get("name"): (action.get("interval", "0"), action.get("timeout"))
                      for action in self.root.iter("action")}
        self.assertEqual(len(registered), 6)
        for name, interval, timeout in registered:
            self.assertEqual(advertised.pop(name), (interval, timeout))
        self.assertEqual(set(advertised), {"validate-all", "meta-data"})

    @unittest.skipUnless(shutil.which("xmllint") and os.path.exists(SCHEMAS + "/metadata.rng"),
                         "needs xmllint and resource-agents' schema")
    def test_schema(self):
        """resource-agents' RNG is OCF 1.0's: it does not know what 1.1 added."""
        self.lint("--valid")
        for new in (' reloadable="1"', ' reloadable="0"', '<action name="reload-agent" '
                    'timeout="20s"/>'):
            self.assertIn(new, self.text)
            self.text = self.text.replace(new, "")
        self.lint("--relaxng", SCHEMAS + "/metadata.rng")

    def lint(self, *arguments):
        found = subprocess.run(["xmllint", "--noout", *arguments, "-"], input=self.text, text=True,
                               stderr=subprocess.PIPE, cwd=SCHEMAS, check=False)
        self.assertEqual(found.returncode, 0, found.stderr)


class Usage(Case):
    def test_none(self):
        code, errors = self.ra()
        self.assertEqual(code, ARGS)
        self.assertIn("usage: VirtualMachine ACTION", errors)

    def test_unknown(self):
        for action in ("reload", "promote", "notify", "START", ""):
            code, errors = self.ra(action)
            self.assertEqual(code, UNIMPLEMENTED)
            self.assertIn("usage:", errors)

    def test_help(self):
        self.assertEqual(self.ra("help"), (SUCCESS, ""))


class Environment(Case):
    def test_no_name(self):
        self.assertIn("OCF_RESOURCE_INSTANCE",
                      self.expect(ARGS, "monitor", OCF_RESOURCE_INSTANCE=None))

    def test_names_that_lead_elsewhere(self):
        for name in ("../web1", "a/b", ".", ".hidden"):
            self.expect(CONFIGURED, "monitor", OCF_RESOURCE_INSTANCE=name)

    def test_relative_run_dir(self):
        self.assertIn("run_dir", self.expect(CONFIGURED, "monitor", OCF_RESKEY_run_dir="run"))

    def test_reason_without_prefix(self):
        code, errors = self.ra("validate-all", OCF_RESKEY_definition=None,
                               OCF_EXIT_REASON_PREFIX=None)
        self.assertEqual(code, CONFIGURED)
        self.assertTrue(errors.startswith("definition:"), errors)


class ValidateAll(Case):
    def refused(self, definition, code=CONFIGURED, **changes):
        return self.expect(code, "validate-all", OCF_RESKEY_definition=definition, **changes)

    def test_good(self):
        self.expect(SUCCESS, "validate-all")

    def test_missing(self):
        self.assertIn("definition: the parameter is missing", self.refused(None))
        self.assertIn("definition: the parameter is missing", self.refused(""))

    def test_key_is_named(self):
        disks = [{"type": "file", "path": "/a"}, {"type": "file", "path": "/b", "format": "vmdk"}]
        self.assertIn("disks[1].format", self.refused(json.dumps({**DEFINITION, "disks": disks})))

    def test_not_json(self):
        self.refused("{")

    def test_another_name(self):
        reason = self.refused(json.dumps({**DEFINITION, "name": "web2"}))
        self.assertIn("web1", reason)
        self.assertIn("web2", reason)

    def test_node_is_checked_only_where_asked(self):
        definition = json.dumps({**DEFINITION, "nics": [{"bridge": "nosuchbr0"}]})
        self.expect(SUCCESS, "validate-all", OCF_RESKEY_definition=definition)
        self.assertIn("nosuchbr0", self.refused(definition, INSTALLED, OCF_CHECK_LEVEL="10"))


if __name__ == "__main__":
    unittest.main()
