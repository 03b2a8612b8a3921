"""Who opened or clicked: a person, or a machine that fetches for people."""

from collections.abc import Iterable
from dataclasses import dataclass

APPLE_PRIVACY = "apple_privacy"

# Why an interaction counts as a machine's, in words for the Tracking page.
REASONS = {
    APPLE_PRIVACY: "Apple Mail Privacy Protection fetched the images in advance; this does not show that it was read.",
}


@dataclass(frozen=True)
class Verdict:
    """``reason`` is a key of ``REASONS``, ``""`` for a person."""

    is_machine: bool = False
    reason: str = ""


PERSON = Verdict()


def judge(interactions: Iterable) -> dict[str, Verdict]:
    """Judge each open and click of one e-mail.

    :param interactions: all events of the e-mail (anything with the attributes of ``Event``)
    :return: a verdict by fingerprint, for opens and clicks only
    """
    return {
        interaction.fingerprint: _judge_one(interaction)
        for interaction in interactions
        if interaction.event in ("open", "click")
    }


def _judge_one(interaction):
    # SendGrid flags the prefetches of Apple Mail, and only those (Twilio docs: Event Webhook reference).
    return Verdict(True, APPLE_PRIVACY) if interaction.sg_machine_open else PERSON
