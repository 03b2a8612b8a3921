"""Why a body, or an element of it, cannot be understood."""


class BatchError(ValueError):
    """The body as a whole is not what SendGrid sends; the message says why, for people."""


class EventError(ValueError):
    """One element is not an event; the message says why, for people."""
