"""Absurd bodies: no exception leaves the parser, and no good event beside a bad element is lost.

Chance changes real events: values of other types, absurd numbers and depths, broken texts; then bytes.
"""

import json
import multiprocessing
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from random import Random
from statistics import median

from harness import Log, wire
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tools.events.parsing import BatchError, parse_batch

DATA = Path(__file__).parents[1] / "data"
SAMPLES = [event for path in sorted(DATA.glob("*.json")) for event in json.loads(path.read_text(encoding="utf-8"))]
FIELDS = sorted({name for event in SAMPLES for name in event})
MEGABYTE = 1024 * 1024
AT_ONCE = 100  # bodies in one of hypothesis's examples, because an example costs more than a body
# JSON source of values that no field has. Not all of it is valid JSON.
ODD = [
    *("null", "true", "false", "[]", "{}", '""', "0", "-1", "1.5", "1e400", "-1e400", "NaN", "Infinity", "-Infinity"),
    *("1" * 20, "1e" + "9" * 400, "-0", "0.1e-400", "4294967296", "18446744073709551616", "1795500000000", "1e9"),
    *(
        '"\\u0000"',
        '"a\\u0000b"',
        '"\\ud800"',
        '"\\udfff\\ud800"',
        '"\\ud83d\\ude00"',
        '"\\\\"',
        '"\\""',
        '"\x7f"',
        '"\t"',
    ),
    *('{"a":{"b":[1,{"c":null}]}}', '["x",["y",["z"]]]', '{"":""}', '{"type":"html","index":1e99}'),
    *(
        '"' + "é" * 400 + '"',
        '" "',
        '"1795500000"',
        '"1795500000000"',
        "[" * 50 + "]" * 50,
        '{"a":' * 50 + "1" + "}" * 50,
    ),
]
# More such values. Each takes long, so chance rarely chooses one.
HEAVY = ["9" * 5000, "[" * 3000 + "]" * 3000, '{"a":' * 3000 + "1" + "}" * 3000, '"' + "x" * 70_000 + '"']
# Texts that break the JSON of one element, and so of the whole body.
BROKEN = ['"', "'", "}", "]", "[", "{", ",", ":", "\\", '"\\x"', "nul", "--1", "\n", "\t", "/*", "undefined"]
# Bytes that are not UTF-8, or a text that the database does not accept.
WRONG_BYTES = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x00", b"\x80", b"\xef\xbb\xbf", b"\xfe\xff"]


def good(number):
    """Return a good event that names itself."""
    return {"email": f"good{number}@fuzz.test", "event": "delivered", "timestamp": 1_795_500_000 + number}


def dump(event):
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def bad_element(chance):
    """Return the source of an element that is mostly JSON and only by luck an event, as a text of any characters."""
    event = dict(chance.choice(SAMPLES))
    members = [f"{json.dumps(name)}:{dump(value)}" for name, value in event.items()]
    for _ in range(chance.choice((0, 1, 1, 1, 2, 5))):
        odd = chance.choice(ODD if chance.random() < 0.98 else HEAVY)
        where = chance.random()
        if where < 0.1:
            return odd
        member = f"{json.dumps(chance.choice(FIELDS))}:{odd}"
        if where < 0.5 or not members:
            # This can also add a second member of the same name.
            members.insert(chance.randint(0, len(members)), member)
        else:
            members[chance.randrange(len(members))] = member
    return "{" + ",".join(members) + "}"


def with_wrong_bytes(chance, source):
    """Put bytes that are no text into a string of an element. The structure of its JSON stays whole."""
    quotes = [index for index, mark in enumerate(source) if mark == ord(":") and source[index + 1 : index + 2] == b'"']
    if quotes and b"\\" not in source:
        index = chance.choice(quotes) + 2
        return source[:index] + chance.choice(WRONG_BYTES[:-1]) + source[index:]
    return source


