from functools import lru_cache

from odoo import api, fields, models
from odoo.tools import SQL
from odoo.tools._vendor.useragents import UserAgentParser

from ..tools.events.engagement import JUDGED
from ..tools.events.engagement_rules import agent
from ..tools.networks import holds, read_address, read_site

# Core's device log has one row an hour for each session, address and program, so that somebody who works in Odoo has
# one at most an hour ago. The second hour is for whoever reads a quoted e-mail after or before.
LOGGED_IN_WITHIN = 2 * 3600
_parse_agent = UserAgentParser()


@lru_cache(maxsize=4096)
def identify_program(user_agent):
    """Return platform and browser of a user agent as core's device log names them, None where it tells none.

    :param str user_agent: any text of at most `engagement_rules.MAX_AGENT` letters
    """
    platform, browser, _version, _language = _parse_agent(user_agent)
    return platform, browser


class SendgridEvent(models.Model):
    """Opens, clicks and unsubscriptions by colleagues: who reads a customer's answer sees the quoted e-mail with it.

    A colleague is known by core's device log or by the networks that a company lists as its own.
    """

    _inherit = "sendgrid.event"

    is_colleague = fields.Boolean(
        string="By a Colleague",
        readonly=True,
        help="It came from a network of the company, or from an address and program with which one of your users was "
        "logged in within two hours. This was decided when the event came in, and stays. It counts as nobody's.",
    )

    @api.model
    def _note_colleagues(self, received):
        """Note on events (``is_colleague``) which of them are colleagues'.

        It stays None where the address is no colleague's network and the program is not told: another report of the
        same event may tell it. It takes two queries, however many events there are.

        :param received: list of (`sendgrid.event.batch` record, `tools.events.event.Event`)
        """
        told = [
            (batch, event) for batch, event in received if event.event in JUDGED and event.ip and read_address(event.ip)
        ]
        if not told:
            return
        networks = self._get_own_networks({batch.account_id for batch, _event in told})
        suspects = []
        for batch, event in told:
            event.is_colleague = holds(networks[batch.account_id], event.ip) or None
            if event.is_colleague or not (program := agent(event)):
                continue
            event.is_colleague = False
            # A program that names none is no evidence: any script is such.
            if identify_program(program)[1]:
                suspects.append(event)
        if not suspects:
            return
        moments = self._get_logged_in(suspects)
        for event in suspects if moments else ():
            near = moments.get((read_site(event.ip), *identify_program(agent(event))), ())
            event.is_colleague = any(
                first - LOGGED_IN_WITHIN <= event.timestamp <= first + LOGGED_IN_WITHIN
                or last - LOGGED_IN_WITHIN <= event.timestamp <= last + LOGGED_IN_WITHIN
                for first, last in near
            )

    @api.model
    def _get_own_networks(self, accounts):
        """Return {account: list of the networks of its company}. An account of all companies has those of all."""
        companies = (
            self.env["res.company"].sudo().search_fetch([("sendgrid_networks", "!=", False)], ["sendgrid_networks"])
        )
        networks = {company: company._get_sendgrid_networks() for company in companies}
        return {
            account: [
                network
                for company, listed in networks.items()
                if not account.company_id or account.company_id == company
                for network in listed
            ]
            for account in accounts
        }

    @api.model
    def _get_logged_in(self, events):
        """Return when internal users were logged in at the sites and at about the time of some events.

        The device log has the address that core was told. Behind a proxy this is the user's own only if Odoo runs with
        ``proxy_mode``; else the log has the proxy's, which is no event's.

        :param events: list of `tools.events.event.Event` with an ``ip``
        :return: {(site, platform, browser): list of (first, last) moment of activity as Unix seconds}
        """
        times = [event.timestamp for event in events]
        addresses = {read_address(event.ip) for event in events}
        texts = {str(address) for address in addresses if address.version == 4}
        # A server that listens on IPv6 is told addresses of IPv4 in this form.
        texts |= {f"::ffff:{text}" for text in texts}
        rows = self.env.execute_query(
            SQL(
                """SELECT DISTINCT log.ip_address, log.platform, log.browser,
                          EXTRACT(EPOCH FROM log.first_activity)::bigint, EXTRACT(EPOCH FROM log.last_activity)::bigint
                     FROM res_device_log log
                     JOIN res_users AS users ON users.id = log.user_id AND NOT users.share
                    WHERE log.last_activity >= to_timestamp(%(since)s) AT TIME ZONE 'UTC'
                      AND log.first_activity <= to_timestamp(%(until)s) AT TIME ZONE 'UTC'
                      AND (log.ip_address = ANY(%(texts)s) %(or_ipv6)s)""",
                since=min(times) - LOGGED_IN_WITHIN,
                until=max(times) + LOGGED_IN_WITHIN,
                texts=list(texts),
                or_ipv6=SQL("OR log.ip_address LIKE '%%:%%'") if any(a.version == 6 for a in addresses) else SQL(),
            )
        )
        moments = {}
        for ip, platform, browser, first, last in rows:
            if site := read_site(ip):
                moments.setdefault((site, platform, browser), []).append((first, last))
        return moments
