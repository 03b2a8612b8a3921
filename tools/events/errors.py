"""These errors come from reading a POST of SendGrid's. `sendgrid.event.batch` has the words for their codes."""

from ..coded_error import CodedError


class BatchError(CodedError):
    """The body as a whole is not what SendGrid sends.

    Codes: ``not_json`` (``position``, from 1), ``not_a_list`` (``kind``, see `tools.events.lenient_json.get_kind`),
    ``too_deep`` (nested beyond reading), ``cut`` (it ends too early, or goes on after its end) and ``unreadable`` (it
    was not stored whole; ``detail``).
    """


class EventError(CodedError):
    """One element of the body is not an event, or a field of it is not usable.

    Codes: ``not_an_object`` (``kind``) and ``too_deep`` of the element itself; the others say the ``key`` of its field:
    ``missing``, ``not_a_text`` (``kind``), ``too_long`` (``limit`` in characters), ``not_a_number`` (``limit``, the
    largest that is taken), ``not_seconds``, ``not_of_this_age``, ``not_a_boolean`` and ``not_an_offset`` (``kind``).
    Only name, address and time cost the event; of another field, `tools.events.parsing` notes the name.
    """
