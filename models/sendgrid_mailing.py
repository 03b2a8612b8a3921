import math
import re
from collections import Counter, defaultdict
from urllib.parse import urlsplit

from odoo import api, models
from odoo.fields import Domain
from odoo.tools import SQL, float_round

from ..tools.address_form import all_spellings, comparable
from ..tools.events.fold import FAILURES
from ..tools.sending import pixels
from ..tools.sending.links import NOTICE_PAGE
from ..tools.times import to_seconds
from .sendgrid_consequence import FAILURES as FAILED_FACTS

# Core's links of a mailing hold the code of a link, and in older mails the recipient's trace (its `link_tracker`).
SHORT_LINK = re.compile(r"/r/(?P<code>[\w-]{1,64})(?:/m/\d+)?/?")
# Of these nothing has to be done but to try again. For the others SendGrid would drop the next one too.
PASSED_FACTS = ("blocked", "dropped")


def read_code(url):
    """Return the code of a link that core has shortened, or None if the URL is none such.

    :param url: any text, since it comes from outside
    """
    try:
        path = urlsplit(url or "").path
    except ValueError:
        return None
    found = SHORT_LINK.fullmatch(path)
    return found and found["code"]


class SendgridMailing(models.AbstractModel):
    """What core's mass mailing has to know of documents, if it is installed. The addon does not depend on it.

    `sendgrid.consequence` brings traces and clicks up to date.
    """

    _name = "sendgrid.mailing"
    _description = "Mass Mailings and Their Documents"
    _inherit = ["sendgrid.patch.mixin"]

    def _get_patches(self):
        patches = {
            ("mailing.mailing", "action_retry_failed"): self._make_retry(),
            ("mailing.mailing", "_compute_statistics"): self._make_compute_statistics(),
            ("mailing.mailing", "_compute_clicks_ratio"): self._make_compute_clicks_ratio(),
            ("mailing.trace", "set_opened"): self._make_set("set_opened"),
            ("mailing.trace", "set_clicked"): self._make_set("set_clicked"),
        }
        if "mailing.trace" in self.env:  # short links are there without mass mailing too
            patches["link.tracker.click", "add_click"] = self._make_add_click()
        if "link.tracker" in self.env:  # the mixin is there in any case, but not this method of it
            patches["mail.render.mixin", "_shorten_links"] = self._make_shorten_links()
        return patches

    @api.model
    def _make_retry(self):
        def action_retry_failed(self):
            """Send again what SendGrid could not deliver, besides what core could not send, and say so."""
            told = self.env["sendgrid.mailing"]._retry(self)
            return action_retry_failed.origin(self) or told

        return action_retry_failed

    @api.model
    def _make_compute_statistics(self):
        def _compute_statistics(self):
            """Leave those who are not measured out of the rate of opens: that they did not open is not known."""
            _compute_statistics.origin(self)
            for mailing, (_arrived, measured) in self.env["sendgrid.mailing"]._count_measured(self).items():
                mailing.opened_ratio = float_round(100 * mailing.opened / (measured or 1), precision_digits=2)

        return _compute_statistics

    @api.model
    def _make_compute_clicks_ratio(self):
        def _compute_clicks_ratio(self):
            """Leave those who are not measured out of the rate of clicks."""
            _compute_clicks_ratio.origin(self)
            for mailing, (arrived, measured) in self.env["sendgrid.mailing"]._count_measured(self).items():
                clicked = round(mailing.clicks_ratio * arrived / 100)
                mailing.clicks_ratio = float_round(100 * clicked / (measured or 1), precision_digits=2)

        return _compute_clicks_ratio

    @api.model
    def _make_add_click(self):
        @api.model
        def add_click(self, code, **route_values):
            """Leave out the clicks that SendGrid reports, as they are counted with their verdict, and those of people
            who are not measured.
            """
            trace = self.env["mailing.trace"].sudo().browse(route_values.get("mailing_trace_id") or ()).exists()
            if self.env["sendgrid.mailing"]._get_unmeasured(trace):
                return self.browse()
            if not route_values.get("mailing_trace_id") and self.env["sendgrid.mailing"]._is_measured(code):
                return self.browse()
            return add_click.origin(self, code, **route_values)

        return add_click

    @api.model
    def _make_shorten_links(self):
        @api.model
        def _shorten_links(self, html, link_tracker_vals, blacklist=None, base_url=None):
            """Leave the placeholder of the recipients' own link as it is, as core does with its own placeholders."""
            blacklist = [*(blacklist or ()), NOTICE_PAGE]
            return _shorten_links.origin(self, html, link_tracker_vals, blacklist=blacklist, base_url=base_url)

        return _shorten_links

    @api.model
    def _make_set(self, name):
        def set_interaction(self, domain=None):
            """Note what core itself has measured, but not of people who are not measured."""
            traces = self + (self.search(domain) if domain else self.browse())
            return set_interaction.origin(traces - self.env["sendgrid.mailing"]._get_unmeasured(traces))

        set_interaction.__name__ = name
        return set_interaction

    # ------------------------------------------------------------
    # NOT MEASURED
    # ------------------------------------------------------------

    @api.model
    def _get_unmeasured(self, traces):
        """Return the traces of whom nothing may be noted: of documents that are not measured, and of people who
        declined, or whose tracking was forgotten after the mailing was sent to them.

        :param traces: `mailing.trace` records
        """
        if not traces:
            return traces
        addresses = {trace: comparable((trace.email or "").strip()) for trace in traces.sudo()}
        silent = self.env["sendgrid.reduction"].sudo()._get_silent(set(addresses.values()) - {""})
        names = list(filter(None, traces.sudo().mapped("message_id")))
        emails = self.env["sendgrid.email"].sudo()
        emails = emails.search_fetch(
            [("message_id", "in", names), ("measured", "=", "none")], ["message_id", "recipient"]
        )
        unmeasured = {(email.message_id, email.recipient) for email in emails}
        return traces.browse(
            trace.id
            for trace, address in addresses.items()
            if (trace.message_id, address) in unmeasured
            or to_seconds(trace.create_date) <= (silent.get(address) or -math.inf)
        )

    @api.model
    def _forget_interactions_of(self, emails):
        """Take back in core's mass mailing that the recipients of documents opened or clicked, if it is installed.

        :param emails: `sendgrid.email` records that are not measured
        """
        if "mailing.trace" not in self.env or not (emails := emails.filtered("mailing_res_id")):
            return
        self._forget_interactions(self.env["mailing.trace"].union(*self._get_traces(emails).values()))

    @api.model
    def _forget_interactions_with(self, addresses):
        """Do as `_forget_interactions_of`, for all traces of some addresses: a mailing may have gone another way.

        :param addresses: comparable addresses
        """
        if "mailing.trace" not in self.env or not addresses:
            return
        self.env["mailing.trace"].flush_model()
        rows = self.env.execute_query(
            SQL("SELECT id FROM mailing_trace WHERE lower(trim(email)) = ANY(%s) ORDER BY id", all_spellings(addresses))
        )
        traces = self.env["mailing.trace"].sudo().browse(id_ for (id_,) in rows)
        self._forget_interactions(self._get_unmeasured(traces))

    @api.model
    def _forget_interactions(self, traces):
        """Take back that somebody opened or clicked. That he replied stays, and that he was not reached, which core
        hides behind an open.
        """
        self.env["link.tracker.click"].sudo().search([("mailing_trace_id", "in", traces.ids)]).unlink()
        for trace in traces.filtered(lambda t: t.trace_status == "open"):
            failed = "bounce" if trace.failure_type == "mail_bounce" else "error"
            trace.trace_status = failed if trace.failure_type else "sent"
        traces.filtered(lambda t: t.open_datetime or t.links_click_datetime).write(
            {"open_datetime": False, "links_click_datetime": False}
        )

    # ------------------------------------------------------------
    # CLICKS
    # ------------------------------------------------------------

    @api.model
    def _is_measured(self, code):
        """Tell whether SendGrid measures the clicks of the mailing to which a short link belongs.

        Where events have no consequences, the clicks that SendGrid reports do not come to the mailing.
        """
        link = self.env["link.tracker.code"].sudo().search([("code", "=", code)]).link_id
        if not link.mass_mailing_id:
            return False
        domain = Domain("account_id.click_tracking", "=", True)
        domain |= Domain("click_count", ">", 0) | Domain("machine_click_count", ">", 0)
        domain &= Domain("account_id.act_on_events", "=", True)
        domain &= Domain("mailing_res_id", "=", link.mass_mailing_id.id)
        return bool(self.env["sendgrid.email"].sudo().search_count(domain, limit=1))

    @api.model
    def _settle_clicks(self, wanted):
        """Bring core's clicks of traces into the state that the documents tell: one for each click that counts.

        :param wanted: {`mailing.trace` record: list of the URLs that were followed}
        """
        traces = self.env["mailing.trace"].union(*wanted)
        codes = {code for urls in wanted.values() for url in urls if (code := read_code(url))}
        found = self.env["link.tracker.code"].sudo().search([("code", "in", list(codes))])
        links = {code.code: code.link_id for code in found}
        Click = self.env["link.tracker.click"].sudo()
        known = defaultdict(Click.browse)
        for click in Click.search([("mailing_trace_id", "in", traces.ids)], order="id"):
            known[click.mailing_trace_id.id, click.link_id.id] += click
        rows, surplus = [], Click
        for trace, urls in wanted.items():
            mailing = trace.mass_mailing_id
            # Another site can have the same path.
            followed = [links.get(read_code(url)) for url in urls]
            counts = Counter(link.id for link in followed if link and link.mass_mailing_id == mailing)
            for link_id in counts.keys() | {link_id for trace_id, link_id in known if trace_id == trace.id}:
                clicks = known[trace.id, link_id]
                surplus += clicks[counts[link_id] :]
                rows += [{"link_id": link_id, "mailing_trace_id": trace.id, "mass_mailing_id": mailing.id}] * (
                    counts[link_id] - len(clicks)
                )
        surplus.unlink()
        Click.create(rows)

    # ------------------------------------------------------------
    # NOT MEASURED
    # ------------------------------------------------------------

    @api.model
    def _find_targets(self, outbox, texts):
        """Return where core's short links lead, as {code: address as it was written, or None}.

        :param outbox: `tools.sending.outbox.Outbox`; what it knows is not looked up again
        :param texts: the texts whose links have to be known, HTML or plain; some may be empty
        """
        site = self.env["ir.http"]._get_sendgrid_site()
        codes = {code for text in texts if text for code in pixels.find_short_links(text, site)}
        if codes := codes - outbox.targets.keys():
            self.env["link.tracker"].flush_model(["url"])
            self.env["link.tracker.code"].flush_model(["code", "link_id"])
            rows = self.env.execute_query(
                SQL(
                    """SELECT code.code, link.url
                         FROM link_tracker_code code JOIN link_tracker link ON link.id = code.link_id
                        WHERE code.code = ANY(%s)""",
                    list(codes),
                )
            )
            outbox.targets |= {**dict.fromkeys(codes), **dict(rows)}
        return outbox.targets

    # ------------------------------------------------------------
    # RATES
    # ------------------------------------------------------------

    @api.model
    def _count_measured(self, mailings):
        """Return what the rates of opens and clicks refer to, for mailings with recipients who are not measured.

        :param mailings: `mailing.mailing` records
        :return: {mailing: (the recipients to whom core's rates refer, those of them of whom it is known)}. Who is not
            measured and answered is known to have had it, and core counts him as one who opened.
        """
        self.env.flush_all()
        rows = self.env.execute_query(
            SQL(
                """SELECT trace.mass_mailing_id, count(*),
                          count(*) FILTER (WHERE trace.trace_status NOT IN ('open', 'reply')
                                             AND unmeasured.message_id IS NOT NULL)
                     FROM mailing_trace trace
                LEFT JOIN (SELECT DISTINCT mailing_res_id, message_id FROM sendgrid_email
                            WHERE mailing_res_id = ANY(%(ids)s) AND measured = 'none') unmeasured
                       ON unmeasured.mailing_res_id = trace.mass_mailing_id
                      AND unmeasured.message_id = trace.message_id
                    WHERE trace.mass_mailing_id = ANY(%(ids)s)
                      AND trace.trace_status NOT IN ('bounce', 'cancel', 'error')
                 GROUP BY trace.mass_mailing_id""",
                ids=mailings.ids,
            )
        )
        return {
            mailings.browse(id_): (arrived, arrived - unmeasured) for id_, arrived, unmeasured in rows if unmeasured
        }

    # ------------------------------------------------------------
    # TRACES
    # ------------------------------------------------------------

    @api.model
    def _get_traces(self, emails):
        """Return {document: its `mailing.trace` records}.

        :param emails: `sendgrid.email` records
        """
        # Without the filter, a document without a Message-ID would get all traces that have none.
        names = list(filter(None, emails.mapped("message_id")))
        found = self.env["mailing.trace"].sudo().search([("message_id", "in", names)])
        by_message = found.grouped("message_id")
        traces = {}
        for email in emails:
            found = by_message.get(email.message_id, self.env["mailing.trace"])
            # Of several addresses of a contact core's trace names the first, and the others have no trace.
            if len(found) > 1 or not email.is_alone:
                found = found.filtered(lambda t, e=email: not t.email or comparable(t.email.strip()) == e.recipient)
            traces[email] = found
        return traces

    # ------------------------------------------------------------
    # RETRY
    # ------------------------------------------------------------

    @api.model
    def _retry(self, mailings):
        """Let core send again what was blocked or dropped for a cause that has passed: it writes to who has no trace.

        :param mailings: `mailing.mailing` records
        :return: the action that says how many are sent again and how many are not, and why; None if there is nothing
        """
        mailings.check_access("write")
        emails = (
            self.env["sendgrid.email"]
            .sudo()
            .search([("mailing_res_id", "in", mailings.ids), ("status", "in", FAILURES)])
        )
        traces = {
            email: failed
            for email, found in self._get_traces(emails).items()
            if (failed := found.filtered(lambda t: t.trace_status in ("error", "bounce")))
        }
        traces = self._leave_out_gone(traces)
        if not traces:
            return None
        present = self._get_present_addresses(traces)
        recipients = list(present.values())
        Address = self.env["sendgrid.address"].sudo()
        by_email = Address.search([("email", "in", recipients)]).grouped("email")
        held = Address._get_held(recipients, emails.account_id.ids)
        listed = self.env["mail.blacklist"].sudo().search([("email", "in", all_spellings(recipients))]).mapped("email")
        left = (email for mailing in mailings.sudo() for email in mailing._get_opt_out_list())
        unwanted = set(map(comparable, filter(None, [*listed, *left])))
        refused, again = Counter(), self.env["mailing.trace"]
        for email, failed in traces.items():
            recipient = present[email]
            obstacle = (
                "unwanted"
                if recipient in unwanted
                else self._get_obstacle(email, recipient, by_email.get(recipient, Address), held.get(recipient))
            )
            if obstacle:
                refused[obstacle] += 1
            else:
                again |= failed
        count = len(again)
        again.unlink()
        return self._tell_retry(count, refused)

    @api.model
    def _leave_out_gone(self, traces):
        """Return the documents to whose records their mailings still go. The traces of the others stay as they are.

        :param traces: {`sendgrid.email` record: its `mailing.trace` records}
        """
        there = {}
        for mailing, own in self.env["mailing.trace"].union(*traces.values()).grouped("mass_mailing_id").items():
            domain = mailing._get_recipients_domain() & Domain("id", "in", own.mapped("res_id"))
            there[mailing] = set(mailing.env[mailing.mailing_model_real].search(domain).ids)
        return {email: own for email, own in traces.items() if own[0].res_id in there[own[0].mass_mailing_id]}

    @api.model
    def _get_present_addresses(self, traces):
        """Return to which address each failed document would be sent again: somebody may have corrected it.

        :param traces: {`sendgrid.email` record: its `mailing.trace` records}
        :return: {document: comparable address}; its own if its record still has it, or none
        """
        own = {}
        for model, found in self.env["mailing.trace"].union(*traces.values()).grouped("model").items():
            records = self.env[model].sudo().browse(found.mapped("res_id"))
            if isinstance(records, self.env.registry["mail.thread.blacklist"]):
                own |= {(model, record.id): addresses for record, addresses in records._get_addresses().items()}
        present = {}
        for email, failed in traces.items():
            addresses = own.get((failed[0].model, failed[0].res_id))
            is_corrected = addresses and email.recipient not in addresses
            present[email] = addresses[0] if is_corrected else email.recipient
        return present

    @api.model
    def _get_obstacle(self, email, recipient, address, entry):
        """Return why a failed document is not sent again: a key of `_get_obstacles`, or None.

        :param email: `sendgrid.email` record
        :param recipient: the comparable address to which it would be sent now
        :param address: what is known of that address, a `sendgrid.address` record or none
        :param entry: the entry of SendGrid's lists for which it holds back what is sent there, or None
        """
        if address.is_bounced:
            return "bounced"
        if entry:
            return "held" if entry.list in ("bounces", "invalid_emails") else "unwanted"
        if recipient != email.recipient:
            return None
        failed = next((fact for fact in FAILED_FACTS if fact in (email.facts or {})), None)
        if failed in ("dropped_spam", "dropped_unsubscribed"):
            return "unwanted"
        # What bounced or was held back may leave again once somebody has cleared the address.
        return None if failed in PASSED_FACTS or address else "bounced"

    @api.model
    def _get_obstacles(self):
        return {
            "bounced": self.env._("%s: the address does not work. Correct it, or say in the contact that it is valid."),
            "held": self.env._("%s: SendGrid holds back what is sent there, until the address is cleared at SendGrid."),
            "unwanted": self.env._("%s: the recipient has unsubscribed or complained."),
        }

    @api.model
    def _tell_retry(self, count, refused):
        sentences = [
            self.env._("E-mails that could not be delivered are sent again: %s.", count)
            if count
            else self.env._("No e-mail that left is sent again.")
        ]
        if refused:
            sentences.append(self.env._("Not sent again:"))
            sentences += [words % refused[name] for name, words in self._get_obstacles().items() if refused[name]]
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "info" if count else "warning",
                "sticky": bool(refused),
                "message": " ".join(sentences),
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }
