"""The POSTs of all webhooks: made here, and remembered."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

TIMEOUT_SECONDS = 10
KEPT_POSTS = 1000


@dataclass
class Post:
    """A POST that was made. `status` is None if there was no answer; `error` then says why."""

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
        """True if the answer was a 2xx."""
        return self.status is not None and 200 <= self.status < 300


class Poster:
    """Makes POSTs. Any 2xx is a success; redirects are not followed."""

    def __init__(self, changed: Callable[[], None]):
        self.posts: deque[Post] = deque(maxlen=KEPT_POSTS)
        self.count = 0
        self._changed = changed
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: dict[str, str], events: int, attempt: int = 1) -> Post:
        """POST once and return the result; never raises."""
        began = time.time()
        status, error = await self._try(url, body, headers)
        self.count += 1
        seconds = round(time.time() - began, 3)
        post = Post(self.count, began, url, attempt, events, len(body), status, error, seconds)
        self.posts.append(post)
        self._changed()
        return post

    async def _try(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int | None, str]:
        try:
            async with self._client().post(
                url, data=body, headers=headers, skip_auto_headers=["Accept"], allow_redirects=False
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

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()
