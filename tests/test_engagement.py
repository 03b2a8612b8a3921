import logging
import subprocess
import sys
from pathlib import Path

from odoo.tests import BaseCase, tagged

_logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent


@tagged("post_install", "-at_install")
class TestEngagement(BaseCase):
    """People and machines, on the labelled histories."""

    def test_labelled_histories(self):
        """Test that people and machines are found well enough in the held-out third; print the figures."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.engagement"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        _logger.info(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("held_out: 610 opens, clicks and unsubscriptions", done.stdout)
