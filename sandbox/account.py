"""The SendGrid account behind the API: keys, tracking settings, suppressions, and what tests do to its API."""

import dataclasses
import time
from collections import deque
from dataclasses import dataclass, field

from sandbox import scopes
from sandbox.smtpapi import Options
from sandbox.suppressions import Suppressions

KEPT_CALLS = 1000
LIMIT_SECONDS = 60
"""The window of a rate limit."""


@dataclass
class Call:
    """A call of the API as it came, without its key. `body` is None where it was empty, no JSON, or large."""

    time: float
    method: str
    path: str
    query: dict
    subuser: str
    body: object = None
    status: int | None = None
    """None: no answer was given."""


@dataclass
class Fault:
    """What happens to the next `times` calls of a method ("" = any) whose path begins with `path`.

    `action`: `status` answers `status`; `hang` answers nothing for `seconds`; `cut` breaks the connection. With
    `after`, SendGrid does what was asked before that.
    """

    path: str
    method: str = ""
    times: int = 1
    action: str = "status"
    status: int = 500
    reset: float = 1
    """Seconds until the limit of a 429 is lifted."""
    seconds: float = 60
    after: bool = False
    message: str = ""
    """SendGrid's words in the answer."""

    def meets(self, method: str, path: str) -> bool:
        return self.times > 0 and self.method in ("", method) and path.startswith(self.path)


@dataclass
class Window:
    """The calls counted against a limit until `reset` (Unix seconds)."""

    limit: int
    reset: int
    count: int = 0


@dataclass
class Account:
    first_key: str
    keys: dict[str, set[str]] = field(init=False)
    """From an API key to its scopes."""
    suppressions: Suppressions = field(default_factory=Suppressions)
    calls: deque[Call] = field(default_factory=lambda: deque(maxlen=KEPT_CALLS))
    faults: list[Fault] = field(default_factory=list)
    tracking: Options = field(default_factory=Options)
    """What holds where a message does not say otherwise."""
    landing: dict[str, str] = field(default_factory=lambda: {"landing": "", "url": ""})
    """The page after an unsubscription; only remembered."""
    windows: dict[tuple, Window] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = {self.first_key: set(scopes.ALL)}

    def track(self, **settings: bool | str) -> None:
        self.tracking = dataclasses.replace(self.tracking, **settings)

    def fault(self, method: str, path: str) -> Fault | None:
        """The fault that this call meets; it counts as met."""
        for fault in self.faults:
            if fault.meets(method, path):
                fault.times -= 1
                return fault
        return None

    def count(self, bucket: tuple, limit: int) -> Window:
        """Count a call against a limit; over it when `count` is more than `limit`."""
        now = int(time.time())
        window = self.windows.get(bucket)
        if window is None or window.reset <= now:
            window = self.windows[bucket] = Window(limit, now + LIMIT_SECONDS)
        window.count += 1
        return window
