# SPDX-License-Identifier: GPL-2.0-or-later
"""resource-agents' own conformance test, against an agent that behaves."""
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from case import Case, DEFINITION, RA
from fake_agent import FakeAgent, behaves

@unittest.skipUnless(shutil.which("ocf-tester") and os.geteuid() == 0,
                     "needs ocf-tester (package resource-agents) and root")
class OcfTester(Case):
    def test_conforms(self):
        # ocf-tester runs it as nobody, too, who may not see the build directory.
        with FakeAgent(self.run_dir, behaves()), tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            agent = shutil.copy(RA, directory)
            found = subprocess.run(
                ["ocf-tester", "-n", "web1", "-o", "definition=" + json.dumps(DEFINITION), "-o",
                 "run_dir=" + self.run_dir, agent], text=True, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=120, check=False)
        self.assertEqual(re.findall(r"^\* rc=\d+: (.*)|validity error : (.*)", found.stdout,
                                    re.MULTILINE), [], found.stdout)
        self.assertEqual(found.returncode, 0, found.stdout)
        self.assertIn("passed all tests", found.stdout)
        self.assertNotIn("does not support the migrate action", found.stdout)


if __name__ == "__main__":
    unittest.main()
