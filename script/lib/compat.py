"""The command `script/compat`: what the addon changes for others.

Core's own suites know nothing of the addon. They run twice, in databases that differ only by the addon, and a test that
finds something else in one of them is named. Beside OCA's modules the main path is gone: `tests/end_to_end/oca`.
"""

import hashlib
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from . import chromium, database, odoo, paths, postgres, process, rtlcss, say, suite_log, test

PLAIN = (
    "privacy_lookup",
    "base_automation",
    "portal",
    "crm",
    "mail",
    "calendar",
    "sale",
    "mass_mailing",
    "test_base_automation",
    "test_mail",
)
# These bring further modules, such as the website, beside which some plain suites fail without any doing of ours. What
# fails anyway proves nothing, so the plain ones have databases without these.
WHOLE = ("test_mass_mailing", "test_mail_full", "test_crm_full")
SUITES = (*PLAIN, *WHOLE)
# A module and a test are named without a tag, but for those that core leaves out of its standard run.
TAGS = {"test_crm_full": "crm_performance"}
DESCRIPTION = paths.ROOT / "docs" / "compatibility.md"
# Core runs the tests `at_install` as soon as their module is loaded, which is before the addon is. So they would tell
# nothing. Core's own way to run them on a database with all its modules is this function, in its shell.
RUN = "from odoo.tests.shell import run_tests; run_tests(env, {tags!r}, modules={modules!r})"
# Else each test with a browser would build the pages' scripts and styles again, and take them back at its end.
BUILD_ASSETS = "env['ir.qweb']._pregenerate_assets_bundles(); env.cr.commit()"
TICKED = re.compile(r"`([^`\n]+)`")

Results = dict[str, suite_log.Result]


def main(arguments: list[str]) -> int:
    """Run all suites, or those named; after the word `oca`, look at OCA's modules. Return 0 if all is as described."""
    if arguments[:1] == ["oca"]:
        return test.oca(arguments[1:])
    if unknown := {*arguments} - {*SUITES}:
        raise say.Problem(f"There is no suite {', '.join(sorted(unknown))}; there are: {', '.join(SUITES)}.")
    present = [suite for suite in SUITES if _has_tests(suite)]
    if missing := [suite for suite in SUITES if suite not in present]:
        say.warn(f"This Odoo has no tests of {', '.join(missing)}: they are left out.")
    rtlcss.ensure()
    if not chromium.path():
        say.warn("There is no Chromium: core skips the tests that need a browser, with the addon and without it.")
    with postgres.running():
        results = [_compare(suite, present) for suite in present if suite in arguments or not arguments]
    return 0 if all(results) else 1


def _has_tests(module: str) -> bool:
    """Tell whether the Odoo in use has a module and its tests: some packages of Odoo leave them out."""
    source = odoo.source()
    return any((source / folder / module / "tests" / "__init__.py").is_file() for folder in ("odoo/addons", "addons"))


def _compare(suite: str, present: list[str]) -> bool:
    """Run a suite both ways, print how they differ, and tell whether there is nothing but what is described."""
    modules = [one for one in present if one in PLAIN or suite in WHOLE]
    without, beside = (_run(suite, _tag_of(suite), modules, with_addon) for with_addon in (False, True))
    if not beside:
        raise say.Problem(f"No test of {suite} ran.")
    described = _described()
    differences = dict(suite_log.compare(without, beside))
    queries = list(suite_log.compare_queries((without, beside)))
    doubtful = {*differences, *(test for test, _difference in queries if _name(test) not in described)}
    if doubtful:
        # A test that waits for a browser may fail on a busy machine, and some counts of core's vary by themselves. What
        # the addon changes differs again.
        tags = ",".join(sorted({_tag(test) for test in doubtful}))
        again = [_run(f"{suite} again", tags, modules, with_addon) for with_addon in (False, True)]
        lasting = dict(suite_log.compare(*again))
        for test in [test for test in differences if test not in lasting]:
            say.step(f"  once only: {test}: {differences.pop(test)}")
            for results, new in zip((without, beside), again, strict=True):
                results[test] = new.get(test, suite_log.Result())
        first, queries = queries, list(suite_log.compare_queries((without, beside), again))
        for test, difference in first:
            if (test, difference) not in queries:
                say.step(f"  varies by itself: {test}: {difference}")
    for test, difference in differences.items():
        say.step(f"  differs: {test}: {difference}")
    for test, difference in queries:
        say.step(f"  {'' if _name(test) in described else 'not described: '}{test}: {difference}")
    say.step(
        f"{suite}: {_count(beside)} with the addon; {_count(without)} without; {len(differences)} differ, "
        f"{len({test for test, _difference in queries})} by the number of queries"
    )
    return not differences and all(_name(test) in described for test, _difference in queries)


