"""Event webhooks: batch, sign, POST, try again (Twilio docs: Event Webhook overview and getting started).

SendGrid promises neither order nor once-only delivery, and publishes no retry intervals. Here: a failed POST is
repeated with the same body, timestamp and signature, at intervals that double up to 30 s, for 24 hours; meanwhile
new events go out in POSTs of their own. Any 2xx is success; redirects are not followed.
"""

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox import keys
from sandbox.events import again
from sandbox.message import Event

MAX_BATCH_BYTES = 768 * 1024
MAX_INTERVAL = 30.0
RETRY_SECONDS = 24 * 3600
TIMEOUT_SECONDS = 10
PARALLEL_POSTS = 4
KEPT_POSTS = 1000

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def wire_object(event: dict) -> bytes:
    """One event: compact JSON, raw UTF-8 but for `<`, `>`, `&` (and lone surrogates, which UTF-8 cannot hold)."""
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)
    return text.encode("utf-8", "backslashreplace")


def wire_body(objects: list[bytes]) -> bytes:
    """The bytes of one POST: an array with CRLF between its elements and at the end."""
    return b"[" + b",\r\n".join(objects) + b"]\r\n"


@dataclass
class Post:
    """One POST that was made. `status` is None where no answer came; then `error` says why."""

    id: int
    time: float
    url: str
    attempt: int
    events: int
    bytes: int
    status: int | None
    error: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Batch:
    """Events that are posted together, signed once."""

    def __init__(self, events: list[Event], body: bytes, timestamp: str, signature: str):
        self.events = events
        self.body = body
        self.headers = {
            "User-Agent": "SendGrid Event API",
            "Content-Type": "application/json;charset=utf-8",
            "Accept-Encoding": "gzip",
            "X-Twilio-Email-Event-Webhook-Signature": signature,
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }
        self.made = time.monotonic()
        self.attempts = 0
        self.retry_now = asyncio.Event()
        self.tried = asyncio.Event()

    def mark(self, outcome: str) -> None:
        for event in self.events:
            event.outcome = outcome


