"""Odoo from Debian's packages, downloaded and unpacked as an ordinary user, without installing anything.

apt gets a state of its own in a scratch folder, and checks the archive's signatures as always.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import process, say

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# Only this table fixes Debian's versions. Odoo's package holds its fonts and jQuery as links into the other packages.
# Font Awesome comes from a release that still has version 4, whose files Odoo's icons need.
PACKAGES = {
    "unstable": {
        "odoo-19": "19.0.0+dfsg-1",
        "libjs-jquery": "3.7.1+dfsg+~3.5.33-1",
        "libjs-jquery-form": "12-4",
        "libjs-underscore": "1.13.8~dfsg+~1.13.0-1",
        "fonts-montserrat": "9.000-6",
        "fonts-roboto-unhinted": "2:3.016-1",
    },
    "trixie": {
        "fonts-font-awesome": "5.0.10+really4.7.0~dfsg-4.1",
    },
}

# Debian leaves this file out as non-free, but the web client asks for it. It only blurs the background of video calls.
DROPPED = "usr/lib/python3/dist-packages/odoo/addons/mail/static/lib/selfie_segmentation/selfie_segmentation.js"


class Unavailable(Exception):
    """This machine cannot get Odoo from Debian's packages; the message says why."""


def unpack(target: Path) -> None:
    """Download the packages and unpack them into the new folder `target`.

    :raise Unavailable: if this machine cannot get them
    """
    for needed in (shutil.which("apt-get"), shutil.which("dpkg-deb"), os.path.exists(KEYRING)):
        if not needed:
            raise Unavailable("this is not Debian")
    apt = Apt(target.with_name(f"{target.name}.apt"))
    try:
        apt.update()
        for release, packages in PACKAGES.items():
            for name, version in packages.items():
                apt.download(name, version, release)
        say.step("Unpacking Odoo (1.2 GB) …")
        for archive in sorted(apt.folder.glob("*.deb")):
            _run(["dpkg-deb", "-x", archive, target])
    finally:
        shutil.rmtree(apt.folder, ignore_errors=True)
    stub = target / DROPPED
    if not stub.exists():
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text("/* Not in Debian's package; only for the blurred background of video calls. */\n")


class Apt:
    """An apt with lists, cache and sources of its own."""

    def __init__(self, folder: Path):
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "lists" / "partial").mkdir(parents=True)
        (folder / "cache" / "archives" / "partial").mkdir(parents=True)
        self.folder = folder
        self.sources = folder / "sources.list"
        settings = {
            "Dir::Etc::sourcelist": self.sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State::lists": folder / "lists",
            "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "root",  # apt's own user may not be able to enter this folder
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        self.options = [f"-o{name}={value}" for name, value in settings.items()]

    def update(self) -> None:
        """Fetch the package lists from the first of this machine's mirrors that has them."""
        say.step("Reading Debian's package lists …")
        problem = Unavailable("apt knows no mirror")
        for mirror in _mirrors():
            lines = [f"deb [signed-by={KEYRING}] {mirror} {release} main\n" for release in PACKAGES]
            self.sources.write_text("".join(lines))
            try:
                _run(["apt-get", "-qq", *self.options, "update"])
                return
            except Unavailable as error:
                problem = error
        raise problem

    def download(self, name: str, version: str, release: str) -> None:
        """Download one package in the version we know, or in the release's own if the mirror no longer has ours."""
        listed = _run(["apt-cache", *self.options, "madison", name]).splitlines()
        if version in [line.split("|")[1].strip() for line in listed]:
            wanted = f"{name}={version}"
        else:
            wanted = f"{name}/{release}"
            say.warn(f"The mirror no longer has {name} {version}; taking the one that {release} has now.")
        say.step(f"Downloading {name} …")
        _run(["apt-get", *self.options, "download", wanted], cwd=self.folder, show=True)


def _mirrors() -> list[str]:
    """Return this machine's mirrors: first those known to be Debian's, then those that apt has never read yet."""
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages"]
    lines = [line.split() for line in _run(targets).splitlines()]
    debian = [line[0] for line in lines if line[1:] == ["Debian", "Debian"]]
    unread = [line[0] for line in lines if len(line) == 1]
    return list(dict.fromkeys(debian + unread))


def _run(command: process.Command, cwd: Path | None = None, show: bool = False) -> str | None:
    """Run a command to its end and return its output.

    With `show` and a terminal, the terminal gets the output instead.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=None if show and sys.stdout.isatty() else subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=process.die_with_parent,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Unavailable(lines[0] if lines else f"{Path(command[0]).name} failed")
    return done.stdout
