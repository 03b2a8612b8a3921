import functools
import logging
import re
import socket
from collections import defaultdict
from datetime import timedelta

from odoo import SUPERUSER_ID, api, fields, models
from odoo.service.model import retrying
from odoo.tools import SQL, email_normalize
from odoo.tools.mail import unfold_references

from ..tools.address_form import all_spellings, comparable
from ..tools.automatic import is_automatic
from ..tools.events.answer import AUTOMATIC, MAIL, PORTAL, REPORT, choose, is_readable_id, write_answer
from ..tools.times import to_seconds
from .mail_thread import _get_received_date
from .sendgrid_match import EARLY_FOR
from .undoable import TRY_LATER, undoable

_logger = logging.getLogger(__name__)

# As core makes a Message-ID: a number, the time in Unix seconds, and the name of the host.
MADE_BY_CORE = re.compile(r"<\d+\.(?P<seconds>\d{1,12})\.\d+-openerp-[^@<>]*@(?P<host>[^@<>]+)>")
# The mails of one message leave one after the other. An answer to it waits for the last one, but no longer than this.
ALL_LEAVE_WITHIN = timedelta(hours=1)
# Of more ancestors of a mail the oldest are not looked up, as in core.
MOST_REFERENCES = 32


class SendgridAnswer(models.AbstractModel):
    """Answers to e-mails: what Odoo's mail gateway and the portal get.

    While an answer comes in, it is only stored as a batch, because core's fetching counts a mail as handled and drops
    it if its processing fails. The drain makes an event of it, see `_find_documents`. So order, repetition and split
    make no difference to answers either.

    An answer may be faster than the transaction that records what it answers, or come while other mails of its message
    are still to leave. Then it is an early event, as others are, until all documents are there.

    Core's gateway calls `_hear_mail`, the posting of messages `_hear_portal`, `sendgrid.ingest` `_find_documents`, and
    `sendgrid.drain` `_requeue_early`.
    """

    _name = "sendgrid.answer"
    _description = "Answers to E-mails"

    # ------------------------------------------------------------
    # HEAR
    # ------------------------------------------------------------

    @api.model
    def _hear_mail(self, message, message_dict):
        """Store a mail that came in as a batch, if it answers a document's. It never raises.

        :param message: the `email.message.EmailMessage`
        :param message_dict: what core read from it
        """
        answer = None
        try:
            answer = self._read_mail(message, message_dict, _get_received_date(message))
        except Exception:
            _logger.exception("SendGrid: a mail came in, and cannot be told to be an answer or not")
        if answer:
            self._hear(answer)

    @api.model
    def _read_mail(self, message, message_dict, received):
        """Return what `_store` needs of a mail, as a dict of plain values; None if it answers nothing.

        :param received: when the last mail server received it (naive, UTC), None if that is not known
        """
        sender = comparable(email_normalize(message_dict.get("email_from")) or "")
        way = AUTOMATIC if is_automatic(message, sender) else MAIL
        # The last of the references is the nearest ancestor.
        ids = [
            *unfold_references(message_dict.get("in_reply_to") or ""),
            *reversed(unfold_references(message_dict.get("references") or "")[-MOST_REFERENCES:]),
        ]
        if message_dict.get("is_bounce"):
            way = REPORT
            # The report has the mail that it is about, and tells its recipient.
            ids = [*(message_dict.get("bounced_msg_ids") or ()), *ids]
            sender = comparable(email_normalize(message_dict.get("bounced_email")) or "") or sender
        ids = [id_ for id_ in dict.fromkeys(ids) if is_readable_id(id_)]
        return ids and {
            "way": way,
            "sender": sender,
            "answer_id": str(message_dict.get("message_id")),
            "message_ids": ids,
            "moment": to_seconds(received or fields.Datetime.to_datetime(message_dict.get("date")) or False),
        }

    @api.model
    def _hear_portal(self, message):
        """Store what a contact wrote in the portal as a batch, if a document went to him about the record.

        It never raises.

        :param message: `mail.message` record
        """
        self._hear(
            {
                "way": PORTAL,
                "answer_id": message.message_id,
                "model": message.model,
                "res_id": message.res_id,
                "partner_id": message.author_id.id,
                "moment": None,
            }
        )

    @api.model
    def _hear(self, answer):
        """Store an answer; after the commit, if a transaction is in the way. It raises nothing of its own.

        :param answer: as `_read_mail` or `_hear_portal` makes it
        """
        # What others have put off to write is none of the business below: its errors would be lost there, and the
        # transaction with them.
        self.env.flush_all()
        try:
            with undoable(self.env.cr):
                self._store(answer)
        except TRY_LATER:
            self.env.cr.postcommit.add(functools.partial(self._hear_later, self.env.registry, answer))
        except Exception:
            _logger.exception("SendGrid: the answer %s came in, and could not be noted", answer["answer_id"])

    @staticmethod
    def _hear_later(registry, answer):
        """Store an answer in a transaction of its own. Errors are logged and not raised: it has come in."""
        try:
            with registry.cursor() as cr:
                env = api.Environment(cr, SUPERUSER_ID, {})
                retrying(functools.partial(env["sendgrid.answer"]._store, answer), env)
        except Exception:
            _logger.exception("SendGrid: the answer %s came in, and could not be noted", answer["answer_id"])

    @api.model
    def _store(self, answer):
        """Store an answer to a document as a batch of its account. It changes nothing else."""
        found = self._find_copy(answer) if answer["way"] == PORTAL else self._find_message(answer)
        if not found:
            return
        account_id, sent, sender, name = found
        now = to_seconds(fields.Datetime.now())
        moment = answer["moment"]
        # Whoever writes a mail may have a wrong clock.
        timestamp = moment if moment and (sent or 0) <= moment <= now else now
        body = write_answer(answer["way"], sender, timestamp, answer["answer_id"], **name)
        account = self.env["sendgrid.account"].browse(account_id)
        self.env["sendgrid.event.batch"].sudo()._receive(account, body, source="gateway")

    @api.model
    def _find_message(self, answer):
        """Return the first of the messages that a mail answers which has documents, or will have them.

        :return: (account id, Unix seconds of its sending or None, the sender of the answer, {"message_id": its
            Message-ID}), None if there is none
        """
        rows = self.env.execute_query(
            SQL(
                """SELECT place - 1, email.account_id, EXTRACT(EPOCH FROM email.sent_date)::bigint
                     FROM unnest(%s) WITH ORDINALITY AS wanted (message_id, place)
                     JOIN LATERAL (
                          SELECT account_id, sent_date FROM sendgrid_email
                           WHERE message_id = wanted.message_id LIMIT 1) email ON TRUE
                 ORDER BY place LIMIT 1""",
                answer["message_ids"],
            )
        )
        ids = answer["message_ids"]
        place, account_id, sent = rows[0] if rows else (len(ids), None, None)
        if under_way := self._find_under_way(ids[:place]):
            message_id, company_id = under_way
            if account_id := account_id or self._guess_account(company_id):
                return account_id, None, answer["sender"], {"message_id": message_id}
        return (account_id, sent, answer["sender"], {"message_id": ids[place]}) if rows else None

    @api.model
    def _guess_account(self, company_id):
        """Return the id of an account that may have sent what has no document yet; `_find_documents` corrects it.

        :param company_id: whose the message is, None if that is not known
        """
        Account = self.env["sendgrid.account"].sudo()
        own = [("company_id", "in", [company_id, False])]
        # PostgreSQL puts those of all companies last.
        return (Account.search(own, order="company_id", limit=1) or Account.search([], limit=1)).id

    @api.model
    def _find_under_way(self, message_ids):
        """Return the first of some Message-IDs that is of a mail which is just being sent: its document may follow.

        The transaction that records what has left is not committed yet. The mail is one that waits to leave, or it was
        made in that same transaction. Then nothing but its name tells that it is ours.

        :param message_ids: Message-IDs without documents
        :return: (the Message-ID, the id of the message's company or None), or None
        """
        if not message_ids:
            return None
        rows = self.env.execute_query(
            SQL(
                """SELECT message.message_id, bool_or(COALESCE(mail.state = 'outgoing', FALSE)),
                          max(message.record_company_id)
                     FROM mail_message message
                LEFT JOIN mail_mail mail ON mail.mail_message_id = message.id
                    WHERE message.message_id = ANY(%s)
                 GROUP BY 1""",
                message_ids,
            )
        )
        known = {id_: (is_waiting, company_id) for id_, is_waiting, company_id in rows}
        for id_ in message_ids:
            is_waiting, company_id = known.get(id_) or (self._is_made_here(id_), None)
            if is_waiting:
                return id_, company_id
        return None

    @api.model
    def _is_made_here(self, message_id):
        """Tell whether core made this Message-ID on this host, not long ago: see `generate_tracking_message_id`."""
        made = MADE_BY_CORE.fullmatch(message_id)
        if not made or made["host"] != socket.gethostname():
            return False
        return abs(to_seconds(fields.Datetime.now()) - int(made["seconds"])) < EARLY_FOR.total_seconds()

    @api.model
    def _find_copy(self, answer):
        """Return the latest document to a contact about a record.

        :return: as for `_find_message`, with the document's recipient and {"odoo_id": the name of its copy}
        """
        rows = self.env.execute_query(
            SQL(
                """SELECT account_id, EXTRACT(EPOCH FROM sent_date)::bigint, recipient, odoo_id FROM sendgrid_email
                    WHERE model = %s AND res_id = %s AND partner_id = %s AND sent_date IS NOT NULL
                 ORDER BY sent_date DESC, id DESC LIMIT 1""",
                answer["model"],
                answer["res_id"],
                answer["partner_id"],
            )
        )
        return next(((account, sent, recipient, {"odoo_id": id_}) for account, sent, recipient, id_ in rows), None)

    # ------------------------------------------------------------
    # FIND DOCUMENTS
    # ------------------------------------------------------------

    @api.model
    def _find_documents(self, received):
        """Put the events of its documents in the place of each answer. Other events stay as they are.

        An answer from an internal user is none, and is left out. One that is known stays as it is, so that it counts as
        known, whatever addresses the contacts have by now. The number of queries does not depend on that of answers.

        :param received: list of (`sendgrid.event.batch` record, `tools.events.event.Event`)
        """
        answers = [event for _batch, event in received if event.answer]
        if not answers:
            return received
        Match = self.env["sendgrid.match"]
        known = self._get_known(answers)
        senders = {event.recipient for event in answers if event.recipient and event.answer != PORTAL}
        colleagues = self._get_colleagues(senders)
        contacts = self._get_contacts(senders)
        by_message = Match._get_documents("message_id", {e.smtp_id for e in answers if e.answer != PORTAL})
        by_copy = Match._get_documents("odoo_id", {e.odoo_id for e in answers if e.answer == PORTAL})
        messages = self._get_messages({event.answer_id for event in answers})
        incomplete = self._get_incomplete({e.smtp_id for e in answers if e.answer != PORTAL})
        patient_since = fields.Datetime.now() - ALL_LEAVE_WITHIN
        found = []
        for batch, event in received:
            if not event.answer or event.fingerprint in known:
                found.append((batch, event))
                continue
            is_portal = event.answer == PORTAL
            if event.recipient in colleagues and not is_portal:
                continue
            event.answer_message_id = messages.get(event.answer_id)
            documents = by_copy[event.odoo_id] if is_portal else by_message[event.smtp_id]
            may_follow = event.smtp_id in incomplete and batch.create_date > patient_since
            if (may_follow or not documents) and not is_portal:
                found.append((batch, event))  # it waits, see `_requeue_early`
                continue
            found += [(batch, told) for told in choose(event, documents, contacts[event.recipient])]
        self._correct_accounts({batch: told.document.id for batch, told in found if told.answer and told.document})
        return found

    @api.model
    def _correct_accounts(self, documents):
        """Give batches the accounts of the documents that their answers are about: by then a guess is known better.

        :param documents: {`sendgrid.event.batch` record: document id}
        """
        accounts = dict(self.env["sendgrid.email"].browse(documents.values())._read_columns(["account_id"]))
        for batch, id_ in documents.items():
            if id_ in accounts and batch.account_id.id != accounts[id_][0]:
                batch.account_id = accounts[id_][0]

    @api.model
    def _requeue_early(self):
        """Have the answers that wait for their documents processed once more, if all of these are there by now.

        Whose an answer is depends on all documents of the message, so that it is chosen as if it came now.
        """
        self.env["sendgrid.event"].flush_model()
        self.env["sendgrid.event.batch"].flush_model()
        self.env["mail.mail"].flush_model(["state"])
        rows = self.env.execute_query(
            SQL(
                """WITH waiting AS (
                        DELETE FROM sendgrid_event event USING sendgrid_email email, sendgrid_event_batch batch
                         WHERE event.match = 'early' AND event.answer IS NOT NULL
                           AND email.message_id = event.smtp_id AND batch.id = event.batch_id
                           AND (batch.create_date <= %s OR NOT %s)
                     RETURNING event.batch_id, email.account_id)
                   UPDATE sendgrid_event_batch batch SET state = 'pending', account_id = waiting.account_id
                     FROM waiting WHERE batch.id = waiting.batch_id
                RETURNING batch.id""",
                fields.Datetime.now() - ALL_LEAVE_WITHIN,
                self._get_may_follow(SQL("event.smtp_id")),
            )
        )
        if rows:
            self.env["sendgrid.event"].invalidate_model()
            self.env["sendgrid.event.batch"].invalidate_model()

    @api.model
    def _get_incomplete(self, message_ids):
        """Return those of some Message-IDs of which documents may follow, because mails of them are still to leave."""
        self.env["mail.mail"].flush_model(["state"])
        rows = self.env.execute_query(
            SQL(
                "SELECT wanted.id FROM unnest(%s::text[]) AS wanted (id) WHERE %s",
                list(message_ids),
                self._get_may_follow(SQL("wanted.id")),
            )
        )
        return {id_ for (id_,) in rows}

    @api.model
    def _get_may_follow(self, message_id):
        """Return SQL that tells whether mails of a message are still to leave.

        :param message_id: SQL of its Message-ID
        """
        return SQL(
            """EXISTS (SELECT FROM mail_message message JOIN mail_mail mail ON mail.mail_message_id = message.id
                        WHERE message.message_id = %s AND mail.state = 'outgoing')""",
            message_id,
        )

    @api.model
    def _get_known(self, answers):
        """Return the fingerprints of those of some answers that are stored."""
        self.env["sendgrid.event"].flush_model(["fingerprint"])
        names = list({event.fingerprint for event in answers})
        rows = self.env.execute_query(SQL("SELECT fingerprint FROM sendgrid_event WHERE fingerprint = ANY(%s)", names))
        return {name for (name,) in rows}

    @api.model
    def _get_colleagues(self, addresses):
        """Return those of some comparable addresses that are internal users'."""
        if not addresses:
            return set()
        self.env["res.partner"].flush_model(["email_normalized"])
        self.env["res.users"].flush_model(["partner_id", "active", "share"])
        rows = self.env.execute_query(
            SQL(
                """SELECT partner.email_normalized FROM res_partner partner
                     JOIN res_users users ON users.partner_id = partner.id AND users.active AND NOT users.share
                    WHERE partner.email_normalized = ANY(%s)""",
                all_spellings(addresses),
            )
        )
        return {comparable(address) for (address,) in rows}

    @api.model
    def _get_contacts(self, addresses):
        """Return the contacts that have some comparable addresses: `defaultdict` {address: set of ids}."""
        contacts = defaultdict(set)
        if not addresses:
            return contacts
        Partner = self.env["res.partner"]
        Partner.flush_model(["email_normalized"])
        rows = self.env.execute_query(
            SQL(
                "SELECT email_normalized, id FROM res_partner WHERE email_normalized = ANY(%s)",
                all_spellings(addresses),
            )
        )
        for address, id_ in rows:
            contacts[comparable(address)].add(id_)
        for id_, own in Partner._get_with_several_addresses(addresses).items():
            for address in addresses.intersection(own):
                contacts[address].add(id_)
        return contacts

    @api.model
    def _get_messages(self, message_ids):
        """Return {Message-ID: id of the `mail.message`} for the answers that stand in a chatter."""
        self.env["mail.message"].flush_model(["message_id"])
        rows = self.env.execute_query(
            SQL(
                "SELECT message_id, id FROM mail_message WHERE message_id = ANY(%s) ORDER BY id DESC", list(message_ids)
            )
        )
        return dict(rows)
