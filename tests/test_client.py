import json
import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from odoo.tests import BaseCase, tagged

from ..tools.api import client

KEY = "SG.do-not-show-me"
LIMITED = {"errors": [{"field": None, "message": "too many requests"}]}


class Vendor(ThreadingHTTPServer):
    """Answers each call with the next of its answers: (status, headers, body), or None for no answer."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.calls = [], []
        self.silence = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.calls.append((self.command, self.path, dict(self.headers), body))
        answer = self.server.answers.pop(0)
        if answer is None:
            self.server.silence.wait(10)
            return
        status, headers, body = answer
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_args):
        pass


@tagged("post_install", "-at_install")
class TestClient(BaseCase):
    def setUp(self):
        super().setUp()
        self.vendor = Vendor()
        self.addCleanup(self.vendor.server_close)
        self.addCleanup(self.vendor.shutdown)
        self.addCleanup(self.vendor.silence.set)
        self.pauses = []
        self.client = client.Client(KEY, self.vendor.url, sleep=self.pauses.append)

    def _fail(self, kind, *args, **kwargs):
        with self.assertRaises(client.ApiError) as caught:
            self.client.call(*args, **kwargs)
        self.assertEqual(caught.exception.kind, kind)
        self.assertNotIn(KEY, repr(caught.exception) + str(caught.exception.__dict__))
        return caught.exception

    def test_the_segments_are_quoted(self):
        self.vendor.answers = [(200, {}, {"ok": True})]
        answer = self.client.get(("suppression", "bounces", "a/b?c@example.com"), limit=500, email=None)
        self.assertEqual(answer, {"ok": True})
        [(method, path, headers, _body)] = self.vendor.calls
        self.assertEqual((method, path), ("GET", "/v3/suppression/bounces/a%2Fb%3Fc%40example.com?limit=500"))
        self.assertEqual(headers["Authorization"], f"Bearer {KEY}")

    def test_a_limit_is_waited_for(self):
        reset = str(int(time.time()) + 8)
        self.vendor.answers = [(429, {"X-RateLimit-Reset": reset}, LIMITED), (200, {}, [])]
        self.assertEqual(self.client.get(("scopes",)), [])
        self.assertEqual(len(self.pauses), 1)
        self.assertLessEqual(abs(self.pauses[0] - 8), 2)

    def test_a_limit_that_lasts_too_long_is_told(self):
        self.vendor.answers = [(429, {"X-RateLimit-Reset": str(int(time.time()) + 900)}, LIMITED)]
        error = self._fail("limit", "get", ("scopes",))
        self.assertGreater(error.wait, 800)
        self.assertEqual(str(error), "too many requests")
        self.assertFalse(self.pauses)

    def test_a_broken_server_is_asked_again_with_longer_and_longer_pauses(self):
        self.vendor.answers = [(503, {}, b"<html>")] * client.TRIES
        self._fail("server", "get", ("scopes",))
        self.assertEqual(self.pauses, [1, 2, 4])
        self.assertEqual(len(self.vendor.calls), client.TRIES)

    def test_what_may_have_been_done_is_not_done_again(self):
        self.vendor.answers = [(500, {}, b"")]
        self._fail("server", "post", ("mail", "send"), body={"x": 1})
        self.assertEqual(len(self.vendor.calls), 1)
        self.vendor.answers = [None]
        self._fail("timeout", "post", ("mail", "send"), body={"x": 1}, timeout=0.2)
        self.assertEqual(len(self.vendor.calls), 2)
        # SendGrid did not process this call, because there were too many.
        self.vendor.answers = [(429, {}, LIMITED), (202, {"X-Message-Id": "abc"}, b"")]
        answer = self.client.call("post", ("mail", "send"), body={"x": 1})
        self.assertEqual((answer.status, answer.body, answer.headers["x-message-id"]), (202, None, "abc"))

    def test_nobody_there(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # the socket does not listen
            self.client = client.Client(KEY, f"http://127.0.0.1:{taken.getsockname()[1]}", sleep=self.pauses.append)
            self._fail("unreachable", "post", ("mail", "send"))
        self.assertEqual(len(self.pauses), client.TRIES - 1)

    def test_kinds(self):
        for status, kind in ((400, "refused"), (401, "key"), (403, "scope"), (404, "missing"), (413, "size")):
            with self.subTest(status=status):
                self.vendor.answers = [(status, {}, {"errors": [{"message": "because", "field": "url"}]})]
                error = self._fail(kind, "get", ("scopes",))
                self.assertEqual(error.errors, [{"message": "because", "field": "url"}])

    def test_bodies_that_are_not_what_they_should_be(self):
        for body in (b"", b"null", b"[]", b'{"errors": 5}', b'{"errors": [1, {"message": 3}]}', b"\xff", b"<html>"):
            with self.subTest(body=body):
                self.vendor.answers = [(400, {}, body)]
                self._fail("refused", "get", ("scopes",))
        self.vendor.answers = [(200, {}, b"<html>a proxy's page</html>")]
        self._fail("answer", "get", ("scopes",))

    def test_the_key_is_in_no_log(self):
        logger = logging.getLogger("python_http_client.client")
        self.vendor.answers = [(200, {}, {})]
        with self.assertNoLogs(logger, logging.DEBUG):
            logger.setLevel(logging.DEBUG)
            self.client.get(("scopes",))
