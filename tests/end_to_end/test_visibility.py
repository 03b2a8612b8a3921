"""Who reads what applications send beside which the addon is installed, in a database that has them."""

import re

from script.lib import database, paths


def test_applications():
    """The tests of sale, portal and mass mailing (`sendgrid_applications`) run there, and none fails."""
    with database.for_tests() as name:
        log = f"{name}.log"
        database.run_odoo(
            name,
            "Installing sale and mass mailing …",
            "--init=sale,mass_mailing",
            "--update=sendgrid_tracking",
            "--test-tags=sendgrid_applications",
            log=log,
        )
        results = re.findall(r"0 failed, 0 error\(s\) of (\d+) tests", (paths.LOG / log).read_text())
        (paths.LOG / log).unlink()
    assert results == ["5"]
