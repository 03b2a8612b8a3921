"""All event webhooks: the one of the command line, and those configured through the API (`v3/webhooks.py`)."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec

from sandbox import events, keys
from sandbox.message import Event
from sandbox.poster import Post, Poster
from sandbox.webhook import Conduct, Webhook, wire_body, wire_headers, wire_object

FLAGS = {"spam_report" if name == "spamreport" else name: name for name in events.NAMES}
"""The wire name of the event behind each setting."""
MAX_ALLOWED = 5
"""The number of webhooks that a Pro plan allows; disabled ones count."""


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(eq=False)
class Configured:
    """A webhook of the API. `settings` holds `url`, `enabled`, `friendly_name`, the flags and the OAuth fields."""

    settings: dict
    webhook: Webhook
    id: str = field(default_factory=lambda: str(uuid4()))
    created: str = field(default_factory=_now)
    updated: str = field(default_factory=_now)

    def change(self, settings: dict) -> None:
        """Change settings; a new URL gets at once what failed at the old one."""
        self.settings |= settings
        self.updated = _now()
        self.webhook.move(self.settings["url"] if self.settings["enabled"] else None)

    def sign(self, enabled: bool) -> None:
        """Switch signing: off deletes the pair of keys; on makes one, unless there is one."""
        if not enabled:
            self.webhook.key = None
        elif self.webhook.key is None:
            self.webhook.key = keys.generate()

    @property
    def public_key(self) -> str:
        """The verification key as SendGrid shows it; "" if the webhook does not sign."""
        return keys.public_text(self.webhook.key) if self.webhook.key else ""

    def wants(self, event: Event) -> bool:
        """Tell whether the webhook is on and its settings include this kind of event. Unknown kinds are included."""
        flag = next((flag for flag, name in FLAGS.items() if name == event.wire.get("event")), None)
        return self.settings["enabled"] and (flag is None or self.settings[flag])


class Webhooks:
    """All webhooks, which share one conduct and one list of POSTs."""

    def __init__(
        self, key: ec.EllipticCurvePrivateKey, url: str | None, flush_seconds: float, changed: Callable[[], None]
    ):
        self._changed = changed
        self._start = (url or None, flush_seconds)
        self._poster = Poster(changed)
        self._tests: set[asyncio.Task] = set()
        self.conduct = Conduct(flush_seconds)
        self.configured: dict[str, Configured] = {}
        self.max_allowed = MAX_ALLOWED
        self.main = Webhook(self._poster, self.conduct, key, url)
        """The webhook of the command line."""
        self._connected = False

    @property
    def posts(self) -> list[Post]:
        """The last POSTs of all webhooks, oldest first."""
        return list(self._poster.posts)

    def _all(self) -> list[Webhook]:
        return [self.main, *(one.webhook for one in self.configured.values())]

    def add(self, event: Event) -> None:
        """Give an event to every webhook that wants it."""
        takers = [one.webhook for one in self.configured.values() if one.wants(event)]
        if self.main.url:
            takers.append(self.main)
        if not takers:
            event.outcome = "lost"
        for webhook in takers:
            webhook.add(event)

    # --- webhooks of the API

    def configure(self, settings: dict) -> Configured:
        """Add a webhook of the API and return it."""
        one = Configured({}, Webhook(self._poster, self.conduct, None, None))
        self.configured[one.id] = one
        self.change(one, settings)
        return one

    def connect(self) -> None:
        """Show the webhook of the command line among those of the API, as if somebody had set it up there."""
        url, _flush_seconds = self._start
        self._connected = True
        self.main.move(None)
        one = self.configure({"url": url, "enabled": True, "friendly_name": None, **dict.fromkeys(FLAGS, True)})
        one.webhook.key = self.main.key

    def change(self, one: Configured, settings: dict) -> None:
        """Change settings of a webhook of the API."""
        one.change(settings)
        self._changed()

    def remove(self, one: Configured) -> None:
        """Remove a webhook of the API, with the events that wait for it."""
        one.webhook.clear()
        del self.configured[one.id]
        self._changed()

    def post_test(self, url: str, key: ec.EllipticCurvePrivateKey | None) -> None:
        """POST the sample of all events once, without waiting for the answer."""
        body = wire_body([wire_object(event) for event in events.sample()])
        post = self._poster.post(url, body, wire_headers(key, body), len(events.sample()))
        task = asyncio.get_running_loop().create_task(post)
        self._tests.add(task)
        task.add_done_callback(self._tests.discard)

    # --- control

    def set(self, **settings: object) -> None:
        """Change the `url` of the command line's webhook, and the conduct of all webhooks."""
        if "url" in settings:
            self.main.move(settings.pop("url"))
        for name, value in settings.items():
            setattr(self.conduct, name, value)
        if not self.conduct.hold:
            for webhook in self._all():
                webhook.send_pending()
        self._changed()

    async def flush(self) -> list[Post]:
        """Send the pending events, also held ones, and retry the failed ones now. Return the POSTs made meanwhile."""
        before = self._poster.count
        await asyncio.gather(*(webhook.flush() for webhook in self._all()), *self._tests)
        self._changed()
        return [post for post in self.posts if post.id > before]

    def clear(self) -> None:
        """Forget all events that wait, and the list of POSTs."""
        for webhook in self._all():
            webhook.clear()
        self._poster.posts.clear()
        self._changed()

    def reset(self) -> None:
        """Return to the settings at the start, without a webhook of the API but the one that was shown there."""
        self.clear()
        self.configured.clear()
        self.max_allowed = MAX_ALLOWED
        url, flush_seconds = self._start
        vars(self.conduct).update(asdict(Conduct(flush_seconds)))
        self.main.move(url)
        if self._connected:
            self.connect()

    async def close(self) -> None:
        """Stop all POSTs and close the connections."""
        for task in self._tests:
            task.cancel()
        await asyncio.gather(*(webhook.close() for webhook in self._all()), *self._tests, return_exceptions=True)
        await self._poster.close()

    def summary(self) -> dict:
        """Return the state for people and tests. While failed events wait, `failing` says why the last POST failed."""
        retrying = sum(webhook.retrying for webhook in self._all())
        posts = self._poster.posts
        failed = next((post for post in reversed(posts) if not post.ok), None) if retrying else None
        return {
            "url": self.main.url,
            "urls": [webhook.url for webhook in self._all() if webhook.url],
            **asdict(self.conduct),
            "pending": sum(webhook.pending for webhook in self._all()),
            "retrying": retrying,
            "failing": f"{failed.status or 'no answer'}: {failed.error}" if failed else "",
            "last": asdict(posts[-1]) if posts else None,
            "posts": self._poster.count,
        }
