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
        noted = self.env.cr.precommit.data.setdefault(NOTED, {"users": set(), "told": {}})
        noted["users"].update(user_ids)
        noted["told"].update(told)

    @api.model
    def _announce(self):
        """Tell the users whose feeds have changed in this transaction, each once.

        It fails for nobody but itself: whatever is wrong, the events are kept.
        """
        noted = self.env.cr.precommit.data.pop(NOTED, None)
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
        by_user = defaultdict(self.browse, self._get_told(told).grouped("user_id"))
        unseen = self._count_unseen(sorted(user_ids))
        notices = {}
        for user in self.env["res.users"].browse(sorted(user_ids)):
            if by_user[user]:
                notices[user] = by_user[user].with_context(lang=user.lang)._prepare_notice()
            user._bus_send("sendgrid.interaction/told", {"unseen": unseen[user.id], "notice": notices.get(user, False)})
        self._push(notices)

    @api.model
    def _get_told(self, told):
        """Return the interactions that are to be told, the newest first.

        What was rolled back meanwhile is not there, or was told at another time.

        :param told: {id: `told_date`}
        """
        if not told:
            return self.browse()
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT known.id FROM sendgrid_interaction known
                     JOIN unnest(%s, %s) AS told (id, told_date)
                       ON known.id = told.id AND known.told_date = told.told_date
                 ORDER BY date DESC, known.id DESC""",
                list(told),
                list(told.values()),
            )
        )
        return self.browse(id_ for (id_,) in rows)

    def _prepare_notice(self):
        """Return what the user is told of these interactions of his, as a dict of plain text.

        :return: ``title``, ``body``, the id of the newest e-mail ``email_id``, how many interactions it is about, and
            the ids of the first of them
        """
        is_flood = len(self) > TOLD_ONE_BY_ONE
        # There may be thousands, of which nothing is read.
        told = self.browse(self.ids[:1] if is_flood else self.ids)
        lines = [interaction._describe() for interaction in told]
        if is_flood:
            lines.insert(0, self.env._("Interactions with your e-mails: %s", len(self)))
        return {
            "title": lines[0],
            "body": "\n".join(lines[1:]) or told.subject or "",
            "email_id": told[0].email_id.id,
            "count": len(self),
            "ids": self.ids[:TOLD_ONE_BY_ONE],
        }

    def _describe(self):
        """Return what happened, with the contact."""
        contact = self.contact_name or self.recipient
        return {
            "opened": self.env._("Opened by %s", contact),
            "clicked": self.env._("Clicked by %s", contact),
            "replied": self.env._("Reply from %s", contact),
            "failed": self.env._("Not delivered to %s", contact),
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
