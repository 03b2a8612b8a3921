from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.sending import difference
from . import bulk

# A mailing leaves in many runs: each goes on with the latest contents of the mailing, of both kinds if there are.
LATEST = 4
COLLECT_AT_ONCE = 5000


class SendgridContent(models.Model):
    """The HTML of e-mails as they were sent, each once, without the links that only the recipient may use.

    Documents share it (`sendgrid.email.content_id`), and keep beside it only what differs (`content_changes`). So no
    content needs another one, and it goes with the last document that shares it. Nobody reads it but through a
    document that he may see.
    """

    _name = "sendgrid.content"
    _description = "Content of E-mails"
    _log_access = False
    _allow_sudo_commands = False

    packed = fields.Binary(
        attachment=False, readonly=True, groups=fields.NO_ACCESS, help="The HTML, compressed with zlib."
    )
    mailing_res_id = fields.Integer(string="Mailing ID", readonly=True, help="The mass mailing that it belongs to.")
    is_common = fields.Boolean(
        string="In Common",
        readonly=True,
        help="It is no e-mail by itself: it has only the words that e-mails to several recipients have in common.",
    )
    text = fields.Text(compute="_compute_text", inverse="_inverse_text", groups=fields.NO_ACCESS, help="The HTML.")

    _mailing_idx = models.Index("(mailing_res_id, id) WHERE mailing_res_id IS NOT NULL")

    @api.depends("packed")
    def _compute_text(self):
        for content in self.with_context(bin_size=False, bin_size_packed=False):
            content.text = difference.unpack(content.packed) if content.packed else False

    def _inverse_text(self):
        for content in self:
            content.packed = difference.pack(content.text or "")

    @api.model
    def _store(self, contents):
        """Store contents, in one query.

        :param contents: list of `tools.sending.contents.Content`; they get their ids
        """
        new = {content.packed: content for content in contents}
        rows = [
            {
                "packed": content.packed,
                "mailing_res_id": content.mailing_id,
                "is_common": content.is_common,
            }
            for content in new.values()
        ]
        ids = {bytes(packed): id_ for id_, packed in bulk.insert(self, rows, returning=("id", "packed"))}
        for content in contents:
            content.id = ids[content.packed]

    @api.model
    def _find_of_mailing(self, mailing_id):
        """Return the latest contents of a mailing as (id, packed, is_common)."""
        rows = self.env.execute_query(
            SQL(
                """SELECT id, packed, is_common FROM sendgrid_content
                    WHERE mailing_res_id = %s ORDER BY id DESC LIMIT %s""",
                mailing_id,
                LATEST,
            )
        )
        return [(id_, bytes(packed), is_common) for id_, packed, is_common in rows]

    @api.model
    def _forget_unused(self, ids):
        """Delete those of the contents that no document has any more."""
        if not ids:
            return
        self.env["sendgrid.email"].flush_model(["content_id"])
        self.env.cr.execute(
            SQL(
                """DELETE FROM sendgrid_content content WHERE id = ANY(%s)
                      AND NOT EXISTS (SELECT FROM sendgrid_email email WHERE email.content_id = content.id)""",
                list(ids),
            )
        )
        self.browse(ids).invalidate_recordset(flush=False)

    @api.autovacuum
    def _gc_unused(self):
        """Delete contents that no document has, such as those of a copy that had its document before.

        :return: how many were deleted, and whether there may be more: core then calls again
        """
        rows = self.env.execute_query(
            SQL(
                """SELECT id FROM sendgrid_content content
                    WHERE NOT EXISTS (SELECT FROM sendgrid_email email WHERE email.content_id = content.id)
                    LIMIT %s""",
                COLLECT_AT_ONCE,
            )
        )
        self._forget_unused([id_ for (id_,) in rows])
        return len(rows), len(rows) == COLLECT_AT_ONCE
