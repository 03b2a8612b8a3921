"""Measures how well `tools.events.engagement` tells people from machines, on histories labelled before the rules.

It prints precision and recall per verdict. Events labelled "unknown" do not enter them: nobody could say what would be
right. They are counted apart, and so is the precision that counts each of them that was not left open as a mistake.
Nobody looked at the held-out third while writing the rules. The exit code is 1 if people or machines are found with
less than `REQUIRED` of either, or if the held-out third has too few events of a label to tell.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from tools.events.event import Event
from tools.events.fold import fold

HISTORIES = Path(__file__).parent / "engagement_histories.json"
VERDICTS = ("human", "machine", "unknown")
MEASURED = ("human", "machine")
REQUIRED = 0.97
ENOUGH = 100  # events of each label in the held-out third


def to_event(raw: dict) -> Event:
    """Return a labelled event as `Event`; its time is in seconds after the mail was accepted."""
    offset = raw.get("url_offset")
    return Event(
        event=raw["event"],
        timestamp=1_795_500_000 + raw["at"],
        recipient="ada@example.org",
        smtp_status=raw.get("status", ""),
        bounce_type=raw.get("type", ""),
        url=raw.get("url", ""),
        url_offset=f"{offset['type']}:{offset['index']}" if offset else "",
        ip=raw.get("ip", ""),
        user_agent=raw.get("useragent", ""),
        sg_machine_open=raw.get("sg_machine_open", False),
    )


def count(split: str) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Return how often each (label, verdict) occurs in a split, and the ids where a verdict is not the label."""
    pairs, confused = Counter(), []
    for history in json.loads(HISTORIES.read_text())["histories"]:
        if history["split"] != split:
            continue
        events = [(raw, to_event(raw)) for raw in history["events"]]
        # Give each its own name: two events of one second that say the same are two all the same.
        for number, (_raw, event) in enumerate(events):
            event.fingerprint = str(number)
        verdicts = fold([event for _raw, event in events]).verdicts
        for raw, event in events:
            if "label" in raw:
                verdict = verdicts[event.fingerprint].verdict
                pairs[raw["label"], verdict] += 1
                if raw["label"] != verdict:
                    confused.append(
                        f"{history['id']} {raw['event']} +{raw['at']} s: {raw['label']} taken for {verdict}"
                    )
    return pairs, confused


def measure(pairs: Counter[tuple[str, str]], verdict: str, labels: tuple[str, ...] = MEASURED) -> tuple[float, float]:
    """Return precision and recall of a verdict among the events with some labels."""
    right = pairs[verdict, verdict]
    claimed = sum(pairs[label, verdict] for label in labels)
    labelled = sum(pairs[verdict, given] for given in VERDICTS)
    return right / claimed if claimed else 0, right / labelled if labelled else 0


def main() -> int:
    """Print the figures of each split. Return 0 if the held-out third is large enough and its figures good enough."""
    reached = True
    for split in ("tuning", "held_out"):
        pairs, confused = count(split)
        labelled = {label: sum(pairs[label, verdict] for verdict in VERDICTS) for label in VERDICTS}
        print(f"{split}: {sum(labelled.values())} opens, clicks and unsubscriptions, labelled {labelled}")
        for verdict in MEASURED:
            precision, recall = measure(pairs, verdict)
            strict, _recall = measure(pairs, verdict, VERDICTS)
            print(
                f"  {verdict:8} precision {precision:.3f}  recall {recall:.3f}"
                f"  (precision {strict:.3f} with those labelled unknown)"
            )
            if split == "held_out":
                reached = reached and min(precision, recall) >= REQUIRED
        unknown = {verdict: pairs["unknown", verdict] for verdict in VERDICTS}
        print(f"  labelled unknown, taken for: {unknown}")
        if split == "held_out":
            reached = reached and min(labelled.values()) >= ENOUGH
        else:
            print("".join(f"    {line}\n" for line in confused), end="")
    print(
        f"people and machines at least {REQUIRED}, {ENOUGH} of each label, on the held-out third: "
        f"{'reached' if reached else 'not reached'}"
    )
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
