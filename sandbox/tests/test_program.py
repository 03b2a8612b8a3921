"""The command line, the key file, and how the program ends."""

import os
import signal
import stat
import subprocess
import sys

import pytest
from sandbox_harness import DEADLINE, ROOT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it_even_with_open_connections(start, number):
    program = start()
    client = program.smtp()
    program.process.send_signal(number)
    assert program.process.wait(timeout=DEADLINE) == 0
    client.close()


def test_key_file_is_made_once_and_private(start, tmp_path):
    path = tmp_path / "key.pem"
    first = start("--private-key", str(path))
    key = first.http("GET", "/sandbox/public-key").text
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    first.stop()
    second = start("--private-key", str(path))
    assert second.http("GET", "/sandbox/public-key").text == key
    assert os.listdir(tmp_path) == ["key.pem"]


def test_without_key_file_every_run_has_its_own(start):
    assert len({start().http("GET", "/sandbox/public-key").text for _ in range(2)}) == 2


def test_webhook_url_from_the_command_line(start, receiver):
    program = start("--webhook-url", receiver.url, "--flush-seconds", "0.01")
    assert program.http("GET", "/sandbox/webhook").json["url"] == receiver.url
    program.send(["ada@example.org"])
    receiver.wait(2)
    assert program.http("GET", "/health").status == 200


def test_connected(start, receiver):
    """The webhook of the command line stands among those of the API, with the program's key, also after a reset."""
    program = start("--webhook-url", receiver.url, "--connected", "--flush-seconds", "0.01")
    key = program.http("GET", "/sandbox/public-key").text
    for _turn in range(2):
        [webhook] = program.v3("GET", "/user/webhooks/event/settings/all").json["webhooks"]
        assert (webhook["url"], webhook["enabled"], webhook["public_key"]) == (receiver.url, True, key)
        program.http("POST", "/sandbox/reset")
    program.send(["ada@example.org"])
    assert len(receiver.wait(2)) == 2, "posted once"


@pytest.mark.parametrize("option", ["--smtp-port", "--http-port"])
def test_port_in_use_is_one_clear_line(start, option):
    program = start()
    port = {"--smtp-port": str(program.smtp_port), "--http-port": program.url.rpartition(":")[2]}[option]
    other = {"--smtp-port": "--http-port", "--http-port": "--smtp-port"}[option]
    error = _refused(option, port, other, "0")
    assert port in error and "in use" in error


def test_bad_key_file_is_one_clear_line(tmp_path):
    path = tmp_path / "key.pem"
    path.write_text("nonsense")
    assert str(path) in _refused("--private-key", str(path))
    assert "missing" in _refused("--private-key", str(tmp_path / "missing" / "key.pem"))


def _refused(*arguments):
    command = [sys.executable, "-m", "sandbox", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("sandbox: cannot start: ")
    return done.stderr
