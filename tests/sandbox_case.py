import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from odoo.tests.common import release_test_lock

from .properties import need_sandbox

ROOT = Path(__file__).resolve().parents[1]
API_KEY = "SG.sandbox"
TIMEOUT = 30  # seconds, for a call of the sandbox's own API


class SandboxCase:
    """Starts the local SendGrid (`sandbox/`) in a process of its own for a class, and empties it before each test.

    This is a mixin: name it before Odoo's test class among the bases. Odoo's calls to SendGrid, and the mail servers
    that connecting makes, go to it. It can POST to the webhook of an `HttpCase`.
    """

    @classmethod
    def setUpClass(cls):
        need_sandbox()
        super().setUpClass()
        command = [sys.executable, "-m", "sandbox", "--smtp-port", "0", "--http-port", "0", "--api-key", API_KEY]
        command += ["--flush-seconds", "0.05"]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        cls.addClassCleanup(cls._stop_sandbox, process)
        line = process.stdout.readline()
        ready = re.fullmatch(r"sandbox ready: smtp (\S+) http (http://\S+)\n", line)
        assert ready, f"the sandbox did not start: {line}"
        cls.sandbox_smtp, cls.sandbox_url = ready.groups()  # "host:port", and an address without a slash at its end
        parameters = cls.env["ir.config_parameter"].sudo()
        parameters.set_param("sendgrid_tracking.api_host", cls.sandbox_url)
        parameters.set_param("sendgrid_tracking.smtp_host", cls.sandbox_smtp)

    @classmethod
    def _stop_sandbox(cls, process):
        process.terminate()
        process.wait(TIMEOUT)
        process.stdout.close()

    def setUp(self):
        super().setUp()
        self.http_request_allow_all = True  # the sandbox's POSTs do not have the test's cookie
        self.sandbox("POST", "/sandbox/reset")

    def sandbox(self, method, path, data=None):
        """Call the sandbox's control API (sandbox/README.md).

        :param data: a JSON value, or None for no body
        :return: the answer's JSON; its text if it is no JSON; None if it is empty
        :raise urllib.error.HTTPError: if the sandbox refuses the call
        """
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self.sandbox_url + path, body, method=method)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            text = answer.read().decode()
        try:
            return json.loads(text) if text else None
        except ValueError:
            return text

    def flush_sandbox(self):
        """Make the sandbox POST the waiting events to the webhook of this `HttpCase` now.

        :return: the POSTs made, as in `GET /sandbox/deliveries`
        """
        self.env.flush_all()
        with release_test_lock():
            posts = self.sandbox("POST", "/sandbox/webhook/flush")
        self.env.invalidate_all()
        return posts
