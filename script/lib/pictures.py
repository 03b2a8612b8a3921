"""The command `script/pictures`: it takes the pictures of `static/description` anew.

They are those that the browser tests take of the pages that they walk through: a picture shows a page that works.
"""

import os
import shutil

from . import paths, say, test

DESCRIPTION = paths.ROOT / "static" / "description"
FOLDER = paths.DEV / "pictures"
# {file of the description: (picture of a test, the test that takes it)}
PICTURES = {
    "tracking.png": ("tracking", "tests/end_to_end/test_browser.py::test_walk_of_the_administrator"),
    "connect.png": ("connect-done", "tests/end_to_end/test_connect.py::test_connect_with_every_failure"),
}


def main(arguments: list[str]) -> int:
    """Run the tests that take the pictures, and copy them; takes pytest's arguments."""
    os.environ["SCREENSHOTS"] = str(FOLDER)
    tests = [str(paths.ROOT / name) for _picture, name in PICTURES.values()]
    if failed := test.main([*arguments, *tests]):
        return failed
    for file, (picture, _name) in PICTURES.items():
        shutil.copyfile(FOLDER / f"{picture}.png", DESCRIPTION / file)
        say.step(f"{DESCRIPTION / file}")
    return 0