class Webhook:
    """The queue of events and the POSTs made from it. Without a URL events are not sent and not kept for later."""

    def __init__(
        self, key: ec.EllipticCurvePrivateKey, url: str | None, flush_seconds: float, changed: Callable[[], None]
    ):
        self.key = key
        self._first_url = url or None
        self._first_flush_seconds = flush_seconds
        self.reset()
        self.posts: deque[Post] = deque(maxlen=KEPT_POSTS)
        self.post_count = 0
        self._changed = changed
        self._pending: list[tuple[Event, bytes]] = []
        self._pending_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._open: dict[Batch, asyncio.Task] = {}
        self._parallel = asyncio.Semaphore(PARALLEL_POSTS)
        self._session: aiohttp.ClientSession | None = None

    def reset(self) -> None:
        """The settings of the start."""
        self.url = self._first_url
        self.flush_seconds = self._first_flush_seconds
        self.hold = False
        self.shuffle = False
        self.duplicate = False
        self.max_events: int | None = None

    # --- the queue

    def add(self, event: Event) -> None:
        if not self.url:
            event.outcome = "lost"
            return
        data = wire_object(event.wire)
        self._pending.append((event, data))
        self._pending_bytes += len(data) + 3
        if self._pending_bytes >= MAX_BATCH_BYTES:
            self._send_pending()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.flush_seconds, self._send_pending)

    def _send_pending(self, force: bool = False) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._pending and (force or not self.hold):
            pending, self._pending, self._pending_bytes = self._pending, [], 0
            for some in self._batches(self._mixed(pending)):
                batch = self._signed(some)
                self._open[batch] = asyncio.get_running_loop().create_task(self._deliver(batch))

    def _mixed(self, pending: list[tuple[Event, bytes]]) -> list[tuple[Event, bytes]]:
        if self.duplicate:
            pending = pending + [(event, wire_object(again(event.wire))) for event, _ in pending]
        if self.shuffle:
            pending = random.sample(pending, len(pending))
        return pending

    def _batches(self, pending: list[tuple[Event, bytes]]):
        some: list[tuple[Event, bytes]] = []
        size = 0
        for event, data in pending:
            if some and (size + len(data) > MAX_BATCH_BYTES or len(some) == self.max_events):
                yield some
                some, size = [], 0
            some.append((event, data))
            size += len(data) + 3
        yield some

    def _signed(self, some: list[tuple[Event, bytes]]) -> Batch:
        body = wire_body([data for _, data in some])
        timestamp = str(int(time.time()))
        return Batch([event for event, _ in some], body, timestamp, keys.sign(self.key, timestamp, body))

    # --- the POSTs

    async def _deliver(self, batch: Batch) -> None:
        interval = max(self.flush_seconds, 0.1)
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
            self._changed()

    async def _attempt(self, batch: Batch) -> bool:
        """POST once; True when nothing more is to be done."""
        url = self.url
        if url is None or time.monotonic() - batch.made > RETRY_SECONDS:
            batch.mark("lost")
            return True
        async with self._parallel:
            batch.attempts += 1
            began = time.time()
            status, error = await self._post(url, batch)
        self.post_count += 1
        post = Post(
            self.post_count, began, url, batch.attempts, len(batch.events), len(batch.body), status, error,
            round(time.time() - began, 3),
        )  # fmt: skip
        self.posts.append(post)
        batch.mark("delivered" if post.ok else "failing")
        self._changed()
        return post.ok

    async def _post(self, url: str, batch: Batch) -> tuple[int | None, str]:
        try:
            async with self._client().post(
                url, data=batch.body, headers=batch.headers, skip_auto_headers=["Accept"], allow_redirects=False
            ) as response:
                if 200 <= response.status < 300:
                    return response.status, ""
                answer = (await response.content.read(300)).decode("utf-8", "replace").strip()
                return response.status, answer or str(response.reason or "")
        except asyncio.TimeoutError:
            return None, f"no answer within {TIMEOUT_SECONDS} seconds"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return None, str(error) or type(error).__name__

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        return self._session

    # --- control

    def set(self, **settings) -> None:
        """Change `url`, `hold`, `shuffle`, `duplicate`, `max_events`, `flush_seconds`. What waits for a retry is
        tried again at once when the URL changes."""
        for name, value in settings.items():
            setattr(self, name, value)
        if "url" in settings:
            self.url = self.url or None
            self._retry_now()
        if not self.hold:
            self._send_pending()
        self._changed()

    async def flush(self) -> list[Post]:
        """Send what is pending, also when held, and retry what failed, now. The POSTs made meanwhile."""
        before = self.post_count
        self._send_pending(force=True)
        batches = list(self._open)
        for batch in batches:
            batch.tried.clear()
        self._retry_now()
        await asyncio.gather(*(batch.tried.wait() for batch in batches))
        return [post for post in self.posts if post.id > before]

    def _retry_now(self) -> None:
        for batch in self._open:
            batch.retry_now.set()

    def clear(self) -> None:
        """Forget everything that waits, and the list of POSTs."""
        self._pending, self._pending_bytes = [], 0
        for batch, task in self._open.items():
            task.cancel()
            batch.tried.set()
        self._open.clear()
        self.posts.clear()
        self._changed()

    async def close(self) -> None:
        tasks = list(self._open.values())
        self.clear()
        if self._timer:
            self._timer.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session:
            await self._session.close()

    def summary(self) -> dict:
        """State for people and tests. `failing` is why the last POST that failed was refused, while any waits."""
        retrying = [batch for batch in self._open if batch.attempts and batch.events[0].outcome == "failing"]
        failed = next((post for post in reversed(self.posts) if not post.ok), None) if retrying else None
        last = self.posts[-1] if self.posts else None
        return {
            "url": self.url,
            "hold": self.hold,
            "shuffle": self.shuffle,
            "duplicate": self.duplicate,
            "max_events": self.max_events,
            "flush_seconds": self.flush_seconds,
            "pending": len(self._pending),
            "retrying": sum(len(batch.events) for batch in retrying),
            "failing": f"{failed.status or 'no answer'}: {failed.error}" if failed else "",
            "last": asdict(last) if last else None,
            "posts": self.post_count,
        }
