"""Measures time in a way that depends little on other programs."""

import time

import psutil

from ._odoo import Cursor


class Clock:
    """Measures CPU seconds of this process and its PostgreSQL backend (``cpu``), and seconds on the wall (``wall``).

    It can be entered several times, and then adds up.

    On an otherwise idle machine both are about the same, since the two processes wait for each other. On a busy one
    only ``cpu`` counts.
    """

    def __init__(self, cr: Cursor):
        cr.execute("SELECT pg_backend_pid()")
        self._backend = psutil.Process(cr.fetchone()[0])
        self.cpu = self.python = self.wall = 0.0

    def __enter__(self) -> "Clock":
        self._start = self._now()
        return self

    def __exit__(self, *_exception: object) -> None:
        cpu, python, wall = (end - start for start, end in zip(self._start, self._now(), strict=True))
        self.cpu, self.python, self.wall = self.cpu + cpu, self.python + python, self.wall + wall

    def _now(self) -> tuple[float, float, float]:
        backend = self._backend.cpu_times()
        python = time.process_time()
        return python + backend.user + backend.system, python, time.perf_counter()
