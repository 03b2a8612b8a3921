from psycopg2.errors import SerializationFailure, UniqueViolation

from odoo import api, models

from ..tools.address_form import all_spellings, comparable, spellings
from ..tools.times import to_datetime


class SendgridAddress(models.Model):
    """The wishes of an address's owner: whether they put it on Odoo's blacklist, or take it off again.

    A wish counts if it is newer than the last decision of somebody who took the address off the blacklist. SendGrid's
    reminder of a wish (a dropped e-mail) is no new wish: it counts only if nobody has decided yet. What somebody put on
    the blacklist, nobody's return to a group takes off.
    """

    _inherit = "sendgrid.address"

    def _settle_blacklist(self, messages):
        """Put the addresses on the blacklist or take them off, as the words about them say.

        Core compares a record's `email_normalized` with the entries. So an address whose domain has two spellings gets
        an entry for each.

        :param messages: {comparable address: the text for the entry's chatter (`Markup`)}
        :return: the addresses that were put on it
        """
        if not self:
            return self
        Blacklist = self.env["mail.blacklist"].sudo().with_context(sendgrid_settles=True)
        entries = Blacklist.with_context(active_test=False).search(
            [("email", "in", all_spellings(self.mapped("email")))]
        )
        listed = set(entries.filtered("active").mapped("email"))
        inactive = set(entries.mapped("email")) - listed
        acting = self._get_acting_accounts()
        out = self.filtered(lambda address: address._is_out(acting))
        added = out.filtered(lambda address: listed.isdisjoint(spellings(address.email)))
        missing = [email for email in all_spellings(out.mapped("email")) if email not in listed]
        for email in missing:
            if email in inactive:
                Blacklist._add(email, message=messages.get(comparable(email)))
        new = self._create_entries(Blacklist, [email for email in missing if email not in inactive])
        new._message_log_batch(
            {entry.id: message for entry in new if (message := messages.get(comparable(entry.email)))}
        )
        added.is_blacklisted_by_words = True
        removed = (self - out).filtered("is_blacklisted_by_words")
        for email in all_spellings(removed.mapped("email")):
            if email in listed:
                Blacklist._remove(email, message=messages.get(comparable(email)))
        removed.is_blacklisted_by_words = False
        return added

    @api.model
    def _create_entries(self, Blacklist, emails):
        """Put addresses on the blacklist that have no entry yet.

        :raise SerializationFailure: if somebody else is doing so at the same time, so that all of it is tried again
        """
        try:
            return Blacklist.create([{"email": email} for email in emails])
        except UniqueViolation as error:
            raise SerializationFailure(str(error)) from error

    @api.model
    def _get_acting_accounts(self):
        """Return the ids of the accounts for which leaving a group means leaving all, as a set.

        An account whose events have no consequences now may have had some: what was noted then counts.
        """
        accounts = self.env["sendgrid.account"].sudo().with_context(active_test=False)
        return set(accounts.search([("group_unsubscribe_action", "=", "blacklist")]).ids)

    def _is_out(self, acting):
        """Tell whether the owner of the address wants no e-mails.

        :param acting: ids of the accounts whose groups count
        """
        decided = self.wanted_date
        if self.wish_date and (not decided or self.wish_date > decided):
            return True
        if self.reminder_date and not decided:
            return True
        return any(
            is_out and int(group.partition("/")[0]) in acting and (not decided or to_datetime(moment) > decided)
            for group, (moment, is_out) in (self.groups or {}).items()
        )

    @api.model
    def _note_wanted(self, emails):
        """Note that the current user has taken addresses off the blacklist. Older wishes do not count any more.

        :param emails: comparable addresses
        """
        addresses = self.sudo()._hold(emails)
        for address in addresses:
            groups = [to_datetime(moment) for moment, _is_out in (address.groups or {}).values()]
            address.wanted_date = address._get_decision_date(address.wish_date, address.reminder_date, *groups)
        addresses.write({"wanted_uid": self.env.uid, "is_blacklisted_by_words": False})