def make_body(chance):
    """Return a body, and how many good events must be found in it; None if the body may be no JSON at all."""
    elements, expected = [], 0
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        if chance.random() < 0.4:
            elements.append(dump(good(expected)).encode())
            expected += 1
        else:
            element = bad_element(chance).encode("utf-8", "surrogatepass")
            elements.append(with_wrong_bytes(chance, element) if chance.random() < 0.2 else element)
    body = b"[" + b",\r\n".join(elements) + b"]\r\n"
    if chance.random() < 0.7:
        return body, expected
    for _ in range(chance.choice((1, 1, 2, 5))):
        index = chance.randrange(len(body) + 1)
        change = chance.random()
        if change < 0.3:
            body = body[:index] + chance.choice(BROKEN).encode() + body[index:]
        elif change < 0.5:
            body = body[:index]
        elif change < 0.7:
            body = body[:index] + bytes([chance.randrange(256)]) + body[index + 1 :]
        elif change < 0.9:
            body = body[:index] + chance.choice(WRONG_BYTES) + body[index:]
        else:
            body = body[:index] + body[chance.randrange(len(body) + 1) :]
    return body, None


def check(body, expected):
    """Parse a body. It must be read or raise a BatchError, and the good events must be found."""
    try:
        events, rejected = parse_batch(body)
    except BatchError as error:
        assert expected is None, body[:2000]
        assert len(str(error)) < 300, body[:2000]
        return
    if expected is not None:
        found = [event for event in events if event.recipient.endswith("@fuzz.test")]
        assert [(event.recipient, event.timestamp) for event in found] == [
            (good(number)["email"], good(number)["timestamp"]) for number in range(expected)
        ], body[:2000]
    for event in events:
        assert event.fingerprint
    for element in rejected:
        assert 0 < len(element.reason) < 300, body[:2000]


def peak_memory():
    """Return the peak memory of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(kind):
    """Parse one of the largest bodies in this otherwise idle process; return the memory that it took, in bytes."""
    body = HUGE[kind](4 * MEGABYTE - 200)
    before = peak_memory()
    check(body, None)
    return peak_memory() - before


def test_parser(request, report):
    """Parse hundreds of thousands of bodies: a bad element harms no other, and memory does not grow."""
    bodies = request.config.getoption("bodies")
    count = 0

    @settings(
        max_examples=-(-bodies // AT_ONCE),
        database=None,
        deadline=None,
        phases=[Phase.generate],  # do not shrink: a smaller seed makes no smaller body
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(min_value=0, max_value=2**64 - 1))
    def parse_many(seed):
        nonlocal count
        chance = Random(seed)
        for _ in range(AT_ONCE):
            check(*make_body(chance))
            count += 1

    for number in range(1000):
        check(*make_body(Random(number)))
    before, start = peak_memory(), time.monotonic()
    parse_many()
    # Hypothesis stops early when it thinks that it has seen all examples.
    chance = Random(request.config.getoption("seed"))
    while count < bodies:
        check(*make_body(chance))
        count += 1
    grown = (peak_memory() - before) / MEGABYTE
    report(f"fuzz: {count} bodies through the parser in {time.monotonic() - start:.0f} s, memory +{grown:.0f} MB")
    assert grown < 100


if find_spec("atheris"):  # some machines have no packages of it

    def test_guided(request, report, tmp_path):
        """Parse as many bodies again, changed by the parser's reaction to earlier ones."""
        bodies, start = max(request.config.getoption("bodies"), 1000), time.monotonic()
        program = Path(__file__).with_name("guided.py")
        limits = ["-max_len=4096", "-timeout=10", "-rss_limit_mb=1024", f"-seed={request.config.getoption('seed') + 1}"]
        command = [sys.executable, program, f"-runs={bodies}", *limits, f"-artifact_prefix={tmp_path}/", tmp_path, DATA]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-5000:]
        assert f"Done {bodies} runs" in done.stderr
        report(f"fuzz: {bodies} bodies guided by coverage in {time.monotonic() - start:.0f} s")


