"""Time that depends little on the neighbours."""

import time

import psutil


class Clock:
    """CPU seconds of this process and of its PostgreSQL backend, and seconds on the wall.

    On a machine of one's own ``cpu`` is about ``wall``: the two wait for each other. On a busy one only ``cpu`` counts.
    """

    def __init__(self, cr):
        cr.execute("SELECT pg_backend_pid()")
        self._backend = psutil.Process(cr.fetchone()[0])

    def __enter__(self):
        self._start = self._now()
        return self

    def __exit__(self, *_exception):
        self.cpu, self.python, self.wall = (end - start for start, end in zip(self._start, self._now(), strict=True))

    def _now(self):
        backend = self._backend.cpu_times()
        python = time.process_time()
        return python + backend.user + backend.system, python, time.perf_counter()
