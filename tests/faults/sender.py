"""SendGrid's side of the webhook: it repeats a POST, for as long as it takes, until it is answered 2xx."""

import contextlib
import queue
import threading
import time

import requests
from harness import wire

from script.lib import say

PATIENCE = 180  # seconds


class Sender:
    """Posts batches of events from several threads, each until it is answered 2xx, and a tenth of them twice."""

    def __init__(self, webhook, make_events, chance, clients=4):
        self.webhook = webhook
        self.make_events = make_events
        self.chance = chance
        self.events = []
        self.answers = []  # status codes; None: the connection broke
        self.taken = 0
        self._bodies = queue.Queue(maxsize=2 * clients)
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(clients)]
        self._threads.append(threading.Thread(target=self._make, daemon=True))
        self._ends = threading.Event()
        self._clients = clients
        self.problem = None

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.finish()

    def finish(self):
        """Make no more events, and wait until all are answered 2xx."""
        self._ends.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "posts are not taken"
        if self.problem:
            raise self.problem

    def _make(self):
        while not self._ends.is_set():
            events = self.make_events()
            body = wire(events)
            for _ in range(2 if self.chance.random() < 0.1 else 1):
                self._bodies.put(body)
            self.events += events
        for _ in range(self._clients):
            self._bodies.put(None)

    def _send(self):
        try:
            while (body := self._bodies.get()) is not None:
                while not self._post(body):
                    time.sleep(0.1)  # SendGrid waits for minutes here
                self.taken += 1
        except Exception as problem:  # raised again in the thread that waits for us
            self.problem = problem

    def _post(self, body):
        try:
            status = self.webhook.post(body).status_code
        except requests.RequestException:
            status = None
        self.answers.append(status)
        return status is not None and 200 <= status < 300


def keep_running(server):
    """Start Odoo again after it ended, as systemd does: with several processes it ends if it misses its database."""
    if not server.running():
        with contextlib.suppress(say.Problem):  # the next call tries again
            server.start()
