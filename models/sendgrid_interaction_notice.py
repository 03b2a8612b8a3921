import json
import logging
from collections import defaultdict

from odoo import api, models
from odoo.tools import SQL

from .undoable import TRY_LATER, undoable

_logger = logging.getLogger(__name__)

NOTED = "sendgrid_tracking.interactions"
# If a user is to be told of more at once, he is told their number.
TOLD_ONE_BY_ONE = 3
# A push notification takes the place of an earlier one with the same tag, so that a mailing makes one line.
TAG = "sendgrid_tracking"


class SendgridInteraction(models.Model):
    """How a user is told of interactions: his open windows by the bus, his devices by core's push notifications.

    The content goes to the user himself only, whose e-mail it was.
    """

    _inherit = "sendgrid.interaction"

    @api.model
    def _note(self, user_ids, told=()):
        """Remember, up to the end of the transaction, whose feed has changed and what of it is to be told.

        :param user_ids: ids of users
        :param told: {id of an interaction: its new `told_date`}
        """
        # Not with what is done before the commit: each savepoint does that, and forgets it.
        noted = self.env.cr.postcommit.data.setdefault(NOTED, {"users": set(), "told": {}})
        noted["users"].update(user_ids)
        noted["told"].update(told)

    @api.model
    def _announce(self):
        """Tell the users whose feeds have changed in this transaction, each once.

        It fails for nobody but itself: whatever is wrong, the events are kept.
        """
        noted = self.env.cr.postcommit.data.pop(NOTED, None)
        if not noted or not noted["users"]:
            return
        try:
            with undoable(self.env.cr):
                self.sudo()._tell(noted["users"], noted["told"])
        except TRY_LATER:
            raise
        except Exception:
            _logger.exception("SendGrid: users could not be told of what happened to their e-mails")

    @api.model
    def _tell(self, user_ids, told):
        by_user = self._get_told(told)
        shown = {id_: ids if len(ids) <= TOLD_ONE_BY_ONE else ids[:1] for id_, ids in by_user.items()}
        # All users' are read at once, as soon as one of them is.
        to_read = sum(shown.values(), [])
        unseen = self._count_unseen(sorted(user_ids))
        notices = {}
        for user in self.env["res.users"].browse(sorted(user_ids)):
            if user.id in by_user:
                mine = self.browse(shown[user.id]).with_prefetch(to_read).with_context(lang=user.lang)
                notices[user] = mine._prepare_notice(len(by_user[user.id]))
            user._bus_send("sendgrid.interaction/told", {"unseen": unseen[user.id], "notice": notices.get(user, False)})
        self._push(notices)

    @api.model
    def _get_told(self, told):
        """Return the interactions that are to be told: {id of a user: ids, the newest first}.

        What was rolled back meanwhile is not there, or was told at another time. There may be thousands.

        :param told: {id: `told_date`}
        """
        by_user = defaultdict(list)
        if not told:
            return by_user
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT known.user_id, known.id FROM sendgrid_interaction known
                     JOIN unnest(%s, %s) AS told (id, told_date)
                       ON known.id = told.id AND known.told_date = told.told_date
                 ORDER BY date DESC, known.id DESC""",
                list(told),
                list(told.values()),
            )
        )
        for user_id, id_ in rows:
            by_user[user_id].append(id_)
        return by_user

    def _prepare_notice(self, count):
        """Return what the user is told of these interactions of his, as a dict of plain text.

        :param count: how many interactions it is about, of which these are the newest
        :return: ``title``, ``body``, the id of the newest e-mail ``email_id``, ``count``, and ``ids`` of these
        """
        lines = [interaction._describe() for interaction in self]
        if count > len(self):
            lines.insert(0, self.env._("Interactions with your e-mails: %s", count))
        return {
            "title": lines[0],
            "body": "\n".join(lines[1:]) or self.subject or "",
            "email_id": self[0].email_id.id,
            "count": count,
            "ids": self.ids,
        }

    def _describe(self):
        """Return what happened, with the contact."""
        contact = self.contact_name or self.recipient
        return {
            "opened": self.env._("Opened by %s", contact),
            "clicked": self.env._("Clicked by %s", contact),
            "replied": self.env._("Reply from %s", contact),
            "failed": self.env._("Not delivered to %s", contact),
            "spam": self.env._("Reported as spam by %s", contact),
        }[self.kind]

    @api.model
    def _push(self, notices):
        """Have core push notices to the devices on which their users have allowed it.

        They go into core's queue: core would send a few at once, and the transaction may not be committed.

        :param notices: {`res.users` record: what `_prepare_notice` returns}
        """
        Thread = self.env["mail.thread"]
        partners = {user.partner_id: notice for user, notice in notices.items()}
        devices, _private, _public = Thread._web_push_get_partners_parameters([partner.id for partner in partners])
        if not devices:
            return
        self.env["mail.push"].create(
            [
                {
                    "mail_push_device_id": device.id,
                    "payload": json.dumps(self._prepare_push(partners[device.partner_id])),
                }
                for device in devices
            ]
        )
        self.env.ref("mail.ir_cron_web_push_notification")._trigger()

    @api.model
    def _prepare_push(self, notice):
        return self.env["mail.thread"]._web_push_truncate_payload(
            {
                "title": notice["title"],
                "options": {
                    "body": notice["body"],
                    "icon": "/sendgrid_tracking/static/description/icon.png",
                    "tag": TAG,
                    "data": {"model": "sendgrid.email", "res_id": notice["email_id"]},
                },
            }
        )
