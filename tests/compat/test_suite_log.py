"""What `script/compat` reads in the log of core's tests, and what it calls a difference."""

import pytest

from script.lib import suite_log

NOW = "2026-11-27 20:44:52,496 29184"
MERGE, ASSIGN = "crm: TestLead.test_merge", "crm: TestAssign.test_many"


def info(message, logger="odoo.addons.crm.tests.test_crm_lead"):
    return f"{NOW} INFO some_database {logger}: {message}"


def error(message, logger="odoo.addons.crm.tests.test_crm_lead"):
    return f"{NOW} ERROR some_database {logger}: {message}"


START = info("Starting TestLead.test_merge ... ")  # as core writes it, with a space at the end
START_ASSIGN = info("Starting TestAssign.test_many ...", "odoo.addons.crm.tests.test_assign")
END = info("Tests passed: 0 failed, 0 error(s) of 1 tests", "odoo.tests.shell")


def failure(reason):
    return [error("FAIL: TestLead.test_merge"), "Traceback (most recent call last):", '  File "x.py", line 1', reason]


def queries(count, word="more", sign=">"):
    return f"Query count {word} than expected for user admin: {count} {sign} 20 in test_many at crm/x.py:7"


def read(*lines):
    return suite_log.read([*lines, END])


def test_outcomes():
    results = read(
        START,
        info("Starting TestLead.test_skipped ..."),
        info("skipped TestLead.test_skipped : no browser"),
        info("Starting TestLead.test_failed ..."),
        error("FAIL: Subtest TestLead.test_failed (lead='A')"),
        "Traceback (most recent call last):",
        "AssertionError: 1 != 2 : of lead A",
        "",
        info("Starting TestLead.test_noisy ..."),
        error("A server error", "odoo.http"),
        error("ERROR: setUpClass (odoo.addons.crm.tests.test_x.TestOther)", "odoo.tests.suite"),
        "Traceback (most recent call last):",
        "ValueError: nothing there",
    )
    assert {test: result.outcome for test, result in results.items()} == {
        MERGE: "passed",
        "crm: TestLead.test_skipped": "skipped",
        "crm: TestLead.test_failed": "failed",
        "crm: TestLead.test_noisy": "failed",
        "crm: TestOther.setUpClass": "failed",
    }
    assert results["crm: TestLead.test_failed"].reasons == ["AssertionError: 1 != 2 : of lead A"]


def test_a_run_that_breaks_off_has_no_results():
    with pytest.raises(suite_log.Unfinished):
        suite_log.read([START])


def test_equal_runs_do_not_differ():
    # ids and times are others in each run
    one, other = (read(START, *failure(f"ValueError: res.partner({number},) at 0x{number}")) for number in (7, 12))
    assert not [*suite_log.compare(one, other), *suite_log.compare_queries((one, other))]


@pytest.mark.parametrize(
    ("without", "beside", "told"),
    [
        (
            [START],
            [START, *failure("AssertionError: no")],
            "failed with the addon, passed without (AssertionError: no)",
        ),
        ([START, *failure("ValueError: x")], [START], "passed with the addon, failed without (ValueError: x)"),
        ([START], [], "ran only without the addon"),
        ([], [START], "ran only with the addon"),
        (
            [START, *failure("ValueError: x")],
            [START, *failure("KeyError: y")],
            "fails with the addon for KeyError: y, and without for ValueError: x",
        ),
    ],
)
def test_differences(without, beside, told):
    assert [*suite_log.compare(read(*without), read(*beside))] == [(MERGE, told)]


def test_queries_are_compared_by_their_number():
    without = read(START_ASSIGN)
    beside = read(START_ASSIGN, error("FAIL: Subtest TestAssign.test_many "), f"AssertionError: {queries(24)}")
    less = read(START_ASSIGN, info(queries(18, "less", "<"), "odoo.addons.crm.tests.test_assign"))
    assert not [*suite_log.compare(without, beside)]
    assert [*suite_log.compare_queries((without, beside))] == [
        (ASSIGN, "24 queries instead of 20, 20 expected (admin, test_many at crm/x.py:7)")
    ]
    assert [*suite_log.compare_queries((less, without))] == [
        (ASSIGN, "20 queries instead of 18, 20 expected (admin, test_many at crm/x.py:7)")
    ]


def test_counts_that_vary_by_themselves_are_no_difference():
    usual = read(START_ASSIGN)
    more, most, less = (
        read(START_ASSIGN, info(queries(count, *words), "odoo.addons.crm.tests.test_assign"))
        for count, *words in ((24,), (25,), (18, "less", "<"))
    )
    assert not [*suite_log.compare_queries((usual, less), (less, usual))]
    assert not [*suite_log.compare_queries((usual, less), (less, less))]
    # What is added to a count that varies stays a difference.
    told = "24 queries instead of 20, 20 expected (admin, test_many at crm/x.py:7)"
    assert [*suite_log.compare_queries((usual, more), (less, most))] == [(ASSIGN, told)]
    # A test that did not run again is judged by its first run.
    assert [*suite_log.compare_queries((usual, more), ({}, {}))] == [(ASSIGN, told)]
