"""Clients that send bodies made and signed beforehand, so that they cost little beside the server."""

import socket
import threading
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from sandbox import keys
from script.lib import paths

AGENT = "SendGrid Event API"


def signed_request(url: str, body: bytes) -> bytes:
    """Return the bytes of one POST, signed as SendGrid signs it."""
    key = keys.load_or_create(str(paths.SANDBOX_KEY))
    timestamp = str(int(time.time()))
    headers = {
        "User-Agent": AGENT,
        "Content-Type": "application/json;charset=utf-8",
        "X-Twilio-Email-Event-Webhook-Signature": keys.sign(key, timestamp, body),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }
    return make_request(url, body, headers)


def make_request(url: str, body: bytes, headers: dict[str, str], method: str = "POST") -> bytes:
    """Return the bytes of one request on a connection of its own."""
    parts = urlsplit(url)
    headers = {"Host": parts.netloc, "Connection": "close", "Content-Length": len(body), **headers}
    lines = [f"{method} {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body


def send(url: str, request: bytes) -> tuple[int, float]:
    """Send one request to the server of a URL; return the status and the seconds until the answer."""
    parts = urlsplit(url)
    start = time.perf_counter()
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(request)
        answer = connection.recv(65536)
        while b"\r\n" not in answer and (more := connection.recv(65536)):
            answer += more
    return int(answer.split(b" ", 2)[1]), time.perf_counter() - start


def post_all(url: str, requests: list[bytes], clients: int = 4) -> tuple[float, list[float]]:
    """Send all requests, by several clients at once. Every answer has to be a 2xx.

    :return: seconds in all, and the seconds of each POST
    """
    waiting = iter(requests)
    lock, latencies, failures = threading.Lock(), [], []

    def work() -> None:
        while True:
            with lock:
                request = next(waiting, None)
            if request is None:
                return
            status, seconds = send(url, request)
            latencies.append(seconds)
            if not 200 <= status < 300:
                failures.append(status)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    if failures or len(latencies) != len(requests):
        raise RuntimeError(f"{len(latencies)} of {len(requests)} answered, wrong answers: {failures[:5]}")
    return seconds, latencies


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the value that this percentage of the values does not exceed."""
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))]
