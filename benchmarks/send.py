"""The CPU time of sending 2,000 mails through an SMTP server that takes everything.

Without the addon, with it, and with OCA's mail_tracking instead: each in processes and databases of its own, in turns;
the medians are compared.
"""

import contextlib
import json
import statistics
import subprocess
import sys

from script.lib import database, paths, process

from . import _oca, _odoo, _report

MAILS, ROUNDS, LIMIT = 2_000, 3, 1.2


@contextlib.contextmanager
def null_smtp():
    """The port of an SMTP server that takes everything, in a process of its own."""
    port = process.free_port()
    program = (
        "import sys, time; from aiosmtpd.controller import Controller; from aiosmtpd.handlers import Sink; "
        "Controller(Sink(), hostname='127.0.0.1', port=int(sys.argv[1])).start(); print('ready', flush=True); "
        "time.sleep(86400)"
    )
    with subprocess.Popen(
        [paths.VENV_PYTHON, "-c", program, str(port)], stdout=subprocess.PIPE, preexec_fn=process.die_with_parent
    ) as server:
        server.stdout.readline()
        try:
            yield port
        finally:
            server.kill()


def send(with_addon, modules, addons_path, port, count):
    """The CPU seconds of one round on a fresh database."""
    with database.for_tests(with_addon) as name:
        if modules:
            database.run_odoo(name, f"Installing {modules} …", addons_path, f"--init={modules}")
        command = [paths.VENV_PYTHON, "-m", "benchmarks._send_once", name, addons_path, str(port), str(count)]
        # Its path begins with a dash: not an option of ours.
        command[4:4] = ["--"]
        done = subprocess.run(command, cwd=paths.ROOT, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])


def measure(scale):
    """The rows of the table."""
    _oca.ensure()
    count = max(int(MAILS * scale), 100)
    kinds = {
        "without": (False, "", _odoo.ADDONS_PATH),
        "with": (True, "", _odoo.ADDONS_PATH),
        "oca": (False, _oca.TRACKING, _oca.ADDONS_PATH),
    }
    seconds = {kind: [] for kind in kinds}
    with null_smtp() as port:
        for _round in range(ROUNDS if scale >= 1 else 1):
            for kind, (with_addon, modules, addons_path) in kinds.items():
                seconds[kind].append(send(with_addon, modules, addons_path, port, count))
    without, ours, oca = (statistics.median(seconds[kind]) for kind in ("without", "with", "oca"))
    return [
        _report.at_most("send, beside Odoo without", ours, without, LIMIT, "s CPU", f"{count} mails"),
        _report.at_most(
            "send, beside OCA's mail_tracking", ours, oca, 1, "s CPU", f"OCA's is {oca / without:.2f} of without"
        ),
    ]


if __name__ == "__main__":
    sys.exit(_report.run(measure, __doc__))
