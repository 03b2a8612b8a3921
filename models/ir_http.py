import re
from urllib.parse import urlsplit

from odoo import models
from odoo.http import _generate_routing_rules, request
from odoo.tools import config, ormcache

from ..tools.sending.links import NOTICE_PAGE, Site

# The parts of a route's address that are keys, by their names: token, access_token, invitation_token, …
KEY_ARGUMENT = re.compile(r"(?:\w*_)?(?:token|hash|signature|secret|password|access_key)")
ARGUMENT = re.compile(r"<(?:(?P<converter>\w+)(?:\([^)]*\))?:)?(?P<name>\w+)>")
LANGUAGE = r"(?:/[a-z]{2,3}(?:[_\-]\w+)?)?"


def get_browser_languages():
    """Return the codes of the languages that the browser asks for, the best one first."""
    return [code for code, quality in request.httprequest.accept_languages if quality]


class IrHttp(models.AbstractModel):
    """What is our own: `tools.sending.links` asks for it, to know which links are keys."""

    _inherit = "ir.http"

    @classmethod
    def _pre_dispatch(cls, rule, args):
        if request.httprequest.path.startswith(NOTICE_PAGE):
            # Core would look for the company's language: a token that is none shall cost no query.
            lang = request.env["sendgrid.notice"]._choose_language(get_browser_languages())
            request.update_context(lang=lang)
        return super()._pre_dispatch(rule, args)

    @ormcache(cache="default")
    def _get_sendgrid_site(self):
        """Return our hosts and the pages that are opened by a key in their address (`tools.sending.links.Site`).

        Writing a system parameter or a website empties the cache.
        """
        addresses = [self.env["ir.config_parameter"].sudo().get_param("web.base.url")]
        if "website" in self.env:
            addresses += self.env["website"].sudo().search([("domain", "!=", False)]).mapped("domain")
        routes, pages = self._get_sendgrid_routes()
        return Site(frozenset(filter(None, map(self._get_host, addresses))), routes, pages)

    @ormcache(cache="routing")
    def _get_sendgrid_routes(self):
        """Find the routes of the installed modules that have a key in their address.

        :return: ``routes`` and ``pages`` of a `tools.sending.links.Site`
        """
        patterns, plain = [], set()
        modules = sorted(self.pool._init_modules.union(config["server_wide_modules"]))
        for address, endpoint in _generate_routing_rules(modules, nodb_only=False):
            if endpoint.routing["type"] != "http":
                continue
            arguments = list(ARGUMENT.finditer(address))
            if not arguments:
                plain.add(address)
            elif keys := [argument for argument in arguments if KEY_ARGUMENT.fullmatch(argument["name"])]:
                patterns.append(self._get_route_pattern(address, arguments, keys[-1]))
        if not patterns:
            return None, frozenset()
        routes = re.compile(f"{LANGUAGE}(?:{'|'.join(sorted(set(patterns)))})/?$")
        return routes, frozenset(address for address in plain if routes.match(address))

    @staticmethod
    def _get_route_pattern(address, arguments, key):
        """Return the regular expression of a route, whose only group is the key.

        :param arguments: the matches of ARGUMENT in ``address``
        :param key: one of these
        """
        pieces, position = [], 0
        for argument in arguments:
            pieces.append(re.escape(address[position : argument.start()]))
            part = {"int": r"-?\d+", "path": r".+?"}.get(argument["converter"], "[^/]+")
            pieces.append(f"({part})" if argument is key else part)
            position = argument.end()
        return "".join(pieces) + re.escape(address[position:])

    @staticmethod
    def _get_host(address):
        """Return the host of an address, with or without its scheme; None if there is none."""
        address = (address or "").strip()
        try:
            return urlsplit(address if "//" in address else f"//{address}").hostname
        except ValueError:
            return None
