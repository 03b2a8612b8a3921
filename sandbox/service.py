"""Accepts messages, lets each copy live through its events, records them and hands them to the webhooks."""

import asyncio
import logging
import time

from sandbox import events, ids, lives, smtpapi
from sandbox.account import Account
from sandbox.compose import Composed
from sandbox.message import Copy, Event, Mailbox, Message
from sandbox.webhooks import Webhooks

_logger = logging.getLogger("sandbox")

ACTIONS = ("scan", "duplicate", "unordered")
"""The kinds that stand for more than one event."""


class Sandbox:
    """The state of one run."""

    def __init__(self, api_key: str, public_key: str):
        self.api_key = api_key
        self.public_key = public_key
        self.base_url = ""
        """The address at which recipients reach the sandbox; known once the HTTP server listens."""
        self.smtp_address = ""
        self.webhooks: Webhooks | None = None
        self.account = Account(api_key)
        self.mailbox = Mailbox()
        self.account_events: list[Event] = []
        self.version = 0
        self._timers: set[asyncio.TimerHandle] = set()

    def changed(self) -> None:
        """Note that something on the inbox page has changed."""
        self.version += 1

    def accept(self, content: bytes, recipients: list[str], sender: str) -> Message:
        """Accept a message of the SMTP relay, and return it."""
        options = smtpapi.read(smtpapi.values(content), self.account.tracking)
        return self._begin(Message(content, recipients, sender, options))

    def accept_mail(self, composed: list[Composed]) -> str:
        """Accept the messages of one API call, and return their common id."""
        message_id, count = ids.random_id(), 0
        for one in composed:
            self._begin(Message(one.content, one.recipients, one.sender, one.options, message_id, count))
            count += len(one.recipients)
        return message_id

    def _begin(self, message: Message) -> Message:
        self.mailbox.add(message)
        _logger.info("queued as %s for %d recipient(s)", message.sg_id, len(message.copies))
        for copy in message.copies:
            life = self._life(copy)
            copy.doubled = life.doubled
            self._live(copy, life.steps)
        self.changed()
        return message

    def _life(self, copy: Copy) -> lives.Life:
        """Return the life of a copy. A magic address keeps its own life whatever list it is on."""
        options = copy.message.options
        if not options.valid:
            return lives.HEADER_DROPPED
        life = lives.life_of(copy.address)
        drop = self.account.suppressions.drop(copy.address, options.asm_group_id)
        return lives.dropped(drop) if drop and life is lives.ORDINARY else life

    def _live(self, copy: Copy, steps: tuple[lives.Step, ...]) -> None:
        now = time.time()
        for step in steps:
            timestamp = {"timestamp": int(now + step.at)}
            if step.delay <= 0:
                self.fire(copy, step.kind, timestamp)
            else:
                self._later(step.delay, copy, step.kind, timestamp)

    def _later(self, delay: float, copy: Copy, kind: str, details: dict) -> None:
        def run() -> None:
            self._timers.discard(timer)
            self.fire(copy, kind, details)

        timer = asyncio.get_running_loop().call_later(delay, run)
        self._timers.add(timer)

    def fire(self, copy: Copy, kind: str, details: dict | None = None) -> list[dict]:
        """Make a kind of event (or one of ACTIONS) happen to a copy.

        :param details: fields that override or add to those of the event; None removes a field
        :return: the events as they go over the wire
        """
        if kind == "scan":
            return self._scan(copy, details or {})
        if kind == "duplicate":
            return self._duplicate(copy)
        if kind == "unordered":
            self._live(copy, lives.life_of("unordered@").steps)
            return []
        wire = events.build(kind, copy, int(time.time()), details)
        if kind == "deferred":
            copy.attempts += 1
        sent = [wire, events.again(wire)] if copy.doubled else [wire]
        for one in sent:
            self._record(copy.trail, one)
        self.account.suppressions.learn(wire)
        return sent

    def fire_account(self, status: str, details: dict | None = None) -> dict:
        """Send an `account_status_change`, and return it as it goes over the wire."""
        wire = events.build_account(status, int(time.time()), details)
        self._record(self.account_events, wire)
        return wire

    def send_as_is(self, wire: list[dict]) -> None:
        """Post these objects, which belong to no copy. Receivers test with it what SendGrid may send one day."""
        for one in wire:
            self._record([], one)

    def _scan(self, copy: Copy, details: dict) -> list[dict]:
        """Have a scanner load the pixel and follow every link."""
        seen = events.SCANNER | details
        fired = self.fire(copy, "open", seen) if copy.message.has_pixel else []
        for number in range(len(copy.message.links)):
            fired += self.fire(copy, "click", events.link_fields(copy, number) | seen)
        return fired

    def _duplicate(self, copy: Copy) -> list[dict]:
        """Send all events of the copy's latest second once more."""
        latest = copy.trail[-1].wire.get("timestamp") if copy.trail else None
        wires = [events.again(event.wire) for event in copy.trail if event.wire.get("timestamp") == latest]
        for wire in wires:
            self._record(copy.trail, wire)
        return wires

    def _record(self, trail: list[Event], wire: dict) -> None:
        event = Event(wire)
        trail.append(event)
        self.webhooks.add(event)
        self.changed()

    def reset(self) -> None:
        """Return to the state at the start."""
        self.account = Account(self.api_key)
        self.clear()
        self.webhooks.reset()

    def clear(self) -> None:
        """Forget all messages, and all events that were not sent yet."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.account_events.clear()
        self.mailbox.clear()
        self.webhooks.clear()
        self.changed()
