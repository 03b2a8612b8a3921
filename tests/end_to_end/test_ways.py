"""What sale, portal, mass mailing and a website's form send arrives the same by SMTP and by the Web API.

The database has these applications.
"""

import re

from script.lib import database, paths


def test_applications():
    """The comparison of both ways (`sendgrid_ways` in tests/test_corpus.py) runs there, and none fails."""
    with database.for_tests() as name:
        log = f"{name}.log"
        database.run_odoo(
            name,
            "Installing sale, mass mailing and website …",
            "--init=sale,mass_mailing,website",
            "--update=sendgrid_tracking",
            "--test-tags=sendgrid_ways",
            log=log,
        )
        results = re.findall(r"0 failed, 0 error\(s\) of (\d+) tests", (paths.LOG / log).read_text())
        (paths.LOG / log).unlink()
    assert results == ["4"]
