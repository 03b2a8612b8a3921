import json
import subprocess
import sys
import unittest

from odoo.tests import BaseCase, tagged

import odoo.addons

from . import __name__ as tests_name
from .properties import SANDBOX_PACKAGES, given

# Run by a Python in which the packages are missing. It prints the names of all tests, and whether each is skipped.
LOOK = """
import json, sys
sys.modules.update(dict.fromkeys(json.loads(sys.argv[2])))
import odoo.addons
odoo.addons.__path__[:] = json.loads(sys.argv[1])
from odoo.addons.sendgrid_tracking.tests.test_without_packages import get_tests
print(json.dumps({name: getattr(test, "__unittest_skip__", False) for name, test in get_tests().items()}))
"""


def get_tests():
    """Return the tests of the addon, as Odoo finds them: {name: function}."""
    found = {}
    for name, module in vars(sys.modules[tests_name]).items():
        if not name.startswith("test_"):
            continue
        for case in vars(module).values():
            if isinstance(case, type) and issubclass(case, unittest.TestCase) and case.__module__ == module.__name__:
                names = unittest.defaultTestLoader.getTestCaseNames(case)
                found |= {f"{name}.{case.__name__}.{test}": getattr(case, test) for test in names}
    return found


@tagged("post_install", "-at_install")
class TestWithoutPackages(BaseCase):
    """An Odoo need not have the packages for development."""

    def test_what_is_skipped(self):
        """Test that without them all tests can be imported, and that of these only the properties are skipped."""
        packages = ["hypothesis", *SANDBOX_PACKAGES]
        command = [sys.executable, "-c", LOOK, json.dumps(list(odoo.addons.__path__)), json.dumps(packages)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        skipped = json.loads(run.stdout.splitlines()[-1])
        tests = get_tests()
        self.assertGreater(len(tests), 400)
        self.assertEqual(skipped.keys(), tests.keys())
        if given.__module__.startswith("hypothesis"):
            properties = {name for name, test in tests.items() if hasattr(test, "hypothesis")}
            self.assertGreater(len(properties), 20)
            self.assertEqual({name for name, is_skipped in skipped.items() if is_skipped}, properties)
