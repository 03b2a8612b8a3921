import functools
import logging

import psycopg2

from odoo import SUPERUSER_ID, api, fields, models

from ..tools.sending import links
from . import bulk
from .undoable import LASTING

_logger = logging.getLogger(__name__)


class SendgridEmail(models.Model):
    """The recording of sent mails: each recipient of a copy that SendGrid accepted gets a document."""

    _inherit = "sendgrid.email"

    @api.model
    def _record_sent(self, mail, account_id, copies, success_partners, is_kept=False, is_final=False):
        """Create the documents of the copies of ``mail`` that SendGrid accepted.

        Errors are logged and not raised: the mail has left, and after a rollback Odoo would send it again. Documents
        that exist are not touched.

        :param mail: the `mail.mail` record
        :param int account_id: id of the `sendgrid.account`
        :param copies: list of the accepted `tools.sending.outbox.Copy`, in the order of sending
        :param success_partners: the recipients (`res.partner`) whose copies were accepted. Their copies are the last
            of ``copies``, in the same order.
        :param bool is_kept: core keeps the mail, because a part of it failed
        :param bool is_final: core commits the transaction next
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
            self._forget_stored(rows)
            self._write_sent(rows)
        self._keep_over_rollback(rows, is_final)

    @api.model
    def _prepare_bare_rows(self, account_id, copies, about=None):
        """Return rows for documents, made from the copies alone: it reads nothing from the database.

        :param int account_id: id of the `sendgrid.account`
        :param copies: list of `tools.sending.outbox.Copy`
        :param about: {column: value} to add to each row
        :return: list of {column: value}, one for each tracked recipient of each copy
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
                "unknown_open_count": 0,
                "unknown_click_count": 0,
                "machine_open_count": 0,
                "machine_click_count": 0,
                **self._prepare_content(copy),
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
        """Insert rows of documents, with less in them at each further attempt. An error of the last one is logged."""
        attempts = (
            lambda: rows,
            # A copy that left before has its document already, and the drain may be writing to it. Leave it out.
            lambda: self._without_known(rows),
            # A contact may have been deleted meanwhile. A document without its contact is better than none.
            lambda: [{**row, **self._no_references(row)} for row in self._without_known(rows)],
            # Or its content cannot be stored, for whatever reason.
            lambda: [{**row, **self._no_references(row), **self._no_content()} for row in self._without_known(rows)],
        )
        for attempt in attempts:
            try:
                with self.env.cr.savepoint(flush=False):
                    self._insert_new(attempt())
                return
            except psycopg2.Error as error:
                reason = error
                self._forget_stored(rows)
        _logger.error("SendGrid: document of message %s not written: %s", rows[0]["message_id"], reason)

    @api.model
    def _without_known(self, rows):
        """Return the rows whose copy and recipient have no document yet."""
        known = self.env["sendgrid.match"]._get_documents("odoo_id", {row["odoo_id"] for row in rows})
        return [row for row in rows if row["recipient"] not in {found.recipient for found in known[row["odoo_id"]]}]

    @api.model
    def _keep_over_rollback(self, rows, is_final):
        """Have the documents written again after the transaction if they are lost by then: the mail has left.

        They can be lost even if the transaction is committed: core sends the link to set a password in a savepoint
        that it always rolls back.

        :param rows: rows of documents, as `_prepare_bare_rows` returns them
        :param bool is_final: the transaction is committed next, so only its rollback can lose the documents
        """
        cr = self.env.cr
        for queue in [cr.postrollback] if is_final else [cr.postrollback, cr.postcommit]:
            # Put a call off for each mail, because an automation rule that is undone takes back the calls that it put
            # off. All calls share one list of rows, and the first call writes all of it.
            kept = queue.data.setdefault(LASTING, [])
            kept += rows
            write = functools.partial(self._write_lost, self.env.registry, kept)
            write.is_lasting = True  # see `undoable`
            queue.add(write)

    @staticmethod
    def _write_lost(registry, kept):
        """Write the rows that have no document, in a transaction of its own. Errors are logged and not raised.

        :param registry: the registry of the database
        :param kept: list of rows of documents; it is emptied
        """
        rows = kept.copy()
        kept.clear()
        if not rows:
            return
        try:
            with registry.cursor() as cr:
                emails = api.Environment(cr, SUPERUSER_ID, {})["sendgrid.email"]
                emails._forget_stored(rows)
                for row in emails._without_known(rows):
                    # The rollback may have undone the mail and its message as well, so do not reference them.
                    emails._write_sent([{**row, "mail_message_id": None, "mail_id": None}])
        except Exception:
            _logger.exception("SendGrid: documents of sent mails not written after a rollback")

    @api.model
    def _no_references(self, row):
        return dict.fromkeys(("mail_message_id", "mail_id", "partner_id", "author_id") & row.keys())

    @api.model
    def _insert_new(self, rows):
        """Insert the rows of documents that do not exist yet."""
        bulk.insert(self, self._resolve_contents(rows), conflict=bulk.SKIP_KNOWN)
        # Nobody can have read a new document. Only a mail's list of its documents may be in the cache.
        self.invalidate_model(["mail_id"], flush=False)

    @api.model
    def _prepare_sent_rows(self, mail, account_id, copies, success_partners, is_kept):
        """Return complete rows for documents. The parameters are those of `_record_sent`.

        :return: list of {column: value}, one for each tracked recipient of each copy
        """
        message = mail.mail_message_id
        # Do not reference a mail that core deletes next: `set null` would cost a query for each.
        is_going = mail.auto_delete and not is_kept
        message_stays = mail.is_notification or not is_going
        mailing = mail.mailing_id if "mailing_id" in mail._fields else None
        about = {
            **self._prepare_about(mail),
            "mail_message_id": (message_stays and message.id) or None,
            "mail_id": None if is_going else mail.id,
            "mailing_res_id": mailing.id if mailing else None,
        }
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
        """Return the columns that all documents of a mail share, as far as the mail and its message tell them.

        :return: {column: value}
        """
        return {
            "author_id": mail.author_id.id or None,
            "subject": mail.subject or None,
            "model": mail.model or None,
            "res_id": mail.res_id or None,
            "is_in_chatter": self._is_in_chatter(mail),
        }

    @api.model
    def _opens_account(self, mail):
        """Tell whether a mail is about somebody's access to Odoo, such as a link to set a password."""
        return mail.model == "res.users" or links.leads_to_credentials(mail.body_html or "")

    @api.model
    def _is_in_chatter(self, mail):
        """Tell whether everybody who may read the record of a mail may read the mail there."""
        return self._stands_in_chatter(mail.mail_message_id) and not self._opens_account(mail)

    @api.model
    def _stands_in_chatter(self, message):
        """Tell whether a message (`mail.message`) stands in its record's chatter for everybody who may read the record.

        A message that core's modules write to one person (`user_notification`), such as an invitation to a meeting,
        does not. Neither does a note among colleagues. A mail from a template or a mailing does, though it has no
        subtype.
        """
        if not message.model or not message.res_id or message.message_type == "user_notification":
            return False
        subtype = message.subtype_id
        is_note = subtype.internal if subtype else message.message_type != "email_outgoing"
        return not is_note and not message.is_internal

    @api.model
    def _get_contacts(self, mail, account_id, addresses):
        """Find the contacts with these addresses: the record's own contact if it has the address, else the oldest one.

        :param mail: the `mail.mail` record
        :param int account_id: id of the `sendgrid.account`, which may tell the company
        :param addresses: normalized addresses
        :return: {address: contact id}, without the addresses that no contact has
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
