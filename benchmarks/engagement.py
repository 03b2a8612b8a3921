"""Measures how well `tools.events.engagement` tells people from machines, on histories labelled before the rules.

It prints precision and recall per verdict. Events labelled "unknown" do not enter them and are counted apart. Nobody
looked at the held-out third while writing the rules. The exit code is 1 if people are found with less than 0.95 of
either.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from tools.events.engagement import judge
from tools.events.event import Event

HISTORIES = Path(__file__).parent / "engagement_histories.json"
VERDICTS = ("human", "machine", "unknown")
REQUIRED = 0.95


def to_event(raw: dict) -> Event:
    """Return a labelled event as `Event`; its time is in seconds after the mail was accepted."""
    offset = raw.get("url_offset")
    return Event(
        event=raw["event"],
        timestamp=1_795_500_000 + raw["at"],
        recipient="ada@example.org",
        url=raw.get("url", ""),
        url_offset=f"{offset['type']}:{offset['index']}" if offset else "",
        ip=raw.get("ip", ""),
        user_agent=raw.get("useragent", ""),
        sg_machine_open=raw.get("sg_machine_open", False),
    )


def count(split: str) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Return how often each (label, verdict) occurs in a split, and the ids where people and machines are confused."""
    pairs, confused = Counter(), []
    for history in json.loads(HISTORIES.read_text())["histories"]:
        if history["split"] != split:
            continue
        events = [(raw, to_event(raw)) for raw in history["events"]]
        verdicts = judge([event for _raw, event in events])
        for raw, event in events:
            if "label" in raw:
                verdict = verdicts[event.fingerprint].verdict
                pairs[raw["label"], verdict] += 1
                if raw["label"] != verdict:
                    confused.append(f"{history['id']} +{raw['at']} s: {raw['label']} taken for {verdict}")
    return pairs, confused


def measure(pairs: Counter[tuple[str, str]], verdict: str) -> tuple[float, float]:
    """Return precision and recall of a verdict among the events that are labelled human or machine."""
    right = pairs[verdict, verdict]
    claimed = sum(pairs[label, verdict] for label in ("human", "machine"))
    labelled = sum(pairs[verdict, given] for given in VERDICTS)
    return right / claimed if claimed else 0, right / labelled if labelled else 0


def main() -> int:
    """Print the figures of each split. Return 0 if people are found well enough in the held-out third, else 1."""
    reached = True
    for split in ("tuning", "held_out"):
        pairs, confused = count(split)
        print(f"{split}: {sum(pairs.values())} opens and clicks")
        for verdict in ("human", "machine"):
            precision, recall = measure(pairs, verdict)
            print(f"  {verdict:8} precision {precision:.3f}  recall {recall:.3f}")
            if split == "held_out" and verdict == "human":
                reached = min(precision, recall) >= REQUIRED
        unknown = {verdict: pairs["unknown", verdict] for verdict in VERDICTS}
        print(f"  labelled unknown, taken for: {unknown}")
        if split == "tuning":
            print("".join(f"    {line}\n" for line in confused), end="")
    print(f"people at least {REQUIRED} on the held out third: {'reached' if reached else 'not reached'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
