"""Measures the pages that a salesperson opens, with a million documents in the table and with ten thousand.

A browser opens the pages once. Its requests are then repeated against both servers in turn: the Documents of a contact
with 50 e-mails, a document with 200 events, the first page and the count of the global list, and a report over a week,
in which both tables have the same number of documents.

The chatter of a record is compared with the same chatter in Odoo without the addon.
"""

import contextlib
import functools
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TypeVar

import requests
from playwright.sync_api import Request, sync_playwright

from script.lib import chromium, database, paths, process, stack

from . import _chatter, _million, _odoo, _report

LARGE, SMALL = 1_000_000, 10_000
WARM_UP, ROUNDS = 3, 21
PERIOD = timedelta(days=7)
TIMES, MEGABYTES, TIMES_CORE = 1.5, 50, 1.1
CALL = "/web/dataset/call_kw/"
READS = ("/web_read", "/web_search_read", "/formatted_read_grouping_sets")

Call = tuple[str, dict]  # the path and the parameters of a request
Written = TypeVar("Written")


class Reader:
    """A salesperson's web client, which measures what its requests cost the server."""

    def __init__(self, server: stack.Odoo, login: str, pages: dict[str, list[Call]]):
        self.pages = pages
        self._server = server
        self._number = 0
        self._web = requests.Session()
        credentials = {"db": server.database, "login": login, "password": login}
        self._post("/web/session/authenticate", credentials).raise_for_status()

    def _post(self, path: str, params: dict) -> requests.Response:
        answer = self._web.post(self._server.url + path, json={"jsonrpc": "2.0", "params": params}, timeout=600)
        if "error" in answer.json():
            raise AssertionError(answer.text)
        return answer

    def read(self, title: str) -> tuple[float, int, float]:
        """Request a page.

        :return: seconds, queries, and the server's peak memory in megabytes
        """
        self._number += 1
        calls = self.pages[title]
        self._status("clear_refs").write_text("5")  # resets the peak (proc(5))
        start = time.perf_counter()
        for path, params in calls:
            self._post(f"{path}?page={self._number}", params)
        seconds = time.perf_counter() - start
        peak = re.search(r"VmHWM:\s+(\d+) kB", self._status("status").read_text())
        return seconds, self._count_queries(len(calls)), int(peak[1]) / 1024

    def _status(self, name: str) -> Path:
        return Path("/proc") / str(self._server.process.pid) / name

    def _count_queries(self, requests_made: int) -> int:
        """Count the queries of these requests in Odoo's log."""
        line = re.compile(rf'\?page={self._number}(?:#\S+)? HTTP/1.1" 200 - (\d+) ')
        while len(counts := line.findall(self._server.log.read_text(errors="replace"))) < requests_made:
            time.sleep(0.01)
        return sum(map(int, counts))


@contextlib.contextmanager
def written(write: Callable[[_odoo.Env], Written], with_addon: bool = True) -> Iterator[tuple[stack.Odoo, Written]]:
    """Run a server on a fresh database; give it, and what ``write`` has returned of what it wrote there."""
    with database.for_tests(with_addon) as name:
        with _odoo.environment(name) as env:
            history = write(env)
        log = paths.LOG / f"{name}.log"
        try:
            with stack.Odoo(name, process.free_port(), log, options=["--max-cron-threads=0"]) as server:
                yield server, history
        finally:
            log.unlink(missing_ok=True)


def record(server: stack.Odoo, history: _million.History) -> dict[str, list[Call]]:
    """Open the pages in a browser.

    :return: its requests: lists of (path, parameters) by page
    """
    pages = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.path(), args=["--no-sandbox"])
        page = browser.new_page(base_url=server.url)
        page.set_default_timeout(120_000)
        calls = []

        def note(request: Request) -> None:
            path = request.url.removeprefix(server.url).partition("?")[0]
            if path.startswith(CALL) and path.endswith(READS):
                calls.append((path, json.loads(request.post_data)["params"]))

        def visit(title: str, path: str, selector: str) -> None:
            calls.clear()
            page.goto(path)
            page.wait_for_selector(selector)
            pages[title] = list(calls)

        page.goto("/web/login")
        page.fill("input[name=login]", history.login)
        page.fill("input[name=password]", history.login)
        page.click(".oe_login_form button[type=submit]")
        page.wait_for_selector(".o_web_client .o_main_navbar")
        page.on("request", note)
        documents = "/odoo/sendgrid-documents"
        visit("a contact with 50 e-mails", f"/odoo/contacts/{history.contact}", ".o_form_view .o_notebook")
        visit("a document with 200 events", f"{documents}/{history.document}", ".o_sendgrid_email_form .o_notebook")
        visit("the list, page 1 and count", documents, ".o_list_view .o_data_row")
        visit("a report over a week", f"{documents}?view_type=pivot", ".o_pivot table")
        browser.close()
    until = datetime.now(timezone.utc)
    for _path, params in pages["a report over a week"]:
        params["kwargs"]["domain"] = [
            ("date", ">", f"{until - PERIOD:%Y-%m-%d %H:%M:%S}"),
            ("date", "<=", f"{until:%Y-%m-%d %H:%M:%S}"),
        ]
    return pages


