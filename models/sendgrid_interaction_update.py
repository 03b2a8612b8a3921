import logging
from datetime import datetime, timedelta, timezone

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.events.answer import REPLIES
from ..tools.events.engagement_rules import HUMAN
from ..tools.events.event import StoredEvent
from ..tools.times import to_datetime
from . import bulk
from .sendgrid_consequence import FAILURES
from .sendgrid_interaction import FILTERS, LOCK_ORDER
from .undoable import undoable

_logger = logging.getLogger(__name__)

# The kinds that events by people make, each with the event, and the attribute of `State` that is set if there is one.
BY_PEOPLE = {"opened": ("open", "person_open"), "clicked": ("click", "person_click")}
# The column of a document that tells whether there is such an interaction. The others are told by its facts.
COLUMNS = {"opened": "person_open_date", "clicked": "person_click_date", "replied": "reply_date"}
# Of e-mails that are older nobody is told, and of one kind for one e-mail or mailing not again before the time is over.
TELL_FOR = timedelta(days=30)
TELL_AGAIN_AFTER = timedelta(hours=1)
# What is known already keeps who has seen it, unless something newer happened. The first open is told, no later one.
CONFLICT = """
    ON CONFLICT (email_id, kind, user_id) DO UPDATE
       SET date = EXCLUDED.date,
           is_seen = COALESCE(known.is_seen, FALSE) AND (EXCLUDED.is_seen OR EXCLUDED.date <= known.date),
           told_date = CASE WHEN known.kind <> 'opened' AND EXCLUDED.date > known.date
                                 AND (known.told_date IS NULL OR known.told_date <= EXCLUDED.told_date - %s)
                            THEN COALESCE(EXCLUDED.told_date, known.told_date) ELSE known.told_date END
     WHERE known.date <> EXCLUDED.date
"""
# Of a mailing one of many is told, and the others by the number in the feed. But a person wrote each of the replies.
IS_TOLD_LATELY = SQL(
    """new.mailing_res_id IS NOT NULL AND new.kind <> 'replied' AND EXISTS (
           SELECT FROM sendgrid_interaction other
            WHERE other.user_id = new.user_id AND other.kind = new.kind AND other.mailing_res_id = new.mailing_res_id
              AND other.told_date > new.told_date - %s)""",
    TELL_AGAIN_AFTER,
)
INSTEAD = {"told_date": SQL("CASE WHEN %s THEN NULL ELSE new.told_date END", IS_TOLD_LATELY)}


