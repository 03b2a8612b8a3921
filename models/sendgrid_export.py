import zlib
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain
from odoo.tools import SQL

from ..tools.events.answer import FROM_ANYWHERE
from . import bulk
from .company_language import in_company_language

# The rows that one transaction takes.
CHUNK_EMAILS = 100
CHUNK_EVENTS = 1000
# A user waits for so many pieces of work, which write a usual file. The scheduled action does further ones.
PIECES_AT_ONCE = 6
# A file gets no further contents behind this size in bytes, because a browser has to open it.
MOST_CONTENTS = 200_000_000
# The file is deleted so long after it was asked for.
KEEP = timedelta(days=7)


class SendgridExport(models.Model):
    """A file of all that is known of an address or a contact, to be handed to its owner.

    It is one HTML page without anything from elsewhere: a person reads it in any browser. It is well-formed XML as
    well, in which each value has the technical name of its field, so that a program can parse it.
    `sendgrid_export_page` writes it.

    It is written piece by piece, each committed as a part of its own. The parts stay what the file is made of: so
    neither writing nor downloading it ever takes more memory than a part. Only who asked for it reads it, and it is
    deleted after some days.
    """

    _name = "sendgrid.export"
    _description = "Export of Tracking"
    _order = "id desc"
    _inherit = ["sendgrid.job.mixin"]
    _allow_sudo_commands = False

    partner_id = fields.Many2one("res.partner", string="Contact", readonly=True, ondelete="cascade")
    addresses = fields.Json(
        string="List of Addresses", readonly=True, help="Everything about these addresses is in the file."
    )
    address_names = fields.Text(string="Addresses", compute="_compute_address_names")
    company_ids = fields.Many2many(
        "res.company",
        string="Companies",
        readonly=True,
        help="The companies of whoever asked for it: e-mails of other companies are not in the file.",
    )
    state = fields.Selection(
        [("running", "Running"), ("done", "Done"), ("failed", "Failed")],
        required=True,
        readonly=True,
        default="running",
    )
    stage = fields.Selection(
        [("facts", "Facts"), ("emails", "E-mails"), ("events", "Other Events")],
        string="Next",
        required=True,
        readonly=True,
        default="facts",
        help="What is written next.",
    )
    last_id = fields.Integer(
        string="Written up to", readonly=True, aggregator=None, help="The id of the last record of this stage."
    )
    email_count = fields.Integer(string="E-mails", readonly=True, help="How many e-mails belong into the file.")
    written_count = fields.Integer(string="E-mails Written", readonly=True)
    content_size = fields.Integer(string="Size of Contents", readonly=True, help="In bytes.")
    progress = fields.Integer(compute="_compute_progress", help="In percent of the e-mails.")
    error = fields.Text(readonly=True, help="Says why the work has failed.")

    @api.depends("addresses")
    def _compute_address_names(self):
        for export in self:
            export.address_names = ", ".join(export.addresses or ())

    @api.depends("addresses", "partner_id")
    def _compute_display_name(self):
        for export in self:
            export.display_name = export.address_names or export.partner_id.display_name

    @api.depends("state", "email_count", "written_count")
    def _compute_progress(self):
        for export in self:
            share = export.written_count / export.email_count if export.email_count else 0
            export.progress = 100 if export.state == "done" else min(int(100 * share), 99)

    # ------------------------------------------------------------
    # START
    # ------------------------------------------------------------

    @api.model
    def _open_for(self, record):
        """Write the file about a contact, a lead or an address, and return the action that shows how far it is.

        :param record: contact, lead or address
        :raise AccessError: if the user is no administrator, or may not change the contact or lead
        :raise UserError: if it has neither an address nor an e-mail
        """
        self.env["sendgrid.forget"]._check_is_administrator()
        record.ensure_one()
        addresses, emails = self.env["sendgrid.forget"]._get_subjects(record)
        if not addresses and not emails:
            raise UserError(self.env._("There is nothing to write: no address, and no e-mail."))
        export = self._begin(addresses, record if record._name == "res.partner" else None)
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Export of Tracking"),
            "res_model": self._name,
            "res_id": export.id,
            "views": [[False, "form"]],
        }

    @api.model
    def _begin(self, emails=(), partner=None):
        """Write a file, as far as a user can wait for it. The scheduled action does the rest.

        :param emails: comparable addresses
        :param partner: `res.partner` record whose documents belong into it too, whatever address they went to
        :return: the new record
        """
        # Nobody makes one by himself, because whom it is about is checked before.
        export = self.sudo().create(
            {
                "addresses": sorted(set(emails)),
                "partner_id": partner and partner.id,
                "company_ids": [fields.Command.set(self.env.companies.ids)],
            }
        )
        export.email_count = self.env["sendgrid.email"].sudo().search_count(export._get_email_domain())
        export.sudo(False)._log()
        for _number in range(PIECES_AT_ONCE):
            if export.state == "running":
                export._write_piece()
        if export.state == "running":
            self.env.ref("sendgrid_tracking.ir_cron_export").sudo()._trigger()
        return export.sudo(False)

    @in_company_language
    def _log(self):
        """Note with the addresses, in the privacy log and in chatters that somebody asked for the file."""
        Address = self.env["sendgrid.address"]
        values = {"exported_date": fields.Datetime.now(), "exported_uid": self.env.uid}
        Address.sudo()._hold(self.addresses).write(values)
        Address._log_right(
            Address._count_documents(self.addresses),
            self.env._("All that is known of %(email)s was written into a file. E-mails: %(count)s."),
            self.env._("All that is known of the address was written into a file. E-mails: %s."),
        )

    def action_download(self):
        """Hand the file to the browser."""
        self.ensure_one()
        self.check_access("read")
        return {"type": "ir.actions.act_url", "url": f"/sendgrid/export/{self.id}"}

    def _get_file_name(self):
        return self.env._("Tracking of %s.html", self.display_name)

    def _stream(self):
        """Return an iterator over the parts of the file."""
        Part = self.env["sendgrid.export.part"].sudo()
        last_part = Part.search([("export_id", "=", self.id)], order="id desc", limit=1)
        return self._read_parts(last_part.id)

    def _read_parts(self, end_id):
        """Yield the parts of the file, up to that with this id.

        Whoever downloads it may be slow, and the request's transaction is over by then: each part is read in a short
        one of its own.
        """
        last_id = 0
        while last_id != end_id:
            with self.env.registry.cursor(readonly=True) as cr:
                cr.execute(
                    SQL(
                        """SELECT id, packed FROM sendgrid_export_part
                            WHERE export_id = %s AND id > %s ORDER BY id LIMIT 1""",
                        self.id,
                        last_id,
                    )
                )
                row = cr.fetchone()
            if not row:
                # Half a file that looks whole would be worse than a download that breaks off.
                raise RuntimeError(f"sendgrid.export {self.id}: parts after {last_id} are gone")
            last_id, packed = row
            yield zlib.decompress(packed)

    def action_start(self):
        """Go on where it failed."""
        self.env["sendgrid.forget"]._check_is_administrator()
        self.check_access("read")
        self.sudo().filtered(lambda export: export.state == "failed").write({"state": "running", "error": False})
        self.env.ref("sendgrid_tracking.ir_cron_export").sudo()._trigger()

    # ------------------------------------------------------------
    # RUN
    # ------------------------------------------------------------

    @api.model
    @in_company_language
    def _cron_export(self):
        """Go on with each file that is being written."""
        exports = self.search([("state", "=", "running")], order="id")
        for number, export in enumerate(exports, 1):
            if not self._run_job(
                f"export {export.id}", export._write_pieces, export._fail, others=len(exports) - number
            ):
                return

    def _write_pieces(self):
        """Write piece after piece.

        :return: a generator that yields 1 after each, for a commit
        """
        while self.state == "running":
            self._write_piece()
            yield 1

    def _fail(self, words):
        self.write({"state": "failed", "error": words})

    def _write_piece(self):
        """Write the next piece of the file, and note how far it is."""
        # The page is written in the language and time zone of whoever asked for it, also by the scheduled action.
        user = self.create_uid
        self = self.with_context(lang=user.lang, tz="UTC", allowed_company_ids=self.company_ids.ids, bin_size=False)
        getattr(self, f"_write_{self.stage}")()
        self.env.flush_all()

    def _write_facts(self):
        self._add(self._get_head())
        self._add(self._get_facts())
        self.write({"stage": "emails", "last_id": 0})

    def _write_emails(self):
        domain = self._get_email_domain() & Domain("id", ">", self.last_id)
        emails = self.env["sendgrid.email"].search(domain, order="id", limit=CHUNK_EMAILS)
        if not emails:
            self.write({"stage": "events", "last_id": 0})
            return
        text, size = self._get_emails(emails, MOST_CONTENTS - self.content_size)
        self._add(text)
        self.write(
            {
                "last_id": emails[-1].id,
                "written_count": self.written_count + len(emails),
                "content_size": self.content_size + size,
            }
        )

    def _write_events(self):
        domain = self._get_event_domain() & Domain("id", ">", self.last_id)
        events = self.env["sendgrid.event"].search(domain, order="id", limit=CHUNK_EVENTS)
        if not events:
            self._add(self._get_foot())
            self.write({"state": "done", "error": False})
            return
        self._add(self._get_events(events))
        self.last_id = events[-1].id

    def _add(self, text):
        """Add a part to the file.

        :param text: HTML
        """
        bulk.insert(
            self.env["sendgrid.export.part"], [{"export_id": self.id, "packed": zlib.compress(str(text).encode())}]
        )

    def _get_email_domain(self):
        """Return the domain of the documents that belong into the file, whoever may see them in Odoo.

        They are what its owner got himself. Those of other companies than the administrator's are left out.
        """
        about = Domain("recipient", "in", self.addresses)
        if self.partner_id:
            about |= Domain("partner_id", "=", self.partner_id.id)
        companies = [False, *self.company_ids.ids]
        return about & Domain("account_id.company_id", "in", companies) & Domain("company_id", "in", companies)

    def _get_event_domain(self):
        """Return the domain of the events that found no e-mail, and of answers to somebody else's."""
        named = Domain("recipient", "in", self.addresses)
        about, others = named, Domain("email_id.recipient", "not in", self.addresses)
        if self.partner_id:
            about |= Domain("partner_id", "=", self.partner_id.id)
            others &= Domain("email_id.partner_id", "!=", self.partner_id.id)
        about &= Domain("email_id", "=", False)
        about |= named & Domain("answer", "in", FROM_ANYWHERE) & Domain("email_id", "!=", False) & others
        return about & Domain("account_id.company_id", "in", [False, *self.company_ids.ids])

    @api.autovacuum
    def _gc_exports(self):
        """Delete the files after `KEEP`, whether they are done or not. That they were written stays noted."""
        self.sudo().search([("create_date", "<", fields.Datetime.now() - KEEP)]).unlink()


class SendgridExportPart(models.Model):
    """A part of a file. It goes with the file."""

    _name = "sendgrid.export.part"
    _description = "Part of an Export of Tracking"
    _log_access = False
    _allow_sudo_commands = False

    export_id = fields.Many2one("sendgrid.export", required=True, readonly=True, index=True, ondelete="cascade")
    packed = fields.Binary(
        attachment=False, readonly=True, groups=fields.NO_ACCESS, help="The HTML, compressed with zlib."
    )