def read_in_turn(title: str, *readers: Reader) -> dict[Reader, list[tuple[float, int, float]]]:
    """Request a page of several servers in turn; return the costs of each."""
    costs = {reader: [] for reader in readers}
    for number in range(-WARM_UP, ROUNDS):
        for reader in readers:
            cost = reader.read(title)
            if number >= 0:
                costs[reader].append(cost)
    return costs


def compare(large: Reader, small: Reader) -> list[_report.Row]:
    """Request each page of both servers in turn; return the rows of the table."""
    rows, most = [], {large: 0, small: 0}
    for title in small.pages:
        costs = read_in_turn(title, large, small)
        seconds, queries = {}, {}
        for reader in (large, small):
            every = list(zip(*costs[reader], strict=True))
            seconds[reader], queries[reader] = statistics.median(every[0]), min(every[1])
            most[reader] = max(most[reader], *every[2])
        what = f"read: {title}"
        rows.append(_report.at_most(what, seconds[large] * 1000, seconds[small] * 1000, TIMES, "ms"))
        rows.append(_report.at_most(f"{what}: queries", queries[large], queries[small], 1, "queries"))
    more = most[large] - most[small]
    rows.append(
        _report.Row(
            "read: peak memory",
            f"{most[large]:.0f} MB",
            f"{most[small]:.0f} MB",
            most[large] / most[small],
            f"≤ {MEGABYTES} MB more",
            more <= MEGABYTES,
        )
    )
    return rows


def compare_chatters(tracked: Reader, plain: Reader) -> list[_report.Row]:
    """Open each chatter with the addon and without it in turn; return the rows of the table."""
    rows = []
    for title in plain.pages:
        costs = read_in_turn(title, tracked, plain)
        seconds = {reader: statistics.median(cost[0] for cost in costs[reader]) for reader in costs}
        queries = {reader: min(cost[1] for cost in costs[reader]) for reader in costs}
        absolute = f"{queries[tracked]} queries, without the addon {queries[plain]}"
        times = seconds[tracked] * 1000, seconds[plain] * 1000
        rows.append(_report.at_most(f"read: {title}", *times, TIMES_CORE, "ms", absolute))
    return rows


def measure(scale: float) -> list[_report.Row]:
    """Return the rows of the table."""
    return measure_chatters(scale) + measure_pages(scale)


def measure_chatters(scale: float) -> list[_report.Row]:
    """Return the rows of opening a chatter, compared with Odoo without the addon."""
    readers = []
    with contextlib.ExitStack() as opened:
        # The addon changes classes of this process for good. So it comes last.
        for with_addon in (False, True):
            write = functools.partial(_chatter.write, scale=scale)
            server, chatters = opened.enter_context(written(write, with_addon))
            pages = {title: _chatter.list_requests(record) for title, record in chatters.records.items()}
            readers.append(Reader(server, chatters.login, pages))
        plain, tracked = readers
        return compare_chatters(tracked, plain)


def measure_pages(scale: float) -> list[_report.Row]:
    """Return the rows of the pages, compared with a short history."""
    chromium.ensure()
    readers = []
    with contextlib.ExitStack() as opened:
        for documents in (int(LARGE * scale), SMALL):
            write = functools.partial(_million.write, documents=documents)
            server, history = opened.enter_context(written(write))
            readers.append(Reader(server, history.login, record(server, history)))
        return compare(*readers)


if __name__ == "__main__":
    sys.exit(_report.run(measure, __doc__))
