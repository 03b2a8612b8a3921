"""Databases. Each is made under another name and renamed when complete, so that half of one is never taken for one."""

import ast
import contextlib
import hashlib
import itertools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import psycopg2.errors
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from . import lock, odoo, paths, process, say, venv

# What cannot change what is in a database.
NOT_INSTALLED = {"benchmarks", "docs", "sandbox", "script", "static", "tests"}
INSTALLED_SUFFIXES = {".csv", ".po", ".py", ".sql", ".xml"}

# Two checkouts may share a PostgreSQL. Two PostgreSQLs of one checkout share the folder of filestores (see `_faults`).
PREFIX = "_".join(
    ["sendgrid", hashlib.sha256(os.fsencode(paths.ROOT)).hexdigest()[:6], *os.environ.get("DATABASES", "").split()]
)
DROP_TRIES = 30
_numbers = itertools.count(1)


def exists(name: str) -> bool:
    """Whether there is a database of that name."""
    return name in _names(name)


def drop(name: str) -> None:
    """Drop a database, whoever is connected to it, and its filestore."""
    for attempt in range(DROP_TRIES):
        try:
            _execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
            break
        except (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.QueryCanceled):
            # PostgreSQL itself is at work in it (autovacuum), which our role may not end: it will not be long.
            if attempt == DROP_TRIES - 1:
                raise
            time.sleep(1)
    shutil.rmtree(_filestore(name), ignore_errors=True)


def rename(old: str, new: str) -> None:
    """Rename a database and its filestore."""
    shutil.rmtree(_filestore(new), ignore_errors=True)
    if _filestore(old).exists():
        _filestore(old).rename(_filestore(new))
    _execute("ALTER DATABASE {} RENAME TO {}", old, new)


def clone(source: str, target: str) -> None:
    """Copy a database. A filestore's files are added and removed, never written to: links to them are enough."""
    _execute("CREATE DATABASE {} TEMPLATE {}", target, source)
    shutil.rmtree(_filestore(target), ignore_errors=True)
    if _filestore(source).exists():
        shutil.copytree(_filestore(source), _filestore(target), copy_function=os.link)


def mark(name: str) -> str | None:
    """What `set_mark` wrote last, or None."""
    with _server() as cursor:
        cursor.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [name])
        return cursor.fetchone()[0]


def set_mark(name: str, text: str) -> None:
    """Write a line on a database, in the place that PostgreSQL has for it."""
    _execute("COMMENT ON DATABASE {} IS %s", name, values=[text])


def run_odoo(name: str, title: str, *arguments: str, log: str = "install.log") -> list[str]:
    """Run Odoo on a database to install or update something; an error in its log (`.dev/log/<log>`) is a failure.

    :return: the log's lines
    """
    options = ["--stop-after-init", "--no-http", "--max-cron-threads=0"]
    # Odoo's tests serve HTTP all the same, and a server of the user's may be running on the usual port.
    options.append(f"--http-port={process.free_port()}")
    command = odoo.command("server", "-d", name, *options, *arguments)
    try:
        lines = process.run(command, log, title, env=odoo.environment(), cwd=paths.DATA)
    except process.Failed as failure:
        raise say.Problem(f"Odoo failed: {_telling(failure.lines)} (see {failure.log})") from None
    if any(re.search(rf" (ERROR|CRITICAL) {name} ", line) for line in lines):
        raise say.Problem(f"Odoo logged an error: {_telling(lines)} (see {paths.LOG / log})")
    return lines


def run_script(name: str, script: str, **variables: str) -> str:
    """Run a script in Odoo's shell on a database, with these environment variables; return what it prints."""
    done = subprocess.run(
        odoo.command("shell", "-d", name, "--no-http", "--log-level=error"),
        env={**odoo.environment(), **variables},
        cwd=paths.DATA,
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise say.Problem(f"A script in Odoo's shell failed: {_telling(done.stderr.splitlines())}")
    return done.stdout


def _telling(lines: list[str]) -> str:
    """The line that tells most of a log: the exception, or the last that was logged as an error."""
    telling = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Violation)\b|.* (ERROR|CRITICAL) ", line)]
    return (telling or lines or ["no reason given"])[-1]


