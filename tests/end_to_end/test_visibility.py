"""Who reads what applications send beside which the addon is installed, in a database that has them."""

import ast
import re

import pytest

from script.lib import database, paths

# {tag of tests: the applications that they need}
TAGS = {
    "sendgrid_applications": "sale,mass_mailing",
    "sendgrid_dialogs": "account,event,fleet,hr_recruitment,survey,website_slides",
}


def find_tests(tag):
    """Find the tests with a tag in the files, as Odoo does: a class's own ones, and inherited ones if it says so.

    The files say what should run, so that a class that does not run is noticed.

    :return: the names of the tests, as ``Class.test``
    """
    files = [ast.parse(file.read_text()) for file in (paths.ROOT / "tests").glob("*.py")]
    classes = {node.name: node for file in files for node in ast.walk(file) if isinstance(node, ast.ClassDef)}
    return {
        f"{name}.{test}"
        for name, node in classes.items()
        if tag
        in {part.value for tags in node.decorator_list for part in ast.walk(tags) if isinstance(part, ast.Constant)}
        for test in _get_tests(node, classes)
    }


def _get_tests(node, classes):
    tests = {part.name for part in node.body if isinstance(part, ast.FunctionDef) and part.name.startswith("test")}
    if any(ast.unparse(part) == "allow_inherited_tests_method = True" for part in node.body):
        for base in node.bases:
            tests |= _get_tests(classes[base.id], classes)
    return tests


@pytest.mark.parametrize("tag", TAGS)
def test_applications(tag):
    """The tests that need other applications run beside these, all of them, and none fails."""
    expected = find_tests(tag)
    with database.for_tests() as name:
        log = f"{name}.log"
        database.run_odoo(
            name,
            "Installing other applications …",
            f"--init={TAGS[tag]}",
            "--update=sendgrid_tracking",
            f"--test-tags={tag}",
            log=log,
        )
        text = (paths.LOG / log).read_text()
        (paths.LOG / log).unlink()
    assert expected
    assert set(re.findall(r": Starting (\w+\.\w+) \.\.\.", text)) == expected
    assert re.findall(r"0 failed, 0 error\(s\) of (\d+) tests", text) == [str(len(expected))]
