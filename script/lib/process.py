"""Runs other programs: to their end, in the foreground, or in the background until we stop them."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

from . import paths, say

Command = Sequence[str | Path | int]  # the program and its arguments; we make a string of each
Self = TypeVar("Self", bound="Server")  # Python 3.10 has no `typing.Self`


class Ended(KeyboardInterrupt):
    """A signal other than Ctrl-C's asks us to end. Unlike Ctrl-C, our children did not get it."""


class Failed(Exception):
    """A program's exit code was not 0."""

    def __init__(self, lines: list[str], log: Path):
        super().__init__(f"see {log}")
        self.lines = lines or ["no reason given"]
        self.log = log


def end_on_signals() -> None:
    """Turn SIGTERM and SIGHUP into an exception, so that we stop our children as after Ctrl-C."""

    def end(*_signal: object) -> None:
        raise Ended

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)


def run(command: Command, log: str, title: str, **options: Any) -> list[str]:
    """Run to the end, with the output in `.dev/log/<log>`. A terminal shows the latest line as a sign of progress.

    :return: the output's lines
    :raise Failed: if the exit code is not 0
    """
    say.step(title)
    lines = []
    with open(paths.LOG / log, "w") as file, _open(command, subprocess.PIPE, errors="replace", **options) as program:
        try:
            for line in program.stdout:
                file.write(line)
                file.flush()
                lines.append(line.rstrip())
                say.progress(lines[-1])
        except BaseException:
            program.terminate()
            raise
    say.progress("")
    if program.returncode:
        raise Failed(lines, paths.LOG / log)
    return lines


def foreground(command: Command, **options: Any) -> int:
    """Hand the terminal to a program and return its exit code. It gets Ctrl-C too, and may take its time to end."""
    with subprocess.Popen([str(part) for part in command], **options) as program:
        while True:
            try:
                return program.wait()
            except Ended:
                program.send_signal(signal.SIGINT)
            except KeyboardInterrupt:
                continue


class Server:
    """A program that runs until we stop it. It does not get our Ctrl-C, and does not outlive us.

    :param name: its name for people
    :param log: the file to which its output is added
    :param ready: an address that answers 200 once the program is ready
    """

    def __init__(
        self, name: str, command: Command, log: Path, ready: str, cwd: Path, environment: dict[str, str] | None = None
    ):
        self.name = name
        self.command = command
        self.log = log
        self.ready = ready
        self.cwd = cwd
        self.environment = environment
        self.process: subprocess.Popen[str] | None = None

    def start(self: Self) -> Self:
        """Start the program, and return once it is ready."""
        self.launch()
        return self.wait()

    def launch(self: Self) -> Self:
        """Start the program without waiting for it."""
        with open(self.log, "a") as log:
            self.process = _open(self.command, log, cwd=self.cwd, env=self.environment, start_new_session=True)
        return self

    def wait(self: Self, timeout: float = 120) -> Self:
        """Wait until the program is ready.

        :raise say.Problem: if it ends, or is not ready in time
        """
        deadline = time.monotonic() + timeout
        while not answers(self.ready):
            if not self.running() or time.monotonic() > deadline:
                self.kill()
                raise say.Problem(f"{self.name} did not start, see {self.log}")
            time.sleep(0.05)
        return self

    def stop(self, timeout: float = 20) -> None:
        """Ask the program to end and wait; kill it if it has not ended after `timeout` seconds."""
        if self.running():
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Kill the program with all of its children."""
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def restart(self: Self) -> Self:
        """Stop the program and start it again."""
        self.stop()
        return self.start()

    def running(self) -> bool:
        """Tell whether the program has been started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def __enter__(self: Self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()


def children(parent: int) -> list[int]:
    """Return the process ids of a process's children (on Linux)."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold any character.
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(status.parent.name))
    return sorted(found)


def is_alive(pid: int) -> bool:
    """Tell whether there is a process of that id, of whatever user."""
    try:
        os.kill(pid, 0)
    except OSError as problem:
        return isinstance(problem, PermissionError)
    return True


def answers(address: str) -> bool:
    """Tell whether an HTTP server answers 200 there."""
    try:
        with urllib.request.urlopen(address, timeout=10) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError):
        return False


def free_port() -> int:
    """Return a TCP port of the loopback interface on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_free(port: int) -> bool:
    """Tell whether we could listen on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
        return True


def _open(command: Command, output: int | TextIO, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=die_with_parent,
        **options,
    )


def die_with_parent() -> None:
    """Have the system end this program when its parent is killed and cannot do so itself (on Linux)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1 is PR_SET_PDEATHSIG
