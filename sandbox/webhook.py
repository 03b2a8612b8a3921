"""One event webhook: it batches events, signs them, POSTs them and tries again.

Source: Twilio docs, Event Webhook overview and getting started. SendGrid promises neither order nor once-only delivery,
and publishes no retry intervals. This one repeats a failed POST with the same body, timestamp and signature, at
intervals that double up to 30 s, for 24 hours; new events go out meanwhile in POSTs of their own.
"""

import asyncio
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from sandbox import keys
from sandbox.events import again
from sandbox.message import Event
from sandbox.poster import Poster

MAX_BATCH_BYTES = 768 * 1024
MAX_INTERVAL = 30.0
RETRY_SECONDS = 24 * 3600
PARALLEL_POSTS = 4

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def wire_object(event: dict) -> bytes:
    """Return one event as compact JSON in UTF-8, with `<`, `>`, `&` escaped (and lone surrogates: not UTF-8)."""
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)
    return text.encode("utf-8", "backslashreplace")


def wire_body(objects: list[bytes]) -> bytes:
    """Return the body of one POST: an array with CRLF between its elements and at the end."""
    return b"[" + b",\r\n".join(objects) + b"]\r\n"


def wire_headers(key: ec.EllipticCurvePrivateKey | None, body: bytes) -> dict[str, str]:
    """Return the headers of a POST of `body`, signed now; without a key they carry no signature."""
    headers = {
        "User-Agent": "SendGrid Event API",
        "Content-Type": "application/json;charset=utf-8",
        "Accept-Encoding": "gzip",
    }
    if key:
        timestamp = str(int(time.time()))
        headers["X-Twilio-Email-Event-Webhook-Signature"] = keys.sign(key, timestamp, body)
        headers["X-Twilio-Email-Event-Webhook-Timestamp"] = timestamp
    return headers


@dataclass
class Conduct:
    """The settings of sending that all webhooks share."""

    flush_seconds: float
    hold: bool = False
    shuffle: bool = False
    duplicate: bool = False
    max_events: int | None = None


class Batch:
    """Events that are posted together and signed once."""

    def __init__(self, events: list[Event], body: bytes, headers: dict[str, str]):
        self.events = events
        self.body = body
        self.headers = headers
        self.made = time.monotonic()
        self.attempts = 0
        self.retry_now = asyncio.Event()
        self.tried = asyncio.Event()

    def mark(self, outcome: str) -> None:
        """Note an outcome of all events."""
        for event in self.events:
            event.outcome = outcome


class Webhook:
    """A queue of events and the POSTs made from it. Without a URL it sends nothing and keeps nothing for later."""

    def __init__(self, poster: Poster, conduct: Conduct, key: ec.EllipticCurvePrivateKey | None, url: str | None):
        self.key = key
        self.url = url or None
        self.conduct = conduct
        self._poster = poster
        self._pending: list[tuple[Event, bytes]] = []
        self._pending_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._open: dict[Batch, asyncio.Task] = {}
        self._parallel = asyncio.Semaphore(PARALLEL_POSTS)

    # --- the queue

    def add(self, event: Event) -> None:
        """Queue an event. A full batch is sent at once, another after `flush_seconds`."""
        data = wire_object(event.wire)
        self._pending.append((event, data))
        self._pending_bytes += len(data) + 3
        if self._pending_bytes >= MAX_BATCH_BYTES:
            self.send_pending()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.conduct.flush_seconds, self.send_pending)

    def send_pending(self, force: bool = False) -> None:
        """Send the events that wait for others, unless they are held; with `force` in any case."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._pending and (force or not self.conduct.hold):
            pending, self._pending, self._pending_bytes = self._pending, [], 0
            for some in self._batches(self._mixed(pending)):
                body = wire_body([data for _, data in some])
                batch = Batch([event for event, _ in some], body, wire_headers(self.key, body))
                self._open[batch] = asyncio.get_running_loop().create_task(self._deliver(batch))

    def _mixed(self, pending: list[tuple[Event, bytes]]) -> list[tuple[Event, bytes]]:
        if self.conduct.duplicate:
            pending = pending + [(event, wire_object(again(event.wire))) for event, _ in pending]
        if self.conduct.shuffle:
            pending = random.sample(pending, len(pending))
        return pending

    def _batches(self, pending: list[tuple[Event, bytes]]) -> Iterator[list[tuple[Event, bytes]]]:
        some: list[tuple[Event, bytes]] = []
        size = 0
        for event, data in pending:
            if some and (size + len(data) > MAX_BATCH_BYTES or len(some) == self.conduct.max_events):
                yield some
                some, size = [], 0
            some.append((event, data))
            size += len(data) + 3
        yield some

    # --- the POSTs

    async def _deliver(self, batch: Batch) -> None:
        interval = max(self.conduct.flush_seconds, 0.1)
        try:
            while not await self._attempt(batch):
                batch.retry_now.clear()
                batch.tried.set()
                try:
                    await asyncio.wait_for(batch.retry_now.wait(), interval)
                except asyncio.TimeoutError:
                    interval = min(interval * 2, MAX_INTERVAL)
        finally:
            self._open.pop(batch, None)
            batch.tried.set()

    async def _attempt(self, batch: Batch) -> bool:
        """POST once. Return True if nothing more is to be done with the batch."""
        url = self.url
        if url is None or time.monotonic() - batch.made > RETRY_SECONDS:
            batch.mark("lost")
            return True
        async with self._parallel:
            post = await self._poster.post(url, batch.body, batch.headers, len(batch.events), batch.attempts + 1)
        batch.attempts += 1
        batch.mark("delivered" if post.ok else "failing")
        return post.ok

    # --- control

    def move(self, url: str | None) -> None:
        """Send to another URL from now on, and retry there at once. With None, send and keep nothing any more."""
        self.url = url or None
        self.retry_now()

    async def flush(self) -> None:
        """Send the pending events, also held ones, and retry the failed ones now. Return when all have been tried."""
        self.send_pending(force=True)
        batches = list(self._open)
        for batch in batches:
            batch.tried.clear()
        self.retry_now()
        await asyncio.gather(*(batch.tried.wait() for batch in batches))

    def retry_now(self) -> None:
        """Retry all failed batches now, without waiting for the result."""
        for batch in self._open:
            batch.retry_now.set()

    def clear(self) -> None:
        """Forget all events that wait."""
        self._pending, self._pending_bytes = [], 0
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for batch, task in self._open.items():
            task.cancel()
            batch.tried.set()
        self._open.clear()

    async def close(self) -> None:
        """Stop all POSTs and forget the events that wait."""
        tasks = list(self._open.values())
        self.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def pending(self) -> int:
        """The number of events that wait for their first POST."""
        return len(self._pending)

    @property
    def retrying(self) -> int:
        """The number of events that failed and wait for the next try."""
        return sum(len(batch.events) for batch in self._open if batch.attempts)
