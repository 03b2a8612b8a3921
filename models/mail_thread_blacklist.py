import re
from unicodedata import normalize

from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.fields import Domain
from odoo.tools import SQL, escape_psql

from ..tools.address_form import all_spellings, comparable
from ..tools.events.address import REASON_LENGTH
from .company_language import in_company_language
from .durations import describe_time
from .said import isolate

# PostgreSQL compares each text with each pattern. For more addresses than this, reading all texts takes less time.
MOST_PATTERNS = 24
# Finds the addresses of a text in lower case, at least their ends, much faster than splitting it as core does.
ADDRESS_ENDS = re.compile(r"[\w.+-]*@[\w-]+(?:\.[\w-]+)*")


class MailThreadBlacklist(models.AbstractModel):
    """A record with an address (contact, lead, mailing contact, …) shows the facts about each of its addresses.

    The facts stand in `sendgrid.address`. Only contacts store a part of them, see `res_partner`.
    """

    _inherit = "mail.thread.blacklist"

    email_bounced = fields.Boolean(
        string="Address Bounced",
        compute="_compute_email_bounced",
        compute_sudo=True,
        search="_search_email_bounced",
        groups="base.group_user",
        help="An e-mail address does not exist or refuses all mail.",
    )
    email_bounce_reason = fields.Text(
        string="Bounce Reason", compute="_compute_email_bounced", compute_sudo=True, groups="base.group_user"
    )
    email_bounce_date = fields.Datetime(
        string="Bounced On", compute="_compute_email_bounced", compute_sudo=True, groups="base.group_user"
    )
    email_valid_date = fields.Datetime(
        string="Address Confirmed On",
        compute="_compute_email_valid_date",
        compute_sudo=True,
        groups="base.group_user",
        help="When somebody last said that the address is valid again. Older bounces no longer count.",
    )
    sendgrid_warning = fields.Text(
        compute="_compute_sendgrid_warning",
        groups="base.group_user",
        help="Why an e-mail will not reach the contact, or why the contact does not want it.",
    )
    is_held_by_sendgrid = fields.Boolean(
        compute="_compute_sendgrid_warning",
        groups="base.group_user",
        help="SendGrid holds back all e-mails to an address.",
    )
    may_clear_at_sendgrid = fields.Boolean(
        compute="_compute_sendgrid_warning",
        groups="base.group_user",
        help="SendGrid holds back all e-mails to an address, and the user may have it cleared there.",
    )

    # ------------------------------------------------------------
    # ADDRESSES
    # ------------------------------------------------------------

    def _get_addresses(self):
        """Return the normalized addresses of the records, as {record: list of addresses}."""
        split = self.env["sendgrid.address"]._split
        return {record: split(record[record._primary_email]) for record in self}

    @api.model
    def _get_by_addresses(self, emails):
        """Return the records that have one of some addresses, archived ones too. Call it as superuser.

        `email_normalized` is only the first address of a record, and may spell its domain in other letters.

        :param emails: addresses in their comparable form, see `tools.address_form`
        """
        emails = {email for email in emails if email}
        if not emails:
            return self.browse()
        Model = self.with_context(active_test=False)
        records = Model.search([("email_normalized", "in", list(emails))])
        several = self._get_with_several_addresses(emails)
        return (records | Model.browse(id_ for id_, own in several.items() if not emails.isdisjoint(own))).with_env(
            self.env
        )

    @api.model
    def _get_with_several_addresses(self, emails=None):
        """Return the addresses of the records whose `email_normalized` does not tell them, as {id: list of addresses}.

        Those have several addresses, or letters that are not ASCII: their `email_normalized` may not be the comparable
        form. The condition is that of the indexes on contacts and leads.

        :param emails: comparable addresses: only records whose text has one of them are read
        """
        field = self._fields[self._primary_email]
        if not field.store:
            return {}
        self.flush_model([field.name])
        emails = None if emails is None else all_spellings(emails)
        use_patterns = emails is not None and len(emails) <= MOST_PATTERNS
        patterns = [f"%{escape_psql(normalize('NFKC', email))}%" for email in emails] if use_patterns else []
        rows = self.env.execute_query(
            SQL(
                """SELECT id, %(text)s FROM %(table)s
                    WHERE (%(text)s LIKE %(several)s OR octet_length(%(text)s) <> char_length(%(text)s))
                      AND %(has_one)s""",
                text=SQL.identifier(field.name),
                table=SQL.identifier(self._table),
                several="%@%@%",
                # One letter may be written as several, such as u and its dots.
                has_one=SQL("normalize(%s, NFKC) ILIKE ANY(%s)", SQL.identifier(field.name), patterns)
                if use_patterns
                else SQL("TRUE"),
            )
        )
        if emails is not None and not use_patterns:
            ends = {end for email in emails for end in ADDRESS_ENDS.findall(email.lower())}
            rows = [row for row in rows if not ends.isdisjoint(ADDRESS_ENDS.findall(row[1].lower()))]
        split = self.env["sendgrid.address"]._split
        return {id_: split(text) for id_, text in rows}

    # ------------------------------------------------------------
    # BOUNCES
    # ------------------------------------------------------------

    @api.depends(lambda self: [self._primary_email])
    def _compute_email_bounced(self):
        for record, values in self._prepare_bounce_vals().items():
            record.update(values)

    def _prepare_bounce_vals(self):
        """Return the values of the fields about bounces, as {record: dict}. Of several bounces the latest is told."""
        addresses = self._get_addresses()
        bounced = self.env["sendgrid.address"]._get_bounced(email for emails in addresses.values() for email in emails)
        values = {}
        for record, emails in addresses.items():
            last = max(
                (bounced[email] for email in emails if email in bounced), key=lambda a: a.bounce_date, default=None
            )
            values[record] = {
                "email_bounced": bool(last),
                "email_bounce_reason": (last and last.bounce_reason) or False,
                "email_bounce_date": last.bounce_date if last else False,
            }
        return values

    @api.depends(lambda self: [self._primary_email])
    def _compute_email_valid_date(self):
        addresses = self._get_addresses()
        known = self.env["sendgrid.address"].search(
            [("email", "in", [email for emails in addresses.values() for email in emails]), ("valid_date", "!=", False)]
        )
        dates = {address.email: address.valid_date for address in known}
        for record, emails in addresses.items():
            record.email_valid_date = max((dates[email] for email in emails if email in dates), default=False)

    @api.model
    def _search_email_bounced(self, operator, value):
        """Search the bounced addresses within the query. Contacts store the flag, and do without this."""
        if operator != "in":
            return NotImplemented
        Address = self.env["sendgrid.address"].sudo()
        several = self._get_with_several_addresses()
        bounced = Address._get_bounced(email for emails in several.values() for email in emails)
        ids = [id_ for id_, emails in several.items() if not bounced.keys().isdisjoint(emails)]
        found = Address._search([("is_bounced", "=", True)])
        return Domain("id", "in", ids) | Domain.custom(
            to_sql=lambda model, alias, query: SQL(
                "%s IN %s", model._field_to_sql(alias, "email_normalized", query), found.subselect("email")
            )
        )

    def _message_reset_bounce(self, email):
        """Keep core's counter of records that have a bounced address: it counts what the flag tells."""
        bounced = self.sudo().filtered("email_bounced").with_env(self.env)
        return super(MailThreadBlacklist, self - bounced)._message_reset_bounce(email)

    # ------------------------------------------------------------
    # WARNING
    # ------------------------------------------------------------

    @api.depends(lambda self: [self._primary_email, "is_blacklisted", "email_bounced"])
    @api.depends_context("uid", "lang", "tz", "allowed_company_ids")
    def _compute_sendgrid_warning(self):
        addresses = self._get_addresses()
        found = self._select_conspicuous({email for emails in addresses.values() for email in emails})
        bounced = self.env["sendgrid.address"]._get_bounced(found["bounced"])
        held = self._get_held(found["held"])
        may_clear = bool(held) and self.env["sendgrid.suppression.clear"]._may_clear()
        wishes = self._describe_wishes(found["listed"])
        for record, own in addresses.items():
            lines = []
            for email in own:
                explained = []
                if email in bounced:
                    lines.append(record._describe_bounce(bounced[email]))
                    explained.append(bounced[email].bounce_date)
                if email in wishes:
                    sentence, date = wishes[email]
                    lines.append(sentence)
                    explained.append(date)
                if email in held:
                    lines.append(record._describe_held(held[email], min(explained, default=None)))
            record.sendgrid_warning = "\n".join(lines)
            record.is_held_by_sendgrid = any(email in held for email in own)
            record.may_clear_at_sendgrid = may_clear and record.is_held_by_sendgrid

    @api.model
    def _select_conspicuous(self, emails):
        """Return those of some normalized addresses of which there may be something to tell: {what: set of addresses}.

        They may have `bounced`, be `held` back by SendGrid, or be `listed` on the blacklist. Mostly there is nothing,
        and a composer asks at each change of its recipients. So it is one query, and only what is found is looked up.
        """
        found = {"bounced": set(), "held": set(), "listed": set()}
        if not emails or not self.env["sendgrid.account"]._has_told():
            return found
        self.env["sendgrid.address"].flush_model(["email", "bounce_date"])
        self.env["sendgrid.suppression"].flush_model(["email", "state"])
        self.env["mail.blacklist"].flush_model(["email", "active"])
        rows = self.env.execute_query(
            SQL(
                """SELECT 'bounced', email FROM sendgrid_address
                    WHERE email = ANY(%(emails)s) AND bounce_date IS NOT NULL
                    UNION ALL
                   SELECT 'held', email FROM sendgrid_suppression WHERE email = ANY(%(emails)s) AND state != 'cleared'
                    UNION ALL
                   SELECT 'listed', email FROM mail_blacklist WHERE email = ANY(%(spellings)s) AND active""",
                emails=list(emails),
                spellings=list(all_spellings(emails)),
            )
        )
        for what, email in rows:
            found[what].add(comparable(email))
        return found

    @api.model
    def _get_held(self, emails):
        """Return those of some normalized addresses that an account of the user's companies holds back.

        :return: {address: `sendgrid.suppression` record}
        """
        if not emails:
            return {}
        return self.env["sendgrid.address"]._get_held(emails, self.env["sendgrid.account"]._get_ids_of_companies())

    def _describe_bounce(self, address):
        return self.env._(
            "%(email)s bounced on %(date)s: %(reason)s",
            email=address.email,
            date=describe_time(self.env, address.bounce_date),
            reason=isolate((address.bounce_reason or self.env._("no reason given"))[:REASON_LENGTH]),
        )

    def _describe_held(self, entry, explained):
        """Say that SendGrid holds an address back. Where another line says why, do not repeat it.

        :param explained: when that happened which another line tells, None if there is no such line. An entry that no
            comparison has read has the time of the last event that told of it, which may only be a drop.
        """
        lists = dict(entry._fields["list"]._description_selection(self.env))
        since = entry.created
        if explained and not entry.last_sync_id:
            since = min(since, explained)
        words = {
            "email": entry.email,
            "date": describe_time(self.env, since),
            "list": lists[entry.list],
            "reason": isolate((entry.reason or self.env._("no reason given"))[:REASON_LENGTH]),
        }
        if entry.state == "clearing":
            return self.env._(
                "SendGrid holds back e-mails to %(email)s since %(date)s (list “%(list)s”). It is being asked to clear "
                "the address.",
                **words,
            )
        if explained:
            return self.env._("SendGrid holds back e-mails to %(email)s since %(date)s (list “%(list)s”).", **words)
        return self.env._(
            "SendGrid holds back e-mails to %(email)s since %(date)s (list “%(list)s”): %(reason)s", **words
        )

    # ------------------------------------------------------------
    # WISHES
    # ------------------------------------------------------------

    @api.model
    def _describe_wishes(self, listed):
        """Say of addresses that are on the blacklist when their owners opted out.

        :param listed: set of addresses in their comparable form
        :return: {address: (sentence, time in UTC)}
        """
        if not listed:
            return {}
        wishes = self._get_wishes(list(listed))
        documents = self.env["sendgrid.email"].browse(email.id for email, *_rest in wishes.values())
        # A user who may not see the e-mail must not learn its subject here. One that never arrived is not named: nobody
        # can have unsubscribed in it.
        subjects = {
            email.id: email.subject for email in documents._filtered_access("read") if email._may_have_arrived()
        }
        known = self.env["sendgrid.address"].sudo().search([("email", "in", list(listed)), ("wish_date", "!=", False)])
        dates = {address.email: address.wish_date for address in known}
        told = {email: (self._describe_wish(email, date), date) for email, date in dates.items()}
        for recipient, (email, is_spam, is_drop, moment) in wishes.items():
            if not is_drop:
                told[recipient] = (self._describe_wish(recipient, moment, is_spam, subjects.get(email.id)), moment)
            elif date := dates.get(recipient):
                told[recipient] = (self._describe_wish(recipient, date, is_spam), date)
            else:
                told[recipient] = (self._describe_earlier_wish(recipient, moment, is_spam), moment)
        return told

    @api.model
    def _describe_wish(self, email, timestamp, is_spam=None, subject=None):
        """Return the sentence about a wish; ``is_spam`` is None if it is not known which kind it was."""
        words = {"email": email, "date": describe_time(self.env, timestamp), "subject": subject}
        if is_spam is None:
            return self.env._("%(email)s unsubscribed or reported spam on %(date)s", **words)
        if is_spam and subject:
            return self.env._("%(email)s reported spam on %(date)s (“%(subject)s”)", **words)
        if is_spam:
            return self.env._("%(email)s reported spam on %(date)s", **words)
        if subject:
            return self.env._("%(email)s unsubscribed on %(date)s (“%(subject)s”)", **words)
        return self.env._("%(email)s unsubscribed on %(date)s", **words)

    @api.model
    def _describe_earlier_wish(self, email, timestamp, is_spam):
        """Return the sentence about a wish of which only a later drop is known: the drop's time is not the wish's."""
        words = {"email": email, "date": describe_time(self.env, timestamp)}
        if is_spam:
            return self.env._("%(email)s reported spam some time before %(date)s", **words)
        return self.env._("%(email)s unsubscribed some time before %(date)s", **words)

    @api.model
    def _get_wishes(self, emails):
        """Return the last complaint or unsubscription of addresses; or if there is none, the last drop because of one.

        :param emails: list of normalized addresses
        :return: {address: (`sendgrid.email` record, whether it was a complaint, whether it is a drop, time in UTC)}
        """
        self.env["sendgrid.event"].flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT DISTINCT ON (email.recipient) email.recipient, email.id,
                          event.event = 'spamreport' OR event.reason ILIKE 'spam reporting%%',
                          event.event = 'dropped', event.timestamp
                     FROM sendgrid_email email
                     JOIN sendgrid_event event ON event.email_id = email.id
                    WHERE email.recipient = ANY(%s)
                      AND (event.event IN ('spamreport', 'unsubscribe', 'group_unsubscribe')
                           OR (event.event = 'dropped'
                               AND (event.reason ILIKE 'spam reporting%%' OR event.reason ILIKE 'unsubscribed%%')))
                 ORDER BY email.recipient, event.event = 'dropped', event.timestamp DESC, event.id""",
                emails,
            )
        )
        Email = self.env["sendgrid.email"]
        return {email: (Email.browse(id_), bool(is_spam), *rest) for email, id_, is_spam, *rest in rows}

    # ------------------------------------------------------------
    # BUTTONS
    # ------------------------------------------------------------

    def action_email_is_valid(self):
        """Take back the bounces of the record's addresses, because the user knows that they work again.

        :return: the action of the dialog that offers to take the addresses off SendGrid's lists as well
        :raise AccessError: if the user may not write the record
        """
        self.check_access("write")
        offered = self._get_offered()
        self._confirm_addresses()
        return self.env["sendgrid.suppression.clear"]._get_action(", ".join(offered))

    def action_emails_are_valid(self):
        """Do the same for many records of a list. Records that the user may not write are left alone.

        :return: the action of a notification that says how many addresses are valid again
        :raise AccessError: if the user may write none of the records
        """
        allowed = self._filtered_access("write")
        if self and not allowed:
            raise AccessError(
                self.env._(
                    "You may not change any of these records, so you cannot say that their addresses are valid. Please "
                    "ask your administrator."
                )
            )
        bounced = allowed.sudo().filtered("email_bounced").with_env(self.env)
        confirmed = bounced._confirm_addresses()
        lines = [self.env._("Addresses that are valid again: %s.", len(confirmed))]
        if held := len(self._get_held(confirmed)):
            lines.append(self.env._("Still held back by SendGrid, which their pages offer to end: %s.", held))
        if skipped := len(self - allowed):
            lines.append(self.env._("Records that you may not change, and that were left alone: %s.", skipped))
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success" if confirmed else "info",
                "message": " ".join(lines),
                "sticky": bool(held or skipped),
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }

    def action_clear_at_sendgrid(self):
        """Open the dialog that offers to take the record's addresses off SendGrid's lists.

        :raise AccessError: if the user may not write the record
        """
        self.check_access("write")
        action = self.env["sendgrid.suppression.clear"]._get_action(", ".join(self._get_offered()))
        return action and {**action, "name": self.env._("Clear at SendGrid")}

    def _get_offered(self):
        """Return the addresses that bounced or are held back, else all, in their order."""
        emails = [email for emails in self._get_addresses().values() for email in emails]
        wrong = self.env["sendgrid.address"]._get_bounced(emails).keys() | self._get_held(emails).keys()
        return list(dict.fromkeys(email for email in emails if email in wrong or not wrong))

    def _confirm_addresses(self):
        """Confirm those of the records' addresses that bounced. If none did, confirm all: older bounces may still come.

        :return: the addresses that were confirmed
        """
        addresses = self._get_addresses()
        emails = {email for emails in addresses.values() for email in emails}
        Address = self.env["sendgrid.address"].sudo()
        bounced = Address._get_bounced(emails)
        Address._hold(bounced or emails)._confirm()
        self.invalidate_recordset(["sendgrid_warning", "email_valid_date", "may_clear_at_sendgrid"])
        self._note_confirmed(addresses, bounced)
        return list(bounced or emails)

    @in_company_language
    def _note_confirmed(self, addresses, bounced):
        self._message_log_batch(
            {
                record.id: self.env._("Valid again: %s", [email for email in own if email in bounced])
                for record, own in addresses.items()
                if not bounced.keys().isdisjoint(own)
            }
        )
