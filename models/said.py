"""The words of others, such as servers, within sentences of ours."""

# Unicode's "first strong isolate" and the end of it (UAX #9): what stands between them has a direction of its own, and
# the text around it keeps its own. They are not seen.
ISOLATE, END = "\u2068", "\u2069"


def isolate(words):
    """Return words of others for a sentence of ours: in Arabic "550 5.1.1 User unknown" stays in this order."""
    return f"{ISOLATE}{words}{END}"
