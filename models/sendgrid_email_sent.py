import functools
import logging
import re
from collections import defaultdict
from dataclasses import replace
from typing import NamedTuple

import psycopg2

from odoo import SUPERUSER_ID, api, fields, models
from odoo.service.model import retrying
from odoo.tools import SQL

from ..tools.address_form import all_spellings, comparable
from ..tools.sending import links
from ..tools.sending.outbox import get_domain
from . import bulk
from .company_language import in_company_language
from .undoable import LASTING, TRY_LATER

_logger = logging.getLogger(__name__)

# A document whose e-mail did not leave until now tells of the try that left: the mail may have been changed in between.
LEAVES = SQL("known.status = 'failed' AND EXCLUDED.sent_count > 0")
# What a document that exists learns from a further try. What the events have said of it stays.
LEARN = SQL(
    """ON CONFLICT (odoo_id, recipient) DO UPDATE
       SET sent_count = GREATEST(known.sent_count, EXCLUDED.sent_count),
           sent_date = COALESCE(known.sent_date, EXCLUDED.sent_date),
           date = COALESCE(known.sent_date, EXCLUDED.date),
           status = CASE known.status WHEN 'failed' THEN EXCLUDED.status ELSE known.status END,
           status_reason = CASE known.status WHEN 'failed' THEN EXCLUDED.status_reason ELSE known.status_reason END,
           sg_message_id = COALESCE(known.sg_message_id, EXCLUDED.sg_message_id),
           measured = CASE WHEN %(tells_level)s THEN EXCLUDED.measured ELSE known.measured END,
           unmeasured_reason = CASE WHEN %(tells_level)s THEN EXCLUDED.unmeasured_reason
                                    ELSE known.unmeasured_reason END,
           %(of_the_try)s,
           content_id = CASE WHEN %(has_new_content)s THEN EXCLUDED.content_id
                             ELSE COALESCE(known.content_id, EXCLUDED.content_id) END,
           content_changes = CASE WHEN %(has_new_content)s OR known.content_id IS NULL THEN EXCLUDED.content_changes
                                  ELSE known.content_changes END,
           content_state = CASE WHEN %(has_new_content)s THEN EXCLUDED.content_state
                                ELSE COALESCE(known.content_state, EXCLUDED.content_state) END,
           content_has_secrets = CASE WHEN %(has_new_content)s THEN EXCLUDED.content_has_secrets
                                      ELSE known.content_has_secrets OR EXCLUDED.content_has_secrets END,
           write_date = EXCLUDED.write_date
     WHERE known.status = 'failed' OR COALESCE(known.sent_count, 0) < EXCLUDED.sent_count""",
    of_the_try=SQL(", ").join(
        SQL(
            "%(column)s = CASE WHEN %(leaves)s THEN EXCLUDED.%(column)s ELSE known.%(column)s END",
            column=SQL.identifier(column),
            leaves=LEAVES,
        )
        for column in ("account_id", "subject", "email_from", "recipient_role", "is_alone")
    ),
    # Once it has left without being measured, no later try makes it measured. And of what was measured before, none
    # makes it unmeasured: the document would tell opens that it says it does not know.
    tells_level=SQL(
        """(%s OR (COALESCE(known.sent_count, 0) < EXCLUDED.sent_count AND COALESCE(known.measured, 'full') = 'full'
                   AND COALESCE(known.open_count, 0) + COALESCE(known.click_count, 0)
                       + COALESCE(known.machine_open_count, 0) + COALESCE(known.machine_click_count, 0) = 0))""",
        LEAVES,
    ),
    has_new_content=SQL("%s AND (EXCLUDED.content_id IS NOT NULL OR EXCLUDED.content_state IS NOT NULL)", LEAVES),
)
# Its recipient may have declined while a long run was under way.
HAS_DECLINED = SQL(
    """new.measured = 'full' AND EXISTS (
           SELECT FROM sendgrid_address address WHERE address.email = new.recipient AND email_tracking = 'declined')"""
)
DECLINED = {
    "measured": SQL("CASE WHEN %s THEN 'none' ELSE new.measured END", HAS_DECLINED),
    "unmeasured_reason": SQL("CASE WHEN %s THEN 'wish' ELSE new.unmeasured_reason END", HAS_DECLINED),
}
# The columns that these name.
NAMED = {"measured", "recipient", "unmeasured_reason"}

# What looks like an address in the words of a server or of an exception.
# Words of a server stand between marks that are not seen, see `said`.
ADDRESS = re.compile(r"""[^\s<>()"'“”:;,\u2068\u2069]+@[^\s<>()"'“”:;,\u2068\u2069]+""")