HUGE = {
    "one text": lambda size: b'[{"email":"a@b.c","event":"open","timestamp":1795500000,"reason":"%s"}]' % (b"x" * size),
    "escapes": lambda size: b'["%s"]' % (b"\\u0000" * (size // 6)),
    "brackets": lambda size: b"[" * size,
    "brackets, closed": lambda size: b"[" * (size // 2) + b"]" * (size // 2),
    "objects": lambda size: b'{"a":' * (size // 5),
    "deep neighbours": lambda size: b"[" + b",".join([b"[" * 2000 + b"]" * 2000] * (size // 4001)) + b"]",
    "numbers": lambda size: b"[" + b"1," * (size // 2) + b"1]",
    "one number": lambda size: b"[" + b"9" * size + b"]",
    "one member after the other": lambda size: b"[{" + b'"a":1,' * (size // 6) + b'"a":1}]',
    "invalid UTF-8": lambda size: b'["' + b"\xff" * size + b'"]',
    "NUL bytes": lambda size: b"\x00" * size,
    "quotes": lambda size: b'["' + b'\\"' * (size // 2),
    "quotes behind brackets": lambda size: b"[" * 2000 + b"]" * 1999 + b',"' + b'\\"' * (size // 2 - 2000),
    "empty objects": lambda size: b"[" + b"{}," * (size // 3) + b"{}]",
    "events": lambda size: b"[" + b",".join([dump(good(1)).encode()] * (size // 75)) + b"]",
}


def test_four_megabytes(report):
    """The largest accepted bodies are read or refused, and take only the memory that their content needs."""
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        peaks = dict(zip(HUGE, pool.map(measure, HUGE, chunksize=1), strict=True))
    worst = max(peaks, key=peaks.get)
    worst_mb, median_mb = (size // MEGABYTE for size in (peaks[worst], median(peaks.values())))
    report(f"fuzz: 4 MB of {worst} take {worst_mb:.0f} MB, the median kind {median_mb:.0f} MB")
    assert peaks[worst] < 512 * MEGABYTE, peaks


def test_posts(request, stack, database, webhook, crowd, chance, report):
    """The same by signed HTTP: all bodies are stored and processed, and their good events reach their documents."""
    number = request.config.getoption("posts")
    events, bodies = [], []
    for index in range(number):
        if index % 10:
            bodies.append(make_body(chance)[0])
        else:
            event = crowd.event(chance)
            events.append(event)
            elements = [bad_element(chance).encode("utf-8", "surrogatepass") for _ in range(2)]
            elements.insert(chance.randint(0, 2), dump(event).encode())
            bodies.append(b"[" + b",".join(elements) + b"]")
    # Add some of the largest bodies.
    bodies[: len(HUGE)] = [make(4 * MEGABYTE - 200) for make in HUGE.values()] if number > 1000 else bodies[: len(HUGE)]
    events = [event for body, event in zip(bodies[::10], events, strict=True) if dump(event).encode() in body]
    log, start = Log(stack.odoo.log), time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(lambda body: webhook.post(body).status_code, bodies))
    assert answers == {204}
    crowd.wait_until_drained()
    report(f"fuzz: {number} bodies by HTTP, drained after {time.monotonic() - start:.0f} s")
    assert not log.problems()
    assert not database.query(
        "SELECT error FROM sendgrid_event_batch WHERE state = 'failed' AND error NOT LIKE '{\"code\": %'"
    )
    # Two events that chance made equal count as one.
    expected = {event.fingerprint for event in parse_batch(wire(events))[0]}
    stored = database.query("SELECT fingerprint FROM sendgrid_event WHERE odoo_id LIKE %s", f"{crowd.domain}-%")
    assert sorted(fingerprint for (fingerprint,) in stored) == sorted(expected)
