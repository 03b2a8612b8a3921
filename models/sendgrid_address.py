from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL, email_normalize_all

from ..tools.address_form import comparable
from ..tools.events.address import Bounce, Words, merge
from ..tools.times import to_datetime, to_seconds
from . import bulk

HOLDING_LISTS = ("bounces", "invalid_emails", "spam_reports", "unsubscribes")


class SendgridAddress(models.Model):
    """The facts about an e-mail address, whether or not a contact has it.

    Each fact is the last word about it, with its time. So words that come late, twice or in another order end the same.
    Beside them stand the decisions of people, with their time: a word that is older than a decision changes nothing.

    `sendgrid.consequence` and `sendgrid.suppression` call `_note` with what is said about addresses;
    `sendgrid_address_bounce` and `sendgrid_address_wish` do what follows. Contacts, leads and mailing contacts show
    the facts about each of their addresses; see `mail_thread_blacklist`.
    """

    _name = "sendgrid.address"
    _description = "E-mail Address"
    _order = "email"
    _rec_name = "email"
    _allow_sudo_commands = False

    email = fields.Char(
        string="Address",
        required=True,
        readonly=True,
        help="The address in lower case, with the domain as DNS knows it.",
    )

    bounce_date = fields.Datetime(
        string="Last Refused", readonly=True, help="When a server last refused an e-mail because of the address."
    )
    bounce_reason = fields.Text(readonly=True, help="The words of the server that refused it.")
    bounce_cause = fields.Char(readonly=True, help="The code of the cause, see `tools.events.refusal`.")
    valid_date = fields.Datetime(
        string="Confirmed On",
        readonly=True,
        help="When somebody last said that the address is valid. Older refusals do not count.",
    )
    valid_uid = fields.Many2one("res.users", string="Confirmed By", readonly=True, ondelete="set null")
    last_reply_date = fields.Datetime(
        string="Last Wrote",
        readonly=True,
        help="When the last e-mail from the address came in, automatic answers not counted. Older refusals do not "
        "count, because somebody reads mail there.",
    )
    is_bounced = fields.Boolean(
        string="Address Bounced",
        compute="_compute_is_bounced",
        search="_search_is_bounced",
        help="The address was refused after it was last confirmed or last wrote.",
    )

    wish_date = fields.Datetime(
        string="Opted Out",
        readonly=True,
        help="When the owner of the address last unsubscribed from all e-mails or reported one as spam.",
    )
    reminder_date = fields.Datetime(
        string="Held Back for a Wish",
        readonly=True,
        help="When SendGrid last held back an e-mail because the owner had unsubscribed or reported spam before.",
    )
    groups = fields.Json(
        readonly=True,
        help="The last word about each unsubscribe group, by account and group: when it was said (Unix seconds, UTC), "
        "and whether the address was out of the group.",
    )
    wanted_date = fields.Datetime(
        string="Taken Off the Blacklist On",
        readonly=True,
        help="When somebody last took the address off the blacklist. Older wishes do not count.",
    )
    wanted_uid = fields.Many2one("res.users", string="Taken Off By", readonly=True, ondelete="set null")
    is_blacklisted_by_words = fields.Boolean(
        string="Blacklisted by SendGrid's Words",
        readonly=True,
        help="The address is on the blacklist because of what SendGrid said, and not because somebody put it there.",
    )

    held_list = fields.Selection(
        lambda self: self.env["sendgrid.suppression"]._fields["list"]._description_selection(self.env),
        string="Held Back By",
        compute="_compute_held",
        help="The list for which SendGrid holds back all e-mails to the address.",
    )
    held_since = fields.Datetime(string="Held Back Since", compute="_compute_held")
    held_reason = fields.Text(compute="_compute_held", help="The words that SendGrid's list has for it.")
    last_open_date = fields.Datetime(
        string="Last Opened", compute="_compute_last_dates", help="When a person last opened an e-mail."
    )
    last_click_date = fields.Datetime(
        string="Last Clicked", compute="_compute_last_dates", help="When a person last followed a link."
    )

    _email_uniq = models.UniqueIndex("(email)", "This address is known already.")

    # ------------------------------------------------------------
    # COMPUTE
    # ------------------------------------------------------------

    @api.depends("bounce_date", "valid_date", "last_reply_date")
    def _compute_is_bounced(self):
        for address in self:
            proved = max(filter(None, (address.valid_date, address.last_reply_date)), default=None)
            address.is_bounced = bool(address.bounce_date) and (not proved or address.bounce_date > proved)

    @api.model
    def _search_is_bounced(self, operator, value):
        if operator != "in":
            return NotImplemented
        self.flush_model(["bounce_date", "valid_date", "last_reply_date"])
        # GREATEST passes over NULL.
        return Domain.custom(
            to_sql=lambda model, alias, query: SQL(
                "%s > COALESCE(GREATEST(%s, %s), '-infinity')",
                *(SQL.identifier(alias, name) for name in ("bounce_date", "valid_date", "last_reply_date")),
            )
        )

    def _compute_held(self):
        held = self._get_held(self.mapped("email"))
        for address in self:
            entry = held.get(address.email, self.env["sendgrid.suppression"])
            address.held_list = entry.list
            address.held_since = entry.created
            address.held_reason = entry.reason

    @api.model
    def _get_held(self, emails, account_ids=None):
        """Return those of some normalized addresses that SendGrid holds back, whatever else is known of them.

        :param account_ids: ids of the accounts that count, None for all
        :return: {address: `sendgrid.suppression` record}, of several lists the latest
        """
        emails = [email for email in set(emails) if email]
        if not emails:
            return {}
        domain = Domain("email", "in", emails) & Domain("state", "!=", "cleared") & Domain("list", "in", HOLDING_LISTS)
        if account_ids is not None:
            domain &= Domain("account_id", "in", account_ids)
        entries = self.env["sendgrid.suppression"].sudo().search(domain, order="created, id")
        entries -= self._get_disproved(entries)
        return {entry.email: entry for entry in entries}

    @api.model
    def _get_disproved(self, entries):
        """Return those of some entries of SendGrid's lists that only events tell of, and a later delivery disproves.

        Somebody has taken the address off the list at SendGrid, and no comparison has noticed it yet.
        """
        told = entries.filtered(lambda entry: not entry.last_sync_id and entry.outcome in ("told", "reminded"))
        if not told:
            return told
        self.env["sendgrid.email"].flush_model(["recipient", "delivered_date"])
        rows = self.env.execute_query(
            SQL(
                """SELECT recipient, max(delivered_date) FROM sendgrid_email
                    WHERE recipient = ANY(%s) GROUP BY recipient""",
                told.mapped("email"),
            )
        )
        delivered = {recipient: date for recipient, date in rows if date}
        return told.filtered(lambda entry: entry.email in delivered and delivered[entry.email] > entry.created)

    def _compute_last_dates(self):
        self.env["sendgrid.event"].flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT email.recipient, event.event, max(event.timestamp)
                     FROM sendgrid_email email
                     JOIN sendgrid_event event ON event.email_id = email.id
                    WHERE email.recipient = ANY(%s)
                      AND event.event IN ('open', 'click') AND event.verdict = 'human'
                 GROUP BY email.recipient, event.event""",
                self.mapped("email"),
            )
        )
        last = {(recipient, event): moment for recipient, event, moment in rows}
        for address in self:
            address.last_open_date = last.get((address.email, "open"))
            address.last_click_date = last.get((address.email, "click"))

    # ------------------------------------------------------------
    # ADDRESSES OF A TEXT
    # ------------------------------------------------------------

    @api.model
    def _split(self, text):
        """Return the comparable forms of all addresses that a text holds, in their order: a contact may have two."""
        return list(dict.fromkeys(map(comparable, email_normalize_all(text)))) if text else []

    # ------------------------------------------------------------
    # NOTE
    # ------------------------------------------------------------

    @api.model
    def _hold(self, emails):
        """Return the records of some addresses, and lock them until the commit. Those that do not exist are created.

        All transactions lock in the order of the addresses. So one waits for the other, and they never end in a
        deadlock.

        :param emails: iterable of normalized addresses
        """
        emails = sorted({email for email in emails if email})
        if not emails:
            return self.browse()
        self.flush_model()
        rows = self._select_for_update(emails)
        if missing := sorted(set(emails) - {email for _id, email in rows}):
            now = self.env.cr.now()
            bulk.insert(
                self,
                [
                    {"email": email, "create_uid": self.env.uid, "create_date": now, "write_date": now}
                    for email in missing
                ],
                conflict=bulk.SKIP_KNOWN,
            )
            rows = self._select_for_update(emails)
        return self.browse(id_ for id_, _email in rows)

    @api.model
    def _select_for_update(self, emails):
        return self.env.execute_query(
            SQL("SELECT id, email FROM sendgrid_address WHERE email = ANY(%s) ORDER BY email FOR UPDATE", emails)
        )

    @api.model
    def _note(self, words_by_email):
        """Note what is said about addresses, as far as it is newer than what is known.

        :param words_by_email: {normalized address: `tools.events.address.Words`}; the groups are named by
            `_name_group`
        :return: the records of the addresses about which something is said, locked
        """
        # Do not keep a record of an address of which nothing is known.
        words_by_email = {email: words for email, words in words_by_email.items() if any(words._replace(lists={}))}
        addresses = self._hold(words_by_email)
        now = self.env.cr.now()
        rows = {}
        for address in addresses:
            known = address._to_words()
            words = merge(known, words_by_email[address.email]._replace(lists={}))
            if words == known:
                continue
            rows[address.id] = {
                "bounce_date": words.bounce and to_datetime(words.bounce.timestamp),
                "bounce_reason": (words.bounce and words.bounce.reason) or None,
                "bounce_cause": (words.bounce and words.bounce.cause) or None,
                "wish_date": words.wish and to_datetime(words.wish),
                "reminder_date": words.reminder and to_datetime(words.reminder),
                "groups": words.groups or None,
                "write_uid": self.env.uid,
                "write_date": now,
            }
        bulk.update(self, rows)
        return addresses

    def _to_words(self):
        """Return the noted words of one address as `tools.events.address.Words`, without SendGrid's lists."""
        return Words(
            bounce=Bounce(to_seconds(self.bounce_date), self.bounce_reason or "", self.bounce_cause or "")
            if self.bounce_date
            else None,
            wish=to_seconds(self.wish_date) if self.wish_date else None,
            reminder=to_seconds(self.reminder_date) if self.reminder_date else None,
            groups={group: tuple(word) for group, word in (self.groups or {}).items()},
        )

    @api.model
    def _name_group(self, account, group_id):
        """Return the name of an account's unsubscribe group in `groups`: other accounts may use the same number."""
        return f"{account.id}/{group_id or 0}"

    def _get_decision_date(self, *dates):
        """Return the time of a decision that is made now, in UTC.

        It is not before what is known of the address by now, because SendGrid's clock may be ahead of ours.
        """
        return max([fields.Datetime.now(), *filter(None, dates)])
