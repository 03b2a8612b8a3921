"""Running other programs: to their end, in the foreground, or in the background until we stop them."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import paths, say


class Ended(KeyboardInterrupt):
    """We were asked to end by a signal other than Ctrl-C's, which our children did not get."""


class Failed(Exception):
    """A program's exit code was not 0."""

    def __init__(self, lines, log):
        super().__init__(f"see {log}")
        self.lines = lines or ["no reason given"]
        self.log = log


def end_on_signals():
    """Leave in order (what we started is stopped) when we are ended, as on Ctrl-C."""

    def end(*_signal):
        raise Ended

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)


def run(command, log, title, **options):
    """Run to the end, with the output in `.dev/log/<log>`; on a terminal its latest line shows that it goes on.

    :return: the output's lines
    :raise Failed: when the exit code is not 0
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


def foreground(command, **options):
    """Hand the terminal to a program and return its exit code. It gets Ctrl-C as we do, and may take its time."""
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

    :param name: what it is, for people
    :param log: where its output is added
    :param ready: an address that answers 200 once it is ready
    """

    def __init__(self, name, command, log, ready, cwd, environment=None):
        self.name = name
        self.command = command
        self.log = log
        self.ready = ready
        self.cwd = cwd
        self.environment = environment
        self.process = None

    def start(self):
        """Start, and return when it is ready."""
        self.launch()
        return self.wait()

    def launch(self):
        """Start without waiting."""
        with open(self.log, "a") as log:
            self.process = _open(self.command, log, cwd=self.cwd, env=self.environment, start_new_session=True)
        return self

    def wait(self, timeout=120):
        """Wait until it is ready."""
        deadline = time.monotonic() + timeout
        while not answers(self.ready):
            if not self.running() or time.monotonic() > deadline:
                self.kill()
                raise say.Problem(f"{self.name} did not start, see {self.log}")
            time.sleep(0.05)
        return self

    def stop(self, timeout=20):
        """Ask it to end and wait; kill it when it does not listen."""
        if self.running():
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self):
        """End it the hard way, with all of its children."""
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def restart(self):
        """Stop and start."""
        self.stop()
        return self.start()

    def running(self):
        """Whether it has been started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.stop()


def children(parent):
    """The process ids of a process's children (on Linux)."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold anything.
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(status.parent.name))
    return sorted(found)


def is_alive(pid):
    """Whether there is a process of that id, whoever's it is."""
    try:
        os.kill(pid, 0)
    except OSError as problem:
        return isinstance(problem, PermissionError)
    return True


def answers(address):
    """Whether an HTTP server answers 200 there."""
    try:
        with urllib.request.urlopen(address, timeout=10) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError):
        return False


def free_port():
    """A TCP port on the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_free(port):
    """Whether we could listen on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
        return True


def _open(command, output, **options):
    return subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=die_with_parent,
        **options,
    )


def die_with_parent():
    """On Linux, have the system end the program when we are killed and cannot do it ourselves."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1 is PR_SET_PDEATHSIG
