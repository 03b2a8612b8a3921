from collections import defaultdict

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.sending.followed import Clicks, find_followed


class SendgridEmail(models.Model):
    """The number of clicks beside each link of a document's content."""

    _inherit = "sendgrid.email"

    link_clicks = fields.Json(
        string="Clicks on Links",
        compute="_compute_link_clicks",
        help="The links of the content that were followed, with words for how often. Link checks by machines and "
        "clicks by colleagues are not counted.",
    )

    @api.depends("content")
    @api.depends_context("lang")
    def _compute_link_clicks(self):
        clicks = self._read_clicks()
        for email in self:
            followed = find_followed(email.content, clicks[email.id]) if clicks[email.id] and email.content else []
            email.link_clicks = [
                {"href": link.href, "place": link.place, "text": self._describe_followed(link.count, link.unknown)}
                for link in followed
            ]

    def _read_clicks(self):
        """Return {id: list of `tools.sending.followed.Clicks`} for the measured ones of the documents, in one query."""
        clicks = defaultdict(list)
        if not self.ids:
            return clicks
        self.flush_recordset(["measured"])
        self.env["sendgrid.event"].flush_model(["email_id", "event", "url", "url_offset", "verdict"])
        rows = self.env.execute_query(
            SQL(
                """SELECT event.email_id, event.url, COALESCE(event.url_offset, ''), count(*),
                          count(*) FILTER (WHERE event.verdict = 'unknown')
                     FROM sendgrid_event event JOIN sendgrid_email email ON email.id = event.email_id
                    WHERE event.email_id = ANY(%s) AND event.event = 'click' AND event.url IS NOT NULL
                      AND event.verdict IN ('human', 'unknown') AND email.measured IS DISTINCT FROM 'none'
                 GROUP BY event.email_id, event.url, event.url_offset
                 ORDER BY event.email_id, event.url, event.url_offset""",
                self.ids,
            )
        )
        for id_, *told in rows:
            clicks[id_].append(Clicks(*told))
        return clicks

    @api.model
    def _describe_followed(self, count, unknown):
        """Say how often a link was followed.

        :param count: the clicks of people, and of whom it cannot be told
        :param unknown: the latter of these
        """
        if unknown == count:
            return self.env._("Clicks: %s, by whom unknown", count)
        if unknown:
            return self.env._(
                "Clicks: %(clicks)s, of these by whom unknown: %(unknown)s", clicks=count, unknown=unknown
            )
        return self.env._("Clicks: %s", count)
