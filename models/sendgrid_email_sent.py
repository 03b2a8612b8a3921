import functools
import logging

import psycopg2

from odoo import SUPERUSER_ID, api, fields, models
from odoo.tools import is_html_empty

from ..tools.sending import links
from . import bulk
from .undoable import LASTING

_logger = logging.getLogger(__name__)


class SendgridEmail(models.Model):
    """The recording of what left: a document for each recipient of a copy that SendGrid accepted."""

    _inherit = "sendgrid.email"

    @api.model
    def _record_sent(self, mail, account_id, copies, success_partners, is_kept=False, is_final=False):
        """Create the documents of the copies of ``mail`` that SendGrid accepted.

        Whatever happens, the transaction must go on: the mail has left, and a rollback would send it again. Documents
        that exist are not touched.

        :param copies: the accepted `tools.sending.outbox.Copy`, in the order of sending
        :param success_partners: the recipients (`res.partner`) whose copies were accepted: the last of ``copies``
        :param is_kept: core keeps the mail, since something of it failed
        :param is_final: the transaction is about to be committed
        """
        if not any(copy.tracked for copy in copies):
            return
        rows = None
        try:
            with self.env.cr.savepoint():
                rows = self._prepare_sent_rows(mail, account_id, copies, success_partners, is_kept)
                self._insert_new(rows)
        except Exception:
            if rows is None:
                _logger.exception("SendGrid: documents of mail %s without their details", mail.id)
                rows = self._prepare_bare_rows(account_id, copies)
            self._write_sent(rows)
        self._keep_over_rollback(rows, is_final)

    @api.model
    def _prepare_bare_rows(self, account_id, copies, about=None):
        """Return the rows of documents of which little more is known than that they left.

        :param about: further columns, the same for all
        """
        now = fields.Datetime.now()
        return [
            {
                "is_in_chatter": False,
                **(about or {}),
                "account_id": account_id,
                "odoo_id": copy.odoo_id,
                "message_id": copy.message_id,
                "sg_message_id": copy.sg_message_id,
                "recipient": address,
                "is_alone": len(copy.recipients) == 1,
                "sent_date": now,
                "status": "sent",
                "open_count": 0,
                "click_count": 0,
                "machine_open_count": 0,
                "machine_click_count": 0,
                "create_uid": self.env.uid,
                "create_date": now,
                "write_uid": self.env.uid,
                "write_date": now,
            }
            for copy in copies
            for address in copy.tracked
        ]

    @api.model
    def _write_sent(self, rows):
        attempts = (
            lambda: rows,
            # A copy that had left before has its document, to which the drain may just have written.
            lambda: self._without_known(rows),
            # Or a contact was deleted meanwhile: better a document without it than none.
            lambda: [{**row, **self._no_references(row)} for row in self._without_known(rows)],
        )
        for attempt in attempts:
            try:
                with self.env.cr.savepoint(flush=False):
                    self._insert_new(attempt())
                return
            except psycopg2.Error as error:
                reason = error
        _logger.error("SendGrid: document of message %s not written: %s", rows[0]["message_id"], reason)

    @api.model
    def _without_known(self, rows):
        known = self.env["sendgrid.match"]._get_documents("odoo_id", {row["odoo_id"] for row in rows})
        return [row for row in rows if row["recipient"] not in {found.recipient for found in known[row["odoo_id"]]}]

    @api.model
    def _keep_over_rollback(self, rows, is_final):
        """See to it that the documents are there after the transaction, however it ends: the mail has left.

        Core sends a password's link in a savepoint that it always rolls back.
        """
        cr = self.env.cr
        for queue in [cr.postrollback] if is_final else [cr.postrollback, cr.postcommit]:
            # Each mail puts the call off, for an undone rule takes its own back; the first writes for all.
            kept = queue.data.setdefault(LASTING, [])
            kept += rows
            write = functools.partial(self._write_lost, self.env.registry, kept)
            write.is_lasting = True  # see `undoable`
            queue.add(write)

    @staticmethod
    def _write_lost(registry, kept):
        rows = kept.copy()
        kept.clear()
        if not rows:
            return
        try:
            with registry.cursor() as cr:
                emails = api.Environment(cr, SUPERUSER_ID, {})["sendgrid.email"]
                for row in emails._without_known(rows):
                    # The mail and its message went with the savepoint.
                    emails._write_sent([{**row, "mail_message_id": None, "mail_id": None}])
        except Exception:
            _logger.exception("SendGrid: documents of sent mails not written after a rollback")

    @api.model
    def _no_references(self, row):
        return dict.fromkeys(("mail_message_id", "mail_id", "partner_id", "author_id") & row.keys())

    @api.model
    def _insert_new(self, rows):
        """Insert the rows that are not there yet."""
        bulk.insert(self, rows, conflict=bulk.SKIP_KNOWN)
        # What a mail knows of its documents is all that can have been read of them.
        self.invalidate_model(["mail_id"], flush=False)

    @api.model
    def _prepare_sent_rows(self, mail, account_id, copies, success_partners, is_kept):
        message = mail.mail_message_id
        # What core is about to delete is not pointed to: setting it to null again would cost a look for each mail.
        is_going = mail.auto_delete and not is_kept
        message_stays = mail.is_notification or not is_going
        mailing = mail.mailing_id if "mailing_id" in mail._fields else None
        about = {
            **self._prepare_about(mail),
            "mail_message_id": (message_stays and message.id) or None,
            "mail_id": None if is_going else mail.id,
            "mailing_res_id": mailing.id if mailing else None,
        }
        if not mailing and not (message_stays and not is_html_empty(message.body)):
            about["body"] = self._get_own_body(mail)
        partner_copies = len(copies) - len(success_partners)
        partners = [None] * partner_copies + list(success_partners)
        addresses = {address for copy in copies[:partner_copies] for address in copy.tracked}
        contacts = self._get_contacts(mail, account_id, addresses) if addresses else {}
        return [
            {**row, "partner_id": partner.id if partner else contacts.get(row["recipient"])}
            for copy, partner in zip(copies, partners, strict=True)
            for row in self._prepare_bare_rows(account_id, [copy], about)
        ]

    @api.model
    def _prepare_about(self, mail):
        """Return the columns that every document of a mail has, whatever else can still be asked."""
        return {
            "author_id": mail.author_id.id or None,
            "subject": mail.subject or None,
            "model": mail.model or None,
            "res_id": mail.res_id or None,
            "is_in_chatter": self._is_in_chatter(mail),
        }

    @api.model
    def _get_own_body(self, mail):
        """Return the source of the content to keep, or None: what opens an account is kept nowhere."""
        body = mail.body_html or ""
        return None if self._opens_account(mail) or is_html_empty(body) else body

    @api.model
    def _opens_account(self, mail):
        """Tell whether a mail is about somebody's access to Odoo, such as a link to set a password."""
        return mail.model == "res.users" or links.leads_to_credentials(mail.body_html or "")

    @api.model
    def _is_in_chatter(self, mail):
        """Tell whether whoever may read the record of a mail may read it there."""
        return self._stands_in_chatter(mail.mail_message_id) and not self._opens_account(mail)

    @api.model
    def _stands_in_chatter(self, message):
        """Tell whether a message (`mail.message`) stands in its record's chatter for whoever may read the record.

        What core's modules write to one person, such as an invitation to a meeting, does not (`user_notification`);
        nor do notes among colleagues. A mail from a template or a mailing has no subtype, but it does.
        """
        if not message.model or not message.res_id or message.message_type == "user_notification":
            return False
        subtype = message.subtype_id
        is_note = subtype.internal if subtype else message.message_type != "email_outgoing"
        return not is_note and not message.is_internal

    @api.model
    def _get_contacts(self, mail, account_id, addresses):
        """Find whose the addresses are: the record's own contact before others, then the oldest contact.

        :return: contact ids by address
        """
        company = mail.record_company_id or self.env["sendgrid.account"].sudo().browse(account_id).company_id
        company = company or self.env.company
        partners = (
            self.env["res.partner"]
            .sudo()
            .search_fetch(
                [("email_normalized", "in", list(addresses)), ("company_id", "in", [False, company.id])],
                ["email_normalized"],
                order="id desc",
            )
        )
        contacts = {partner.email_normalized: partner.id for partner in partners}
        if mail.model in self.env and mail.res_id:
            record = self.env[mail.model].sudo().browse(mail.res_id).exists()
            if record and hasattr(record, "_mail_get_partners"):
                own = record._mail_get_partners()[record.id]
                contacts |= {partner.email_normalized: partner.id for partner in own if partner.email_normalized}
        return contacts
