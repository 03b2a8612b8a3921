import re

from markupsafe import Markup

from odoo import fields, models
from odoo.tools import SQL

from .said import isolate

# Columns that say nothing about a person, or that only Odoo can read.
SKIPPED = {
    *("id", "create_uid", "create_date", "write_uid", "write_date"),
    *("content_id", "content_state", "content_has_secrets"),
    *("account_id", "batch_id", "email_id", "facts", "failed_consequences", "consequence_error", "fingerprint"),
    # What stands behind “?” in it may let whoever has the file act as the recipient: `link` is written in its place.
    "url",
}
COMPUTED = {"sendgrid.event": ("link", "device")}
# XML has no way to write these.
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }
section { border-top: 1px solid #999; margin-top: 2em }
table { border-collapse: collapse; margin: .5em 0 } tr { vertical-align: top }
th { text-align: start; padding-inline-end: 1.5em }
td { overflow-wrap: anywhere; white-space: pre-wrap }
h2, td { unicode-bidi: plaintext } [dir=rtl] :is(h2, td) { text-align: right }
summary { padding: 3px 0; cursor: pointer } details table { margin-inline-start: 1.2em }
@media (max-width: 40em) { th, td { display: block } td { margin-bottom: .5em } }
iframe { width: 100%; height: 30em; border: 1px solid #999 } p { max-width: 45em }
"""


class SendgridExport(models.Model):
    """The page that an export writes: HTML that is well-formed XML, which loads nothing from elsewhere."""

    _inherit = "sendgrid.export"

    def _get_head(self):
        lang = self.env.context.get("lang") or "en_US"
        return Markup(
            """<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" lang="%(lang)s" dir="%(direction)s"><head><meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>%(title)s</title><style>%(style)s</style></head><body><main><h1>%(title)s</h1>
<p>%(intro)s</p>
"""
        ) % {
            "lang": lang.replace("_", "-"),
            "direction": self.env["res.lang"]._get_data(code=lang).direction or "ltr",
            "title": self.env._("E-mails to %s and their tracking", isolate(self._clean(self.display_name))),
            "style": Markup(STYLE),
            "intro": self._clean(
                self.env._(
                    "Written on %(date)s UTC for %(companies)s by %(user)s. This page has all that Odoo's e-mail "
                    "tracking keeps: what is known of the address, the e-mails with what happened to each, and events "
                    "for which no e-mail was found. All times are UTC. Empty values and zeros are left out.",
                    date=fields.Datetime.to_string(fields.Datetime.now()),
                    companies=self.company_ids.mapped("name"),
                    user=self.create_uid.name,
                )
            ),
        }

    def _get_foot(self):
        return Markup("<section><p>%s</p></section></main></body></html>\n") % self.env._(
            "This is the end of the file."
        )

    def _get_facts(self):
        """Return what is kept about the addresses themselves: their rows, what their owners said, SendGrid's lists."""
        parts = []
        for name, condition in self.env["sendgrid.address"]._get_conditions_on_addresses(self.addresses).items():
            Model = self.env[name]
            Model.flush_model()
            rows = self.env.execute_query(
                SQL("SELECT id FROM %s WHERE %s ORDER BY id", SQL.identifier(Model._table), condition)
            )
            records = Model.browse(id_ for (id_,) in rows)
            if "account_id" in Model:
                records = records.filtered(
                    lambda one: not one.account_id.company_id or one.account_id.company_id in self.company_ids
                )
            title, shown = self.env["ir.model"]._get(name).name, self._get_shown_fields(Model)
            parts += [self._get_section(title, record, shown) for record in records]
        return Markup("").join(parts)

    def _get_emails(self, emails, room):
        """Return the part about some documents, and the size of their contents in bytes.

        :param int room: contents of so many bytes have room
        """
        events = self.env["sendgrid.event"].search([("email_id", "in", emails.ids)], order="email_id, timestamp, id")
        by_email = events.grouped("email_id")
        shown = self._get_shown_fields(emails)
        parts, size = [], 0
        for email in emails:
            content = str(email.content or "")
            size_of_one = len(content.encode())
            if size + size_of_one > room:
                note = self.env._("The content is left out, because the file would become too large.")
                content = ""
            else:
                note, size = email.content_note, size + size_of_one
            more = self._get_list_of_events(by_email.get(email, events.browse())) + self._get_content(content, note)
            title = email.subject or self.env._("E-mail without subject")
            parts.append(self._get_section(title, email, shown, more))
        return Markup("").join(parts), size

    def _get_content(self, content, note):
        frame = Markup('<iframe sandbox="" loading="lazy" title="%s" srcdoc="%s"></iframe>') % (
            self.env._("Content"),
            self._clean(content),
        )
        return Markup("<details><summary>%s</summary>%s%s</details>") % (
            self.env._("Content"),
            Markup("<p>%s</p>") % self._clean(note) if note else "",
            frame if content else "",
        )

    def _get_events(self, events):
        return Markup("<section><h2>%s</h2>%s</section>") % (
            self.env._("Other events"),
            self._get_list_of_events(events),
        )

    def _get_list_of_events(self, events):
        """Return the events with what happened and when, each to be unfolded."""
        shown = self._get_shown_fields(events)
        return Markup("").join(
            Markup(
                "<details data-model='sendgrid.event'><summary><bdi>%s</bdi> · <bdi>%s</bdi></summary>"
                "<table>%s</table></details>\n"
            )
            % (
                self._describe(event, event._fields["timestamp"], event.timestamp),
                self._clean(event.name),
                self._get_rows(event, shown),
            )
            for event in events
        )

    def _get_section(self, title, record, shown, more=""):
        return Markup("<section data-model='%s'><h2>%s</h2><table>%s</table>%s</section>\n") % (
            record._name,
            self._clean(title),
            self._get_rows(record, shown),
            more,
        )

    def _get_rows(self, record, shown):
        return Markup("").join(
            Markup("<tr><th scope='row'>%s</th><td data-field='%s'>%s</td></tr>") % (label, field.name, value)
            for label, field, value in self._get_values(record, shown)
        )

    def _get_shown_fields(self, Model):
        """Return the fields of a model that belong into the file, as a list of (label, field)."""
        labels = Model.fields_get(attributes=["string"])
        computed = COMPUTED.get(Model._name, ())
        return [
            (labels.get(name, {}).get("string") or name, field)
            for name, field in Model._fields.items()
            if name in computed
            or (field.store and field.type not in ("binary", "one2many", "many2many") and name not in SKIPPED)
        ]

    def _get_values(self, record, shown):
        """Yield (label, field, value in words) for what is known of a record."""
        for label, field in shown:
            if value := record[field.name]:
                yield label, field, self._clean(self._describe(record, field, value))

    def _describe(self, record, field, value):
        if field.type == "many2one":
            return value.display_name
        if field.type == "selection":
            return dict(field._description_selection(self.env)).get(value, value)
        if field.type == "datetime":
            return f"{fields.Datetime.to_string(value)} UTC"
        return self.env._("Yes") if value is True else value

    def _clean(self, value):
        """Return a value as text that XML can hold."""
        return UNWRITABLE.sub("\ufffd", str(value))