def _run(title: str, tags: str, modules: list[str], with_addon: bool) -> Results:
    """Run tests on a fresh database, and return their results."""
    how = "with" if with_addon else "without"
    log = paths.LOG / f"compat-{title.replace(' ', '-')}-{how}.log"
    log.unlink(missing_ok=True)
    with database.copy_of(lambda: _ensure(modules, with_addon)) as name:
        say.step(f"{title}, {how} the addon …")
        options = ["--no-http", f"--http-port={process.free_port()}", f"--logfile={log}"]
        subprocess.run(
            odoo.command("shell", "-d", name, *options),
            input=RUN.format(tags=tags, modules=sorted({_module(tag) for tag in tags.split(",")})),
            env=odoo.environment(),
            cwd=paths.DATA,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
            preexec_fn=process.die_with_parent,
        )
    return _read(log)


def _read(log: Path) -> Results:
    try:
        with open(log, errors="replace") as lines:
            return suite_log.read(lines)
    except (FileNotFoundError, suite_log.Unfinished):
        raise say.Problem(f"The tests did not come to their end, see {log}") from None


def _ensure(modules: list[str], with_addon: bool) -> str:
    """Return the template with core's modules and those that the addon depends on, and with the addon or not."""

    def make_core(name: str) -> None:
        wanted = ",".join([*modules, *database.dependencies()])
        database.run_odoo(name, "Installing core's modules …", "-i", wanted, log="compat-core.log")
        database.run_script(name, BUILD_ASSETS)

    def make_beside(name: str) -> None:
        database.clone(core, name)
        database.run_odoo(name, "Installing the addon beside them …", "-i", paths.ADDON, log="compat-beside.log")
        database.run_script(name, BUILD_ASSETS)

    kind = "whole" if {*modules} & {*WHOLE} else "plain"
    core = database.ensure(kind, _state(database.base_hash(), modules), make_core)
    beside = f"beside{kind}"
    return database.ensure(beside, _state(database.addon_hash(), modules), make_beside) if with_addon else core


def _state(state: str, modules: Iterable[str]) -> str:
    return hashlib.sha256("\n".join([state, *modules]).encode()).hexdigest()[:12]


def _tag(test: str) -> str:
    """Return what Odoo's --test-tags calls a test; of the preparation of a class, all of its tests."""
    name = _name(test)
    return f"{_tag_of(_module(test))}:{name if '.test' in name else name.rpartition('.')[0]}"


def _tag_of(module: str) -> str:
    return f"{TAGS.get(module, '')}/{module}"


def _module(test: str) -> str:
    return test.partition(":")[0].rpartition("/")[2]


def _name(test: str) -> str:
    return test.partition(": ")[2]


def _count(results: Results) -> str:
    outcomes = [result.outcome for result in results.values()]
    others = [f"{outcomes.count(one)} {one}" for one in ("failed", "skipped") if one in outcomes]
    return ", ".join([f"{len(outcomes):,} tests", *others])


def _described() -> set[str]:
    """The tests whose number of queries is explained."""
    return {*TICKED.findall(DESCRIPTION.read_text())} if DESCRIPTION.exists() else set()
