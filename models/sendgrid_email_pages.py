import functools
import logging
from collections import defaultdict

from odoo import SUPERUSER_ID, api, models
from odoo.tools import SQL

_logger = logging.getLogger(__name__)

CREATED = "sendgrid_tracking.created"
# What pages are told by of a new document.
TOLD = ("partner_id", "model", "res_id", "mail_message_id", "again_of_id")


class SendgridEmail(models.Model):
    """What the open pages of employees hear: which documents are new or changed, and whose pages show them.

    The messages have ids only. Each page reads what it shows again, with its user's own rights.
    """

    _inherit = "sendgrid.email"

    def _notify_changed(self):
        """Tell the open pages which documents changed, and their authors what happened."""
        self.env["sendgrid.interaction"]._announce()
        if self:
            # The drain calls this for thousands, of which nobody needs more than these columns.
            names = ("partner_id", "model", "res_id", "mail_message_id")
            rows = [dict(zip(names, values, strict=True)) for _id, values in self._read_columns(names)]
            self._send_to_pages(self.ids, self._get_owners(rows), is_new=False)

    @api.model
    def _notify_created(self, ids, rows):
        """Tell the open pages, once after the transaction is committed, of documents that are new or were sent again.

        A run that commits each of its mails, such as that of the mail queue, tells of all at its end: else every open
        list would be read again for each mail. See `mail.mail._send`.

        Those of a mass mailing are left out: there may be many thousands, each in a transaction of its own.

        :param ids: ids of the documents, as far as they are known
        :param rows: list of {column: value} of the documents
        """
        rows = [{name: row.get(name) for name in TOLD} for row in rows if not row.get("mailing_res_id")]
        if not rows:
            return
        outbox = self.env.context.get("sendgrid_outbox")
        if outbox and outbox.commits_each:
            outbox.created.append((ids, rows))
            return
        queue = self.env.cr.postcommit
        if CREATED not in queue.data:
            queue.data[CREATED] = {"ids": set(), "rows": []}
            queue.add(functools.partial(self._tell_created, self.env.registry, queue.data[CREATED]))
        created = queue.data[CREATED]
        # The page of an e-mail shows that it was sent again.
        created["ids"].update(ids, (row["again_of_id"] for row in rows if row.get("again_of_id")))
        created["rows"].extend(rows)

    @staticmethod
    def _tell_created(registry, created):
        """Tell the open pages of new documents, in a transaction of its own. Errors are logged and not raised.

        :param registry: the registry of the database
        :param created: {"ids": set of ids, "rows": list of {column: value}}
        """
        try:
            with registry.cursor() as cr:
                emails = api.Environment(cr, SUPERUSER_ID, {})["sendgrid.email"]
                emails._send_to_pages(sorted(created["ids"]), emails._get_owners(created["rows"]), is_new=True)
        except Exception:
            _logger.exception("SendGrid: open pages do not hear of new documents")

    @api.model
    def _get_owners(self, rows):
        """Return the records whose pages show documents: their contacts, the companies of these, the records that they
        are about, and the messages beside which a chatter shows them.

        :param rows: list of {column: value} of the documents
        :return: {name of a model: sorted ids}
        """
        owners = defaultdict(set)
        for row in rows:
            if row.get("partner_id"):
                owners["res.partner"].add(row["partner_id"])
        if owners["res.partner"]:
            self.env["res.partner"].flush_model(["parent_id"])
            found = self.env.execute_query(
                SQL(
                    """WITH RECURSIVE family AS (
                           SELECT unnest(%s) AS id
                           UNION
                           SELECT partner.parent_id FROM res_partner partner
                             JOIN family ON family.id = partner.id WHERE partner.parent_id IS NOT NULL
                       )
                       SELECT id FROM family""",
                    list(owners["res.partner"]),
                )
            )
            owners["res.partner"].update(id_ for (id_,) in found)
        for row in rows:
            if row.get("model") and row.get("res_id"):
                owners[row["model"]].add(row["res_id"])
            if row.get("mail_message_id"):
                owners["mail.message"].add(row["mail_message_id"])
        return {model: sorted(ids) for model, ids in owners.items() if ids}

    @api.model
    def _send_to_pages(self, ids, owners, is_new):
        """Send all employees one message.

        :param ids: ids of documents
        :param owners: {name of a model: ids of the records whose pages show the documents}
        :param bool is_new: the documents may be in no page yet, so that lists have to look for them
        """
        self.env.ref("base.group_user")._bus_send(
            "sendgrid.email/changed", {"ids": ids, "about": owners, "is_new": is_new}
        )
