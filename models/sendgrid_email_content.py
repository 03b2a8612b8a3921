import logging
from collections import Counter
from dataclasses import replace

from odoo import api, fields, models
from odoo.tools import SQL, html_sanitize, is_html_empty

from ..tools.sending import contents, difference, disarm

_logger = logging.getLogger(__name__)


class SendgridEmail(models.Model):
    """The content of a document: what its recipient saw, whatever becomes of the message and the mailing."""

    _inherit = "sendgrid.email"

    content_id = fields.Many2one(
        "sendgrid.content",
        string="Shared Content",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        groups=fields.NO_ACCESS,
    )
    content_changes = fields.Binary(
        string="Own Content",
        attachment=False,
        readonly=True,
        groups=fields.NO_ACCESS,
        help="What makes the content of this e-mail out of the shared one, if it is not the same.",
    )
    content_state = fields.Selection(
        [("kept", "Kept"), ("empty", "Empty"), ("credentials", "Gives Access to Odoo")],
        string="Content Kept",
        readonly=True,
        help="Empty for e-mails that were sent before Odoo kept what their recipients saw.",
    )
    content_has_secrets = fields.Boolean(
        string="Links Cut Out",
        readonly=True,
        help="Links that only the recipient may use were cut out when it was sent.",
    )
    content = fields.Html(
        compute="_compute_content",
        sanitize=False,
        help="The e-mail as its recipient saw it, without the links that only its recipient may use.",
    )
    has_secret_links = fields.Boolean(
        compute="_compute_content",
        help="Links that only the recipient may use were removed from the shown content.",
    )
    content_note = fields.Char(
        string="About the Content",
        compute="_compute_content",
        help="Why there is no content, or why it may not be what the recipient saw.",
    )

    @api.depends("content_id", "content_changes", "content_state", "mail_message_id", "mailing_res_id")
    @api.depends_context("lang")
    def _compute_content(self):
        # Whoever may see the e-mail sees its content, also where he may not read its message or mailing by itself.
        self.fetch(["content_state"])
        sources = self.sudo()._read_sources()
        for email in self.sudo():
            source, note = sources.get(email.id), False
            if source is None:
                source, note = email._get_present_source()
            # Clean the HTML here and not when the e-mail is sent, because most e-mails are never looked at. Look for
            # secrets once more: what was not known for one when the e-mail was sent, or appears only now. The styles
            # stay, because the page shows the e-mail in a frame of its own: core's list of styles lacks the colour
            # behind the white words of its own buttons.
            content = html_sanitize(source or "", sanitize_attributes=False)
            content, has_secrets = disarm.disarm(content, self.env["ir.http"]._get_sendgrid_site())
            email.content = content
            email.has_secret_links = has_secrets or email.content_has_secrets
            email.content_note = note

    def _read_sources(self):
        """Return {id: HTML as it was sent}, for the e-mails of which it was kept."""
        if not self:
            return {}
        self.flush_recordset(["content_id", "content_changes"])
        self.env["sendgrid.content"].flush_model(["packed"])
        rows = self.env.execute_query(
            SQL(
                """SELECT email.id, content.packed, email.content_changes
                     FROM sendgrid_email email JOIN sendgrid_content content ON content.id = email.content_id
                    WHERE email.id = ANY(%s) AND content.packed IS NOT NULL""",
                self.ids,
            )
        )
        sources = {}
        for id_, packed, changes in rows:
            text = difference.unpack(bytes(packed))
            sources[id_] = text if changes is None else difference.patch(text, bytes(changes))
        return sources

    def _read_mailings(self):
        """Return {id: HTML of its mailing as it is now}, for the e-mails of mailings that still exist."""
        sent = self.filtered(lambda email: email.mailing_res_id and email.content_state != "empty")
        if not sent or "mailing.mailing" not in self.env:
            return {}
        mailings = self.env["mailing.mailing"].browse(set(sent.mapped("mailing_res_id"))).exists()
        bodies = {mailing.id: mailing.body_html for mailing in mailings}
        return {email.id: bodies.get(email.mailing_res_id) for email in sent}

    def _get_present_source(self):
        """Return the HTML and a sentence about it, for an e-mail of which no content was kept."""
        if self.content_state == "credentials":
            return None, self.env._(
                "This e-mail gives its recipient access to Odoo, for example by a link to set a password. So its "
                "content is kept nowhere."
            )
        if self.content_state == "empty":
            return None, self.env._("This e-mail was sent without any text.")
        if source := self.mail_message_id.body:
            return source, self.env._(
                "What the recipient saw was not kept. This is the message as it is now, without layout and signature."
            )
        if self.mailing_res_id and "mailing.mailing" in self.env:
            mailing = self.env["mailing.mailing"].browse(self.mailing_res_id).exists()
            if mailing.body_html:
                return mailing.body_html, self.env._(
                    "What the recipient saw was not kept. This is the mailing as it is now, without the recipient's "
                    "own values."
                )
        return None, self.env._("What the recipient saw was not kept, and its message is gone.")

    def _get_body_to_send_again(self):
        """Return the HTML for a new mail with the same words.

        It is the message's, as long as that exists: what the recipient saw has the layout around it, and the new mail
        gets a layout of its own.
        """
        body = self.sudo().mail_message_id.body
        if is_html_empty(body):
            # The composer has no frame that keeps styles from the page.
            return html_sanitize(self.content, sanitize_attributes=False, sanitize_style=True)
        return disarm.disarm(body, self.env["ir.http"]._get_sendgrid_site())[0]

    def unlink(self):
        content_ids = self.sudo().content_id.ids
        result = super().unlink()
        self.env["sendgrid.content"].sudo()._forget_unused(content_ids)
        return result

    # ------------------------------------------------------------
    # SENDING
    # ------------------------------------------------------------

    @api.model
    def _keep_contents(self, outbox, copies, can_query=True):
        """Decide what the documents of a mail's copies keep of its content. Errors are logged: the mail has left.

        :param outbox: the `tools.sending.outbox.Outbox` of the run
        :param copies: list of its `tools.sending.outbox.Copy`
        :param bool can_query: the transaction is usable
        :return: list of the same copies, with ``kept``
        """
        try:
            documents = Counter()
            for copy in copies:
                documents[copy.body] += len(copy.tracked)
            return [
                replace(copy, kept=self._keep_content(outbox, copy.body, documents[copy.body], can_query))
                if copy.tracked and copy.body is not None
                else copy
                for copy in copies
            ]
        except Exception:
            _logger.exception("SendGrid: documents without their contents")
            return copies

    @api.model
    def _keep_content(self, outbox, body, documents, can_query):
        if outbox.opens_account:
            return contents.Kept(contents.CREDENTIALS)
        return outbox.contents.keep(
            "" if is_html_empty(body) else body,
            outbox.mail_message_id,
            outbox.mailing_id,
            documents=documents,
            find=self.env["sendgrid.content"].sudo()._find_of_mailing if can_query else lambda _mailing_id: (),
        )

    @api.model
    def _prepare_content(self, copy):
        """Return the columns for what a copy (`tools.sending.outbox.Copy`) keeps of its content.

        :return: {column: value}. ``content_id`` is a `tools.sending.contents.Content`, which `_resolve_contents` stores
        """
        kept = copy.kept
        if not kept:
            return self._no_content()
        return {
            "content_id": kept.content,
            "content_changes": kept.changes,
            "content_state": kept.state,
            "content_has_secrets": kept.has_secrets,
        }

    @api.model
    def _no_content(self):
        return {"content_id": None, "content_changes": None, "content_state": None, "content_has_secrets": False}

    @api.model
    def _resolve_contents(self, rows):
        """Store the new contents of rows of documents, and return rows with their ids."""
        if new := [row["content_id"] for row in rows if row["content_id"] and not row["content_id"].id]:
            self.env["sendgrid.content"].sudo()._store(new)
        return [{**row, "content_id": row["content_id"].id if row["content_id"] else None} for row in rows]

    @api.model
    def _forget_stored(self, rows):
        """Note that the contents of rows are not stored any more, because what stored them was undone."""
        for row in rows:
            if row["content_id"]:
                row["content_id"].id = None
