"""The SendGrid account behind the API: keys, tracking settings, suppressions, faults, and the calls that it noted."""

import dataclasses
import time
from collections import deque
from dataclasses import dataclass, field

from sandbox import scopes
from sandbox.smtpapi import Options
from sandbox.suppressions import Suppressions

KEPT_CALLS = 1000
LIMIT_SECONDS = 60
"""Seconds after which the count of a rate limit begins anew."""


@dataclass
class Call:
    """A noted call of the API, without its API key. `body` is None if it was empty, not JSON, or too large to keep."""

    time: float
    method: str
    path: str
    query: dict
    subuser: str
    body: object = None
    status: int | None = None
    """The status of the answer; None if there was no answer."""


@dataclass
class Fault:
    """A fault that a test asked for: it spoils calls of `method` ("" = any) whose path begins with `path`.

    `times` counts the calls that it still spoils. `action` says how: `status` answers with `status`; `hang` answers
    nothing for `seconds`; `cut` breaks the connection; `answer` answers 200 with `body`, whatever SendGrid describes.
    With `after`, the sandbox first does what the call asked for.
    """

    path: str
    method: str = ""
    times: int = 1
    action: str = "status"
    status: int = 500
    reset: float = 1
    """Seconds until a 429 is lifted."""
    seconds: float = 60
    after: bool = False
    message: str = ""
    """The words in the answer, in SendGrid's place; "" for the usual ones."""
    body: object = None

    def meets(self, method: str, path: str) -> bool:
        """Tell whether the fault spoils a call of this method and path."""
        return self.times > 0 and self.method in ("", method) and path.startswith(self.path)


@dataclass
class Erasure:
    """A job that erases what is known about some addresses."""

    job_id: str
    addresses: list[str]


@dataclass
class Window:
    """The number of calls that count against a rate limit until `reset` (Unix seconds)."""

    limit: int
    reset: int
    count: int = 0


@dataclass
class Account:
    """The account: API keys, settings, suppressions, faults and noted calls."""

    first_key: str
    keys: dict[str, set[str]] = field(init=False)
    """The scopes of each API key."""
    suppressions: Suppressions = field(default_factory=Suppressions)
    calls: deque[Call] = field(default_factory=lambda: deque(maxlen=KEPT_CALLS))
    faults: list[Fault] = field(default_factory=list)
    erasures: list[Erasure] = field(default_factory=list)
    tracking: Options = field(default_factory=Options)
    """The tracking settings of a message that sets none itself."""
    landing: dict[str, str] = field(default_factory=lambda: {"landing": "", "url": ""})
    """The page to show after an unsubscription. The sandbox remembers it and does not use it."""
    windows: dict[tuple, Window] = field(default_factory=dict)
    pages: dict[str, int | None] = field(default_factory=lambda: {"lists": 500, "groups": None})
    """The most rows of one answer: of the lists, and of what all groups hold (None: everything in one answer)."""

    def __post_init__(self) -> None:
        self.keys = {self.first_key: set(scopes.ALL)}

    def track(self, **settings: bool | str) -> None:
        """Change some of the account's tracking settings."""
        self.tracking = dataclasses.replace(self.tracking, **settings)

    def fault(self, method: str, path: str) -> Fault | None:
        """Return the fault that spoils this call, or None; count the call as spoiled."""
        for fault in self.faults:
            if fault.meets(method, path):
                fault.times -= 1
                return fault
        return None

    def count(self, bucket: tuple, limit: int) -> Window:
        """Count a call against a limit and return the window. A call is too much if `count` is above `limit`."""
        now = int(time.time())
        window = self.windows.get(bucket)
        if window is None or window.reset <= now:
            window = self.windows[bucket] = Window(limit, now + LIMIT_SECONDS)
        window.count += 1
        return window
