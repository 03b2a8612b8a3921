"""Measures the CPU time of sending 2,000 mails through an SMTP server that accepts everything.

It compares Odoo without the addon, with it, and with OCA's mail_tracking instead. With the addon the level is decided
for each recipient: by the word of some addresses, and by the countries of the others. Each has a process and a database
of its own and runs in many short turns; the medians are compared.
"""

import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator

from script.lib import paths, process

from . import _oca, _odoo, _report

MAILS, ROUNDS, LIMIT = 2_000, 20, 1.15


@contextlib.contextmanager
def null_smtp() -> Iterator[int]:
    """Run an SMTP server that accepts everything in a process of its own, and give its port."""
    port = process.free_port()
    program = (
        "import signal, sys; from aiosmtpd.controller import Controller; from aiosmtpd.handlers import Sink; "
        "Controller(Sink(), hostname='127.0.0.1', port=int(sys.argv[1])).start(); print('ready', flush=True); "
        "signal.pause()"
    )
    with subprocess.Popen(
        [paths.VENV_PYTHON, "-c", program, str(port)], stdout=subprocess.PIPE, preexec_fn=process.die_with_parent
    ) as server:
        server.stdout.readline()
        try:
            yield port
        finally:
            server.kill()


@contextlib.contextmanager
def sender(
    with_addon: bool, modules: list[str], addons_path: str, port: int, count: int
) -> Iterator[Callable[[], float]]:
    """Give a function that sends a round on a fresh database and returns its CPU seconds."""
    with _odoo.fresh_database(*modules, with_addon=with_addon, addons_path=addons_path) as name:
        # The path begins with a dash, and must not be read as an option.
        command = [paths.VENV_PYTHON, "-m", "benchmarks._send_once", "--", name, addons_path, str(port), str(count)]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, cwd=paths.ROOT, stdin=pipe, stdout=pipe, text=True, preexec_fn=process.die_with_parent
        ) as program:

            def send() -> float:
                program.stdin.write("\n")
                program.stdin.flush()
                return json.loads(program.stdout.readline())

            program.stdout.readline()
            try:
                yield send
            finally:
                program.stdin.close()


def measure(scale: float) -> list[_report.Row]:
    """Return the rows of the table."""
    _oca.ensure()
    count = max(int(MAILS * scale), 100)
    kinds = {
        "without": (False, [], _odoo.ADDONS_PATH),
        "with": (True, [], _odoo.ADDONS_PATH),
        "oca": (False, [_oca.TRACKING], _oca.ADDONS_PATH),
    }
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(null_smtp())
        senders = {
            kind: stack.enter_context(sender(with_addon, modules, addons_path, port, count // ROUNDS))
            for kind, (with_addon, modules, addons_path) in kinds.items()
        }
        # In short turns, other programs disturb the processor's caches and pace for all of them alike.
        rounds = [{kind: send() for kind, send in senders.items()} for _round in range(ROUNDS)]
    without, ours, oca = (
        ROUNDS * statistics.median(one[kind] for one in rounds) for kind in ("without", "with", "oca")
    )
    return [
        _report.at_most("send, beside Odoo without", ours, without, LIMIT, "s CPU", f"{count} mails"),
        _report.at_most(
            "send, beside OCA's mail_tracking", ours, oca, 1, "s CPU", f"OCA's is {oca / without:.2f} of without"
        ),
    ]


if __name__ == "__main__":
    sys.exit(_report.run(measure, __doc__))