@contextlib.contextmanager
def for_tests(with_addon: bool = True) -> Iterator[str]:
    """Give the name of a fresh copy of the template, and drop it at the end.

    :param with_addon: False for an Odoo with only the modules that the addon depends on
    """
    with copy_of(_ensure_template if with_addon else ensure_base) as name:
        yield name


@contextlib.contextmanager
def copy_of(ensure_template: Callable[[], str]) -> Iterator[str]:
    """Give the name of a fresh copy of a template, and drop it at the end. First drop the databases of killed runs.

    :param ensure_template: called while no other run makes a template; returns the template's name
    """
    with lock.exclusive("template"):
        template = ensure_template()
        for left in _names(f"{PREFIX}_test_"):
            if not process.is_alive(int(left.split("_")[-2])):
                drop(left)
        name = f"{PREFIX}_test_{os.getpid()}_{next(_numbers)}"
        clone(template, name)
    try:
        yield name
    finally:
        drop(name)


@contextlib.contextmanager
def template() -> Iterator[str]:
    """Give the name of the template of Odoo with the addon, to read from it. No other run makes or drops one."""
    with lock.exclusive("template"):
        yield _ensure_template()


def ensure(kind: str, state: str, make: Callable[[str], None]) -> str:
    """Return the name of the template of a kind in a state. It is made once; those of the kind in other states go.

    :param make: called with the name of a database that does not exist yet, to make it
    """
    name = f"{PREFIX}_{kind}_{state}"
    if not exists(name):
        _drop_all(f"{PREFIX}_{kind}_")
        make(f"{name}_new")
        rename(f"{name}_new", name)
    return name


def _ensure_template() -> str:
    """Return the database of an Odoo with the addon; make it again from the base when the sources have changed."""
    base = ensure_base()

    def make(name: str) -> None:
        clone(base, name)
        run_odoo(name, "Installing the addon for the tests …", "-i", paths.ADDON, log="test-template.log")

    return ensure("template", addon_hash(), make)


def ensure_base() -> str:
    """Return the database of an Odoo with only the modules that the addon depends on; make it if it is missing."""

    def make(name: str) -> None:
        run_odoo(name, "Installing Odoo for the tests …", "-i", ",".join(dependencies()), log="test-base.log")

    return ensure("base", base_hash(), make)


def addon_hash() -> str:
    """Return a hash of all files that change the content of a database: the addon's, and those below it."""
    digest = hashlib.sha256(base_hash().encode())
    for folder, folders, files in os.walk(paths.ROOT):
        if folder == str(paths.ROOT):
            folders[:] = [name for name in folders if not name.startswith(".") and name not in NOT_INSTALLED]
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            if os.path.splitext(name)[1] in INSTALLED_SUFFIXES:
                digest.update(os.path.relpath(path, paths.ROOT).encode() + b"\0")
                with open(path, "rb") as file:
                    digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()[:12]


def base_hash() -> str:
    """A name for the state of what the addon stands on: Odoo, its Python packages, the addons it depends on."""
    parts = [str(odoo.source()), odoo.WANTED, *dependencies(), venv.LOCK_FILE.read_text()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def dependencies() -> list[str]:
    """Return the names of the modules that the addon depends on, sorted."""
    return sorted(ast.literal_eval((paths.ROOT / "__manifest__.py").read_text())["depends"])


def _drop_all(prefix: str) -> None:
    for name in _names(prefix):
        drop(name)


def _names(prefix: str) -> list[str]:
    with _server() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
        return [name for [name] in cursor.fetchall()]


def _execute(query: str, *names: str, values: list[str] | None = None) -> None:
    with _server() as cursor:
        cursor.execute("SET statement_timeout = '60s'")
        cursor.execute(sql.SQL(query).format(*map(sql.Identifier, names)), values)


@contextlib.contextmanager
def _server() -> Iterator[Cursor]:
    with contextlib.closing(psycopg2.connect(dbname="postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def _filestore(name: str) -> Path:
    return paths.DATA / "filestore" / name