REFERENCES = {
    "again_of_id",
    "author_id",
    "company_id",
    "mail_id",
    "mail_message_id",
    "mailing_source_id",
    "partner_id",
    "team_id",
    "template_id",
}


class Known(NamedTuple):
    """What is known of a document of a mail that was tried before."""

    id: int
    mail_id: int
    odoo_id: str
    recipient: str
    partner_id: int | None
    status: str
    sent_count: int


class SendgridEmail(models.Model):
    """The recording of sent mails: each recipient of a copy that SendGrid accepted gets a document."""

    _inherit = "sendgrid.email"

    @api.model
    def _record(self, mail, outbox, copies, failed, reason, is_kept=False):
        """Write the documents of a mail's copies: those that SendGrid accepted, and those that did not leave.

        Errors are logged and not raised: what was accepted has left, and after a rollback Odoo would send it again.

        :param mail: the `mail.mail` record
        :param outbox: the `tools.sending.outbox.Outbox` in which the mail is open
        :param copies: list of the accepted `tools.sending.outbox.Copy`
        :param failed: list of those that did not leave
        :param str reason: why, where a copy does not say it
        :param bool is_kept: core keeps the mail, because a part of it failed
        """
        if not any(copy.tracked for copy in (*copies, *failed)):
            return
        rows, is_final = None, outbox.commits_each
        try:
            if self._can_be_gathered(mail, outbox, copies, failed):
                rows = self._prepare_rows(mail, outbox, copies, failed, reason, is_kept)
                outbox.gathered += rows
            else:
                with self.env.cr.savepoint():
                    rows = self._prepare_rows(mail, outbox, copies, failed, reason, is_kept)
                    self._insert(rows, outbox.known_documents.get(mail.id))
        except Exception as error:
            if rows is None:
                _logger.exception("SendGrid: documents of mail %s without their details", mail.id)
                about = {**outbox.about, "mail_id": outbox.mail}
                counts = self._get_counts(outbox, outbox.mail)
                rows = self._prepare_bare_rows(outbox.account_id, copies, about, counts)
            elif not isinstance(error, psycopg2.Error):
                _logger.exception("SendGrid: documents of mail %s", mail.id)
            self._forget_stored(rows)
            self._write_sent(rows)
            is_final = False  # what could not be written to a document that exists is written after the commit
        # What has not left is undone together with its mail. If whoever sends wants an exception, nothing else tells
        # of the mail afterwards.
        if copies or outbox.raises:
            # If the transaction is undone, the mail is still there, although it would have been deleted.
            references = {"mail_id": mail.id, "mail_message_id": mail.mail_message_id.id}
            self._keep_over_rollback([{**row, **references} for row in rows], is_final)

    @api.model
    def _can_be_gathered(self, mail, outbox, copies, failed):
        """Tell whether a mail's documents can wait for those of the other mails of the run: one query inserts all.

        So it is if the mails are committed together, nothing of this one is known before, all of it has left, and
        nothing need be asked for its documents. The parameters are those of `_record`.
        """
        if outbox.commits_each or outbox.raises or failed or outbox.known_documents.get(mail.id):
            return False
        return all(
            copy.contacts.get(address) and address not in copy.refused for copy in copies for address in copy.tracked
        )

    @api.model
    def _record_gathered(self, outbox):
        """Write the documents that waited for the end of a run."""
        # Mails of one message that are named by it share a document: the first one's.
        rows = {(row["odoo_id"], row["recipient"]): row for row in reversed(outbox.gathered)}
        outbox.gathered = []
        if rows:
            self._insert_together(list(reversed(rows.values())))

    @api.model
    def _record_at_once(self, outbox, copies):
        """Write the documents of accepted copies in a transaction of their own, because the present one is lost."""
        about = {**outbox.about, "mail_id": outbox.mail}
        counts = self._get_counts(outbox, outbox.mail)
        copies = self._keep_contents(outbox, copies, can_query=False)
        self._write_lost(self.env.registry, self._prepare_bare_rows(outbox.account_id, copies, about, counts))

    @api.model
    def _get_counts(self, outbox, mail_id):
        """Return {(odoo_id, recipient): how often it was sent} for the documents that a mail had before."""
        known = outbox.known_documents.get(mail_id, ())
        return {(one.odoo_id, one.recipient): one.sent_count for one in known}

    @api.model
    def _record_unconnected(self, mails, outbox, reason):
        """Write the documents of mails for which there was no connection. The parameters are those of `_record`."""
        rows = []
        for mail in mails:
            try:
                with self.env.cr.savepoint():
                    mail._open_in_outbox(outbox, mail._plan_copies())
                    failed = outbox.close_failed(mail.message_id, has_stopped=True)
                    rows += self._prepare_rows(mail, outbox, [], failed, reason or mail.failure_reason, is_kept=True)
            except Exception:
                _logger.exception("SendGrid: documents of mail %s, which was not sent", mail.id)
        # Mails of one message that are named by it share a document, and PostgreSQL takes it once in a query.
        rows = list({(row["odoo_id"], row["recipient"]): row for row in rows}.values())
        self._insert_together(rows, [one for known in outbox.known_documents.values() for one in known])
        if outbox.raises:
            self._keep_over_rollback(rows, is_final=False)

    @api.model
    def _insert_together(self, rows, known=()):
        """Insert the documents of several mails, or each by itself if one of them cannot be. Errors are logged."""
        try:
            with self.env.cr.savepoint():
                self._insert(rows, known)
        except Exception:
            _logger.exception("SendGrid: documents of several mails, now each by itself")
            self._forget_stored(rows)
            for row in rows:
                self._write_sent([row])

    @api.model
    def _get_documents_of_mails(self, mail_ids):
        """Return the documents of mails that were tried before: {mail id: list of `Known`}."""
        found = defaultdict(list)
        self.flush_model(["mail_id"])
        for row in self.env.execute_query(
            SQL(
                """SELECT id, mail_id, odoo_id, recipient, partner_id, status, COALESCE(sent_count, 0)
                     FROM sendgrid_email WHERE mail_id = ANY(%s)""",
                list(mail_ids),
            )
        ):
            known = Known(*row)
            found[known.mail_id].append(known)
        return found

    @api.model
    def _prepare_bare_rows(self, account_id, copies, about=None, counts=None):
        """Return rows for documents, made from the copies alone: it reads nothing from the database.

        :param int account_id: id of the `sendgrid.account`
        :param copies: list of `tools.sending.outbox.Copy` that SendGrid accepted
        :param about: {column: value} to add to each row
        :param counts: {(odoo_id, recipient): how often it was sent before}
        :return: list of {column: value}, one for each tracked recipient of each copy
        """
        now = fields.Datetime.now()
        counts = counts or {}
        return [
            {
                "is_in_chatter": False,
                **(about or {}),
                "account_id": account_id,
                "odoo_id": copy.odoo_id,
                "message_id": copy.message_id,
                "sg_message_id": None if address in copy.refused else copy.sg_message_id,
                "recipient": address,
                "partner_id": copy.contacts.get(address),
                "recipient_domain": get_domain(address),
                "recipient_role": copy.roles.get(address, "bcc") if copy.roles else None,
                "email_from": copy.sender or None,
                "is_alone": len(copy.recipients) == 1,
                "sent_date": None if address in copy.refused else now,
                "date": now,
                "sent_count": counts.get((copy.odoo_id, address), 0) + (address not in copy.refused),
                "status": "failed" if address in copy.refused else "sent",
                "status_reason": copy.refused.get(address),
                "measured": "none" if copy.unmeasured else "full",
                "unmeasured_reason": copy.unmeasured.get(address),
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
        if not rows:
            return
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
                    self._insert(attempt())
                return
            except Exception as error:  # whatever it is, the next attempt writes less, and the mail has left
                reason = error
                self._forget_stored(rows)
        _logger.error("SendGrid: document of message %s not written: %s", rows[0]["message_id"], reason)

    @api.model
    def _without_known(self, rows):
        """Return the rows whose copy and recipient have no document yet."""
        known = self._read_known(rows)
        return [row for row in rows if (row["odoo_id"], row["recipient"]) not in known]

    @api.model
    def _without_written(self, rows):
        """Return the rows that say more than the documents: that there is one, that it left, or left once more."""
        known = self._read_known(rows)
        nothing = (None, -1)
        return [
            row
            for row in rows
            for status, count in [known.get((row["odoo_id"], row["recipient"]), nothing)]
            if row["sent_count"] > count or (status == "failed" and row["sent_date"])
        ]

    @api.model
    def _read_known(self, rows):
        """Return {(odoo_id, recipient): (status, how often it was sent)} for the documents of rows that exist."""
        found = self.env.execute_query(
            SQL(
                """SELECT odoo_id, recipient, status, COALESCE(sent_count, 0) FROM sendgrid_email
                    WHERE odoo_id = ANY(%s)""",
                list({row["odoo_id"] for row in rows}),
            )
        )
        return {(odoo_id, recipient): (status, count) for odoo_id, recipient, status, count in found}

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
                env = api.Environment(cr, SUPERUSER_ID, {})
                env["sendgrid.email"]._forget_stored(rows)
                # The drain may be writing to a document that exists.
                retrying(functools.partial(env["sendgrid.email"]._write_again, rows), env)
        except Exception:
            _logger.exception("SendGrid: documents of sent mails not written after a rollback")

    @api.model
    def _write_again(self, rows):
        """Write what documents do not say yet of these rows, each by itself."""
        for row in self._without_gone(self._without_written(rows)):
            try:
                with self.env.cr.savepoint(flush=False):
                    self._insert([row])
            except TRY_LATER:
                raise
            except psycopg2.Error:
                self._write_sent([row])

    @api.model
    def _without_gone(self, rows):
        """Return the rows without the mails and messages that a rollback has undone."""
        for column, table in (("mail_id", "mail_mail"), ("mail_message_id", "mail_message")):
            ids = {row[column] for row in rows if row.get(column)}
            found = (
                self.env.execute_query(SQL("SELECT id FROM %s WHERE id = ANY(%s)", SQL.identifier(table), list(ids)))
                if ids
                else []
            )
            there = {id_ for (id_,) in found}
            rows = [{**row, column: row[column] if row.get(column) in there else None} for row in rows]
        return rows

    @api.model
    def _no_references(self, row):
        return dict.fromkeys(REFERENCES & row.keys())

    @api.model
    def _insert(self, rows, known=()):
        """Insert the rows of documents; a document that exists learns that it left, left once more, or failed again.

        It can be done again: how often an e-mail was sent is in the row, and not added up.

        :param known: the documents that the mail had before, as `Known`
        """
        self._adopt(rows, known)
        found = self._resolve_contents(rows)
        # Nearly all documents are new, and most mails have one. PostgreSQL inserts it faster if it need not know what
        # it would learn, nor of columns that stay empty.
        new = found
        if len(found) == 1:
            new = [{name: value for name, value in found[0].items() if value is not None or name in NAMED}]
        # Whoever is not measured stays so.
        lower = DECLINED if any(row["measured"] == "full" for row in new) else None
        inserted = [] if known else bulk.insert(self, new, conflict=bulk.SKIP_KNOWN, instead=lower)
        if has_known := len(inserted) < len(rows):
            inserted += bulk.insert(self, found, conflict=LEARN, instead=lower)
        ids = {id_ for (id_,) in inserted}
        self._notify_created(ids, rows if ids else [])
        if ids and any(row.get("reminder_days") for row in rows):
            self.env["sendgrid.reminder"]._create_for_sent(ids)
        if ids and (has_known or any(row["status"] == "failed" for row in rows)):
            outbox = self.env.context.get("sendgrid_outbox")
            if outbox:
                outbox.tried |= ids  # whoever sends tells of all of them at once
            else:
                self.env["sendgrid.interaction"]._hear_of_sending(ids)
        # Nobody can have read a new document. Only a mail's list of its documents may be in the cache.
        self.invalidate_model(["mail_id"], flush=False)
        if known and rows:
            changed = self.browse(one.id for one in known)
            changed.invalidate_recordset(flush=False)
            changed._notify_changed()

    @api.model
    def _adopt(self, rows, known):
        """Give documents that failed the names and addresses of the copies that now leave in their place.

        A copy is named by its addresses, which another module or a person may have changed since.
        """
        names = {(row["odoo_id"], row["recipient"]) for row in rows}
        taken = {(one.odoo_id, one.recipient) for one in known or ()}
        for one in known or ():
            if one.status != "failed" or (one.odoo_id, one.recipient) in names:
                continue
            for row in rows:
                is_same = row["recipient"] == one.recipient or (one.partner_id and row["partner_id"] == one.partner_id)
                if is_same and (name := (row["odoo_id"], row["recipient"])) not in taken:
                    taken.add(name)
                    self.env.cr.execute(
                        SQL(
                            """UPDATE sendgrid_email SET odoo_id = %s, recipient = %s, recipient_domain = %s
                                WHERE id = %s""",
                            *name,
                            row["recipient_domain"],
                            one.id,
                        )
                    )
                    break

    @api.model
    def _prepare_rows(self, mail, outbox, copies, failed, reason, is_kept):
        """Return complete rows for documents. The parameters are those of `_record`.

        :return: list of {column: value}, one for each tracked recipient of each copy
        """
        message = mail.mail_message_id
        # Do not reference a mail that core deletes next: `set null` would cost a query for each.
        is_going = mail.auto_delete and not is_kept
        message_stays = mail.is_notification or not is_going
        mailing = mail.mailing_id if "mailing_id" in mail._fields else None
        about = {
            **outbox.about,
            "mail_message_id": (message_stays and message.id) or None,
            "mail_id": None if is_going else mail.id,
            "mailing_res_id": mailing.id if mailing else None,
            "mailing_source_id": mailing.source_id.id or None if mailing else None,
        }
        counts = self._get_counts(outbox, mail.id)
        all_copies = [*copies, *(self._with_reasons(copy, reason) for copy in failed)]
        strangers = {address for copy in all_copies for address in copy.tracked if not copy.contacts.get(address)}
        contacts = self._get_contacts(mail, outbox.account_id, strangers) if strangers else {}
        rows = []
        for copy in all_copies:
            for row in self._prepare_bare_rows(outbox.account_id, [copy], about, counts):
                address = row["recipient"]
                rows.append({**row, "partner_id": copy.contacts.get(address) or contacts.get(address)})
        return self._without_colleagues(rows)

    @api.model
    @in_company_language
    def _with_reasons(self, copy, reason):
        """Return a copy that did not leave with a reason for each of its addresses, in words.

        :param str reason: the reason of the mail
        """
        words = {}
        if not copy.is_tried and self._names_others(copy, reason):
            reason = self.env["ir.mail_server"]._explain_not_tried()
        for address, said in copy.refused.items():
            if not address:
                words[address] = self.env._("The contact has no e-mail address.")
            elif "@" not in address:
                words[address] = self.env._("“%s” is no e-mail address.", address)
            else:
                words[address] = said or reason or self._explain_unconfirmed()
        return replace(copy, refused=words)

    @api.model
    def _names_others(self, copy, reason):
        """Tell whether a reason names an address that the recipients of a copy need not know, such as a Bcc's."""
        named = {comparable(address.rstrip(".")) for address in ADDRESS.findall(reason or "")}
        return bool(named - {*copy.recipients, copy.sender})

    @api.model
    @in_company_language
    def _explain_unconfirmed(self):
        return self.env._("Nobody told Odoo that the e-mail was sent. Another app may have hidden why it was not.")

    @api.model
    def _without_colleagues(self, rows):
        """Return the rows without colleagues who have no address by which they would have been recognized."""
        nameless = {row["partner_id"] for row in rows if "@" not in row["recipient"] and row["partner_id"]}
        if not nameless:
            return rows
        colleagues = set(self.env["res.partner"].browse(nameless).filtered(lambda one: not one.partner_share).ids)
        return [row for row in rows if "@" in row["recipient"] or row["partner_id"] not in colleagues]

    @api.model
    def _prepare_about(self, mail, outbox):
        """Return the columns that all documents of a mail share, as far as the mail and its message tell them.

        :param outbox: `tools.sending.outbox.Outbox`, which knows what was looked up for all mails
        :return: {column: value}
        """
        _company_id, team_id = outbox.owners.get((mail.model, mail.res_id), (None, None))
        return {
            "author_id": mail.author_id.id or None,
            "subject": mail.subject or None,
            "model": mail.model or None,
            "res_id": mail.res_id or None,
            "is_in_chatter": self._is_in_chatter(mail),
            "company_id": self._get_company_id(mail, outbox),
            "template_id": mail.sendgrid_template_id.id or None,
            "team_id": team_id or None,
            "again_of_id": mail.sendgrid_again_of_id.id or None,
            "reminder_days": mail.mail_message_id.sendgrid_reminder_days or None,
        }

    @api.model
    def _get_company_id(self, mail, outbox):
        """Return the id of the company whose a mail and its documents are. The parameters are those of the above."""
        if mail.id not in outbox.company_ids:
            company_id, _team_id = outbox.owners.get((mail.model, mail.res_id), (None, None))
            outbox.company_ids[mail.id] = mail.record_company_id.id or company_id or outbox.company_id
        return outbox.company_ids[mail.id]

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
        :param addresses: comparable addresses
        :return: {address: contact id}, without the addresses that no contact has
        """
        company = mail.record_company_id or self.env["sendgrid.account"].sudo().browse(account_id).company_id
        company = company or self.env.company
        partners = (
            self.env["res.partner"]
            .sudo()
            .search_fetch(
                [("email_normalized", "in", all_spellings(addresses)), ("company_id", "in", [False, company.id])],
                ["email_normalized"],
                order="id desc",
            )
        )
        contacts = {comparable(partner.email_normalized): partner.id for partner in partners}
        if mail.model in self.env and mail.res_id:
            record = self.env[mail.model].sudo().browse(mail.res_id).exists()
            if record and hasattr(record, "_mail_get_partners"):
                own = record._mail_get_partners()[record.id]
                contacts |= {
                    comparable(partner.email_normalized): partner.id for partner in own if partner.email_normalized
                }
        return contacts
