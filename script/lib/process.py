"""Running other programs: short ones to their end, with a line that shows progress; long ones until we stop them."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from . import paths, say


def run(command, log, title=None, **options):
    """Run to the end with all output in `.dev/log/<log>`. On a terminal, its latest line is shown while it works.

    :return: the output's lines; :raise Failed: with them when the exit code is not 0
    """
    if title:
        say.step(title)
    lines = []
    with (
        open(paths.LOG / log, "w") as file,
        subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            **options,
        ) as process,
    ):
        for line in process.stdout:
            file.write(line)
            file.flush()
            lines.append(line.rstrip())
            _show(lines[-1])
    _show("")
    if process.returncode:
        raise Failed(command, lines, paths.LOG / log)
    return lines


class Failed(Exception):
    """A program's exit code was not 0."""

    def __init__(self, command, lines, log):
        super().__init__(f"{os.path.basename(str(command[0]))} failed, see {log}")
        self.lines = lines
        self.log = log


def _show(line):
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\033[K{line[:width]}", end="", flush=True)


class Server:
    """A program that runs until we stop it. It gets no Ctrl-C of its own, and ends when we die.

    :param ready: an address that answers 200 once the program is ready
    """

    def __init__(self, name, command, log, ready, environment=None):
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        self.ready = ready
        self.environment = environment
        self.process = None

    def start(self, timeout=120):
        """Start, and return when it answers."""
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=paths.ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        deadline = time.monotonic() + timeout
        try:
            while not answers(self.ready):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise say.Problem(f"{self.name} did not start, see {self.log}")
                time.sleep(0.1)
        except BaseException:
            self.kill()
            raise
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
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def restart(self):
        """Stop and start."""
        self.stop()
        return self.start()

    def running(self):
        """Whether the program has been started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.stop()


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


def require_port(port, purpose, variable):
    """Complain in one line when somebody listens on a port that we are going to use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise say.Problem(
                f"Port {port} ({purpose}) is in use; stop what uses it, or set {variable} to another one."
            ) from None


def _die_with_parent():
    """Linux only: have the system stop the program when we are killed and cannot do it ourselves."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1 is PR_SET_PDEATHSIG
    except (AttributeError, OSError):
        pass
