"""The places of all files. The commands write only to `.dev`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ADDON = "sendgrid_tracking"

CHANGELOG = ROOT / "CHANGELOG.md"

DEV = ROOT / ".dev"
ADDONS = DEV / "addons"  # holds one link, to ROOT, because Odoo finds an addon by its folder's name
CONFIG = DEV / "odoo.conf"
DATA = DEV / "data"  # Odoo's filestore and sessions
FAULTS_POSTGRES = DEV / "postgres-faults"  # the fault suite kills it, so it has its own
LOG = DEV / "log"
ODOO = DEV / "odoo"
POSTGRES = DEV / "postgres"
PYCACHE = DEV / "pycache"
RELEASES = DEV / "releases"  # addons paths with the addon as it was released
SANDBOX_KEY = DEV / "sandbox.pem"
VENV = DEV / "venv"
VENV_PYTHON = VENV / "bin" / "python"


def inside_venv() -> bool:
    """Tell whether this Python is the virtual environment's."""
    return Path(sys.prefix).resolve() == VENV.resolve()