class SendgridInteraction(models.Model):
    """How the feed is filled: by what the events of documents say, with one INSERT for all documents of a chunk."""

    _inherit = "sendgrid.interaction"

    @api.model
    def _get_kinds(self, values):
        """Return the kinds of interactions that a document had.

        :param values: {column: value} of the document
        """
        facts = values.get("facts") or {}
        kinds = {kind for kind, column in COLUMNS.items() if values.get(column)}
        if values.get("status") == "failed" or self._has_failed(facts):
            kinds.add("failed")
        return kinds | {"spam"} & facts.keys()

    @api.model
    def _has_failed(self, facts):
        """Tell whether an e-mail did not arrive. The recipient's own answer proves that it did, whatever was said."""
        return "replied" not in facts and not FAILURES.keys().isdisjoint(facts)

    @api.model
    def _get_moments(self, state):
        """Return when an e-mail was opened, clicked, answered and refused last, each if it was.

        :param state: `tools.events.fold.State`
        :return: {kind: (Unix seconds, UTC, and whether an event that was not stored before tells it)}
        """
        moments = {}
        # Most documents have none of these, so look at the events of the others only.
        for kind, (name, attribute) in BY_PEOPLE.items():
            if getattr(state, attribute) is None:
                continue
            found = [e for e in state.events if e.event == name and state.verdicts[e.fingerprint].verdict == HUMAN]
            is_new = any(not isinstance(event, StoredEvent) for event in found)
            moments[kind] = max(event.timestamp for event in found), is_new
        if state.reply is not None:
            replies = [event for event in state.events if event.answer in REPLIES]
            is_new = any(not isinstance(event, StoredEvent) for event in replies)
            moments["replied"] = max(event.timestamp for event in replies), is_new
        if self._has_failed(state.facts):
            refused = [evidence.timestamp for fact, evidence in state.facts.items() if fact in FAILURES]
            moments["failed"] = max(refused), False  # only the first refusal is news
        if "spam" in state.facts:
            moments["spam"] = state.facts["spam"].timestamp, False
        return moments

    @api.model
    def _update_from(self, changes):
        """Bring the feeds of authors into the state that the events of their e-mails say.

        What is new is told when `_announce` is called. An interaction that the document had before, of which no new
        event tells, is nothing new: version 19.0.1.0.0 kept no feed.

        :param changes: {document id: (the kinds that it had before, `tools.events.fold.State` now)}
        """
        self._settle({id_: (before, self._get_moments(state)) for id_, (before, state) in changes.items()})

    @api.model
    def _hear_of_sending(self, email_ids):
        """Bring the feeds into the state of e-mails that have just been tried, and tell of it.

        It fails for nobody but itself: whatever is wrong, the mails are sent, and their documents stay.

        :param email_ids: ids of documents, of which some were or are `failed`
        """
        try:
            with undoable(self.env.cr):
                self._update_from_sending(email_ids)
                self._announce()
        except Exception:
            _logger.exception("SendGrid: users could not be told which of their e-mails were not sent")

    @api.model
    def _update_from_sending(self, email_ids):
        """Write to the feeds what never left: it is a failure. The parameter is that of `_hear_of_sending`."""
        rows = self.env.execute_query(
            SQL(
                """SELECT id, CASE status WHEN 'failed' THEN EXTRACT(EPOCH FROM date)::bigint END
                     FROM sendgrid_email WHERE id = ANY(%s) AND status IN ('failed', 'sent')""",
                list(email_ids),
            )
        )
        self._settle({id_: ({"failed"}, {"failed": (moment, True)} if moment else {}) for id_, moment in rows})

    @api.model
    def _settle(self, moments):
        """Write to the feeds what there is, and delete from them what is not there any more.

        :param moments: {document id: (the kinds that it had before, what `_get_moments` returns of it now)}
        """
        self._delete_kinds({id_: before - found.keys() for id_, (before, found) in moments.items()})
        moments = {id_: told for id_, told in moments.items() if told[1]}
        if not moments:
            return
        # It tells this call from others in the same transaction.
        rows, now = [], datetime.now(timezone.utc).replace(tzinfo=None)
        for user_id, email_id, mailing_id, is_muted, is_told, *tells in self._get_authors(list(moments)):
            wishes = {kind: wish for kinds, wish in zip(FILTERS.values(), tells, strict=True) for kind in kinds}
            before, found = moments[email_id]
            for kind, (timestamp, is_new) in found.items():
                is_news = (is_new or kind not in before) and not is_muted
                rows.append(
                    {
                        "user_id": user_id,
                        "email_id": email_id,
                        "kind": kind,
                        "mailing_res_id": mailing_id,
                        "date": to_datetime(timestamp),
                        "is_seen": not is_news,
                        "told_date": now if is_news and is_told and wishes[kind] else None,
                        "create_date": now,
                    }
                )
        if not rows:
            return
        # This is `LOCK_ORDER`.
        rows.sort(key=lambda row: (row["email_id"], row["kind"], row["user_id"]))
        changed = bulk.insert(
            self, rows, SQL(CONFLICT, TELL_AGAIN_AFTER), ("id", "user_id", "told_date"), instead=INSTEAD
        )
        self.invalidate_model()
        self._note(
            {user_id for _id, user_id, _told in changed}, {id_: told for id_, _user, told in changed if told == now}
        )

    @api.model
    def _get_authors(self, email_ids):
        """Return the employees who wrote e-mails.

        :param email_ids: ids of the documents
        :return: list of (user id, document id, its mailing's id, whether he muted it, whether he may be told of it, his
            wishes in the order of `FILTERS`)
        """
        wishes = [f"sendgrid_tells_{kind}" for kind in FILTERS]
        self.env["sendgrid.email"].flush_model(["author_id", "is_muted", "date", "mailing_res_id"])
        self.env["res.users"].flush_model(["partner_id", "active", "share", *wishes])
        return self.env.execute_query(
            SQL(
                """SELECT users.id, email.id, NULLIF(email.mailing_res_id, 0), email.is_muted, email.date > %s, %s
                     FROM sendgrid_email email
                     JOIN res_users users ON users.partner_id = email.author_id AND users.active AND NOT users.share
                    WHERE email.id = ANY(%s)""",
                fields.Datetime.now() - TELL_FOR,
                SQL(", ").join(SQL.identifier("users", name) for name in wishes),
                email_ids,
            )
        )

    @api.model
    def _delete_kinds(self, kinds):
        """Delete interactions that are none any more: they were a machine's, or are not kept.

        :param kinds: {document id: set of kinds}
        """
        pairs = [(id_, kind) for id_, gone in kinds.items() for kind in sorted(gone)]
        if not pairs:
            return
        rows = self.env.execute_query(
            SQL(
                """DELETE FROM sendgrid_interaction
                    WHERE id IN (SELECT id FROM sendgrid_interaction
                                  WHERE (email_id, kind) IN (SELECT * FROM unnest(%s, %s))
                               ORDER BY %s FOR UPDATE)
                RETURNING user_id""",
                [id_ for id_, _kind in pairs],
                [kind for _id, kind in pairs],
                LOCK_ORDER,
            )
        )
        if rows:
            self.invalidate_model()
            self._note({user_id for (user_id,) in rows})
