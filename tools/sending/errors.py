"""These errors come from preparing a message for SendGrid. `ir.mail_server` has the words for their codes."""

import smtplib

from ..coded_error import CodedError


class SmtpapiError(CodedError):
    """The ``X-SMTPAPI`` header that somebody set is not a JSON object that a message can carry: SendGrid would drop it.
    Or it would send to others than Odoo knows.

    All codes say the ``header``: ``not_json`` (``position``, from 1), ``absurd`` (it is nested too deeply, or holds a
    number that JSON does not have), ``not_a_json_object``, ``long_word`` (``limit`` in characters) and
    ``names_recipients`` (``name`` of the setting).
    """


class V3MailError(CodedError):
    """The Web API would not take the message.

    Codes about the message: ``too_large`` and ``long_args`` (``size`` and ``limit`` in bytes), ``many_categories`` and
    ``many_recipients`` (``count`` and ``limit``), ``long_category`` (``category`` and ``limit`` in characters),
    ``no_sender``, ``no_recipient``, ``sender_not_ascii`` (``address``), ``no_domain`` (``domain``),
    ``forbidden_header`` and ``empty_attachment`` (``name``).

    Codes about the settings of the ``header``: those of `SmtpapiError`, and ``unknown_settings`` (``names``),
    ``unknown_filter``, ``not_said_whether`` (a filter is enabled), ``not_an_object``, ``not_a_list`` and
    ``not_a_number`` (``name``). Without it: ``too_many_groups`` (``count`` and ``limit``) and ``ip_pool``
    (``minimum`` and ``maximum`` in characters).
    """


class RecipientError(CodedError):
    """SendGrid does not deliver to a recipient. All codes say the ``address``: ``malformed_recipient`` (it is none),
    ``recipient_not_ascii`` and ``unserved_recipient``.
    """


class AllRefusedError(smtplib.SMTPRecipientsRefused):
    """The Web API refused the message because of its recipients, each of them.

    ``recipients`` is {address: (code of SMTP, SendGrid's words as bytes)}, as `smtplib` has it.
    """
