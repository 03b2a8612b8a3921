"""The command `script/pictures`: it takes the pictures of the store page, the README and the languages anew.

They are those that the browser tests take of the pages that they walk through: a picture shows a page that works.
"""

import os
import shutil

from . import paths, say, test

FOLDER = paths.DEV / "pictures"
LANGUAGES = ("ar_001", "de_DE", "es_ES", "fr_FR", "it_IT", "nl_NL", "pt_BR")
TRACKING = "tests/end_to_end/test_languages.py::test_tracking"
# {file: (picture of a test, the test that takes it)}
PICTURES = {
    "static/description/tracking.png": (
        "tracking",
        "tests/end_to_end/test_browser.py::test_walk_of_the_administrator",
    ),
    "static/description/connect.png": (
        "connect-done",
        "tests/end_to_end/test_connect.py::test_connect_with_every_failure",
    ),
    **{f"docs/languages/{language}.png": (f"tracking-document-{language}", TRACKING) for language in LANGUAGES},
}


def main(arguments: list[str]) -> int:
    """Run the tests that take the pictures, and copy them; takes pytest's arguments."""
    os.environ["SCREENSHOTS"] = str(FOLDER)
    os.environ["LANGUAGES"] = " ".join(LANGUAGES)
    tests = dict.fromkeys(str(paths.ROOT / name) for _picture, name in PICTURES.values())
    if failed := test.main([*arguments, *tests]):
        return failed
    for file, (picture, _name) in PICTURES.items():
        target = paths.ROOT / file
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(FOLDER / f"{picture}.png", target)
        say.step(f"{target}")
    return 0
