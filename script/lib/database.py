"""Makes databases. Each gets its name only once it is complete, so that no run uses an incomplete one."""

import ast
import contextlib
import hashlib
import itertools
import os
import re
import shutil
import subprocess
import time

import psycopg2
import psycopg2.errors
from psycopg2 import sql

from . import lock, odoo, paths, process, say, venv

# Files in these folders cannot change the content of a database.
NOT_INSTALLED = {"benchmarks", "docs", "sandbox", "script", "static", "tests"}
INSTALLED_SUFFIXES = {".csv", ".po", ".py", ".sql", ".xml"}

# The hash keeps two checkouts apart in one PostgreSQL. `DATABASES` keeps two PostgreSQLs of one checkout apart in the
# folder of filestores, which they share (see `_faults`).
PREFIX = "_".join(
    ["sendgrid", hashlib.sha256(os.fsencode(paths.ROOT)).hexdigest()[:6], *os.environ.get("DATABASES", "").split()]
)
DROP_TRIES = 30
_numbers = itertools.count(1)


def exists(name):
    """Tell whether there is a database of that name."""
    return name in _names(name)


def drop(name):
    """Drop a database and its filestore, even while somebody is connected to it."""
    for attempt in range(DROP_TRIES):
        try:
            _execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
            break
        except (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.QueryCanceled):
            # An autovacuum worker is in the database, and our role may not end it. It finishes soon.
            if attempt == DROP_TRIES - 1:
                raise
            time.sleep(1)
    shutil.rmtree(_filestore(name), ignore_errors=True)


def rename(old, new):
    """Rename a database and its filestore."""
    shutil.rmtree(_filestore(new), ignore_errors=True)
    if _filestore(old).exists():
        _filestore(old).rename(_filestore(new))
    _execute("ALTER DATABASE {} RENAME TO {}", old, new)


def clone(source, target):
    """Copy a database and its filestore. Links suffice: Odoo adds and removes files there, and never writes to one."""
    _execute("CREATE DATABASE {} TEMPLATE {}", target, source)
    shutil.rmtree(_filestore(target), ignore_errors=True)
    if _filestore(source).exists():
        shutil.copytree(_filestore(source), _filestore(target), copy_function=os.link)


def mark(name):
    """Return the text that `set_mark` wrote last, or None."""
    with _server() as cursor:
        cursor.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [name])
        return cursor.fetchone()[0]


def set_mark(name, text):
    """Write a line on a database, as its comment in PostgreSQL."""
    _execute("COMMENT ON DATABASE {} IS %s", name, values=[text])


def run_odoo(name, title, *arguments, log="install.log"):
    """Run Odoo on a database to install or update modules.

    :raise say.Problem: if Odoo fails, or logs an error (to `.dev/log/<log>`)
    """
    command = odoo.command("server", "-d", name, "--stop-after-init", "--no-http", "--max-cron-threads=0", *arguments)
    try:
        lines = process.run(command, log, title, env=odoo.environment(), cwd=paths.DATA)
    except process.Failed as failure:
        raise say.Problem(f"Odoo failed: {_telling(failure.lines)} (see {failure.log})") from None
    if any(re.search(rf" (ERROR|CRITICAL) {name} ", line) for line in lines):
        raise say.Problem(f"Odoo logged an error: {_telling(lines)} (see {paths.LOG / log})")


def run_script(name, script, **variables):
    """Run a script in Odoo's shell on a database, with these environment variables; return its output.

    :raise say.Problem: if the script fails
    """
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


def _telling(lines):
    """Return the line of a log that explains most: the last exception, or the last logged error."""
    telling = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Violation)\b|.* (ERROR|CRITICAL) ", line)]
    return (telling or lines or ["no reason given"])[-1]


@contextlib.contextmanager
def for_tests(with_addon=True):
    """Give the name of a fresh copy of the template, and drop it at the end. First drop the databases of killed runs.

    :param with_addon: False for an Odoo with only the modules that the addon depends on
    """
    with lock.exclusive("template"):
        template = _ensure_template() if with_addon else _ensure_base()
        for left in _names(f"{PREFIX}_test_"):
            if not process.is_alive(int(left.split("_")[-2])):
                drop(left)
        name = f"{PREFIX}_test_{os.getpid()}_{next(_numbers)}"
        clone(template, name)
    try:
        yield name
    finally:
        drop(name)


def _ensure_template():
    """Return the database of an Odoo with the addon; make it again from the base when the sources have changed."""
    base, template = _ensure_base(), f"{PREFIX}_template_{addon_hash()}"
    if not exists(template):
        _drop_all(f"{PREFIX}_template_")
        clone(base, f"{template}_new")
        run_odoo(f"{template}_new", "Installing the addon for the tests …", "-i", paths.ADDON, log="test-template.log")
        rename(f"{template}_new", template)
    return template


def _ensure_base():
    """Return the database of an Odoo with only the modules that the addon depends on; make it if it is missing."""
    base = f"{PREFIX}_base_{_base_hash()}"
    if not exists(base):
        _drop_all(f"{PREFIX}_base_")
        dependencies = ",".join(_dependencies())
        run_odoo(f"{base}_new", "Installing Odoo for the tests …", "-i", dependencies, log="test-base.log")
        rename(f"{base}_new", base)
    return base


def addon_hash():
    """Return a hash of all files that change the content of a database: the addon's, and those below it."""
    digest = hashlib.sha256(_base_hash().encode())
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


def _base_hash():
    parts = [str(odoo.source()), odoo.WANTED, *_dependencies(), venv.LOCK_FILE.read_text()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _dependencies():
    return sorted(ast.literal_eval((paths.ROOT / "__manifest__.py").read_text())["depends"])


def _drop_all(prefix):
    for name in _names(prefix):
        drop(name)


def _names(prefix):
    with _server() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
        return [name for [name] in cursor.fetchall()]


def _execute(query, *names, values=None):
    with _server() as cursor:
        cursor.execute("SET statement_timeout = '60s'")
        cursor.execute(sql.SQL(query).format(*map(sql.Identifier, names)), values)


@contextlib.contextmanager
def _server():
    with contextlib.closing(psycopg2.connect(dbname="postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def _filestore(name):
    return paths.DATA / "filestore" / name
