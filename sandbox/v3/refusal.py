"""SendGrid's error answers."""


class Refusal(Exception):
    """An answer with `{"errors": […]}`; each error has at least a `message`."""

    def __init__(self, status: int, *errors: dict):
        super().__init__(status, errors)
        self.status = status
        self.body = {"errors": list(errors)}


def refuse(status: int, message: str, field: str | None = None) -> Refusal:
    """Return a refusal with one error, about a field of the request or (None) about the whole request."""
    return Refusal(status, {"message": message, "field": field})
