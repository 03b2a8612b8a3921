import json

from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools.misc import get_lang

from ..tools.coded_error import read_reason

MAX_REASONS = 100


class SendgridEventBatch(models.Model):
    """The presentation of a batch: it tells in words why the batch failed or why events of it were rejected.

    ``error`` and ``rejected_reasons`` keep the codes of `tools.events.errors`, so that each reader has his language.
    Text that is no code, such as an exception's or an older version's, is shown as it is.
    """

    _inherit = "sendgrid.event.batch"

    error_explanation = fields.Text(
        compute="_compute_error_explanation",
        search="_search_error_explanation",
        string="Reason of the Failure",
        help="Why the batch failed as a whole.",
    )
    rejected_explanation = fields.Text(
        compute="_compute_rejected_explanation",
        search="_search_rejected_explanation",
        string="Reasons of the Rejections",
        help="The elements that could not be understood, and why.",
    )

    @api.depends("error")
    @api.depends_context("lang")
    def _compute_error_explanation(self):
        messages = self._get_error_messages()
        for batch in self:
            batch.error_explanation = self._put_into_words(batch.error, messages)

    @api.depends("rejected_reasons")
    @api.depends_context("lang")
    def _compute_rejected_explanation(self):
        messages = self._get_stored_rejection_messages()
        for batch in self:
            lines = (batch.rejected_reasons or "").splitlines()
            batch.rejected_explanation = "\n".join(self._put_into_words(line, messages) for line in lines) or False

    def _search_error_explanation(self, operator, value):
        return self._search_words("error", self._get_error_messages(), operator, value)

    def _search_rejected_explanation(self, operator, value):
        return self._search_words("rejected_reasons", self._get_stored_rejection_messages(), operator, value)

    @api.model
    def _search_words(self, field_name, messages, operator, value):
        """Return the domain that finds stored codes by the words that the searching user reads.

        :param str field_name: the field that stores the codes
        :param messages: {code: its words}
        """
        if operator in ("in", "not in") and list(value) == [False]:
            return Domain(field_name, operator, [False])
        if operator != "ilike" or not isinstance(value, str):
            return NotImplemented
        codes = [code for code, message in messages.items() if value.lower() in message.lower()]
        return Domain.OR(
            [
                Domain(field_name, "ilike", value),
                *(Domain(field_name, "like", json.dumps({"code": code})[1:-1]) for code in codes),
            ]
        )

    @api.model
    def _describe_rejected(self, rejected):
        """Return the reasons of rejections for ``rejected_reasons``, as lines of JSON.

        Only the first `MAX_REASONS` are kept, because a POST of 4 MB may consist of nothing else.

        :param rejected: list of `tools.events.parsing.Rejected`
        """
        lines = []
        for one in rejected[:MAX_REASONS]:
            code, parameters = read_reason(one.reason)
            lines.append({"code": code, "number": one.index + 1, **parameters})
        if len(rejected) > MAX_REASONS:
            lines.append({"code": "more", "count": len(rejected) - MAX_REASONS})
        return "\n".join(map(json.dumps, lines))

    @api.model
    def _put_into_words(self, text, messages):
        """Return the words of a stored reason, or the text itself if it is none.

        :param text: the stored reason
        :param messages: {code: its words, with a place for each parameter}
        """
        reason = read_reason(text or "")
        if not reason or reason.code not in messages:
            return text
        values = dict(reason.parameters)
        if "kind" in values:
            values["kind"] = self._get_kinds().get(values["kind"], values["kind"])
        if isinstance(values.get("limit"), int):
            language = self.env["res.lang"].browse(get_lang(self.env).id)
            values["limit"] = language.format("%d", values["limit"], grouping=True)
        try:
            words = messages[reason.code] % values
        except (KeyError, TypeError, ValueError):  # a translation that is not right
            return text
        if "number" in values:
            return self.env._("Event %(number)s: %(reason)s", number=values["number"], reason=words)
        return words

    @api.model
    def _get_error_messages(self):
        """Return {code of a `tools.events.errors.BatchError`: its words}."""
        return {
            "not_json": self.env._("The body is not JSON from its character %(position)s on."),
            "not_a_list": self.env._("The body is not a list of events. Found instead: %(kind)s."),
            "too_deep": self.env._("The body is nested too deeply."),
            "cut": self.env._("The body is not JSON: it ends too early, or goes on after its end."),
            "unreadable": self.env._("The body cannot be read as it was stored: %(detail)s"),
        }

    @api.model
    def _get_rejection_messages(self):
        """Return {code of a `tools.events.errors.EventError`: its words}. The code ``more`` counts further elements."""
        return {
            "not_an_object": self.env._("It is not an object. Found instead: %(kind)s."),
            "too_deep": self.env._("It is nested too deeply."),
            "missing": self.env._("Its %(key)s is missing."),
            "not_a_text": self.env._("Its %(key)s is not a text. Found instead: %(kind)s."),
            "too_long": self.env._("Its %(key)s is longer than %(limit)s characters."),
            "not_a_number": self.env._("Its %(key)s is not a number from 0 to %(limit)s."),
            "not_seconds": self.env._("Its %(key)s is not a number of seconds."),
            "not_of_this_age": self.env._("Its %(key)s is not of this age."),
            "not_a_boolean": self.env._("Its %(key)s is neither true nor false."),
            "not_an_offset": self.env._("Its %(key)s is not an object. Found instead: %(kind)s."),
            "more": self.env._("Further events of which the reason is not told: %(count)s"),
        }

    @api.model
    def _get_stored_rejection_messages(self):
        """Return the same with the codes that version 19.0.1.0.0 has stored and that no element gets any more."""
        return {
            **self._get_rejection_messages(),
            "unstorable": self.env._("Its %(key)s holds characters that no text can hold."),
        }

    @api.model
    def _get_kinds(self):
        """Return {kind, as `tools.events.lenient_json.get_kind` returns it: its words}."""
        return {
            "absurd_number": self.env._("an absurd number"),
            "number": self.env._("a number"),
            "object": self.env._("an object"),
            "list": self.env._("a list"),
            "text": self.env._("a text"),
            "boolean": self.env._("true or false"),
            "null": self.env._("nothing"),
        }
