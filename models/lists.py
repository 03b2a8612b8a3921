"""Lists of links in the way of each language."""

from markupsafe import Markup, escape

from odoo.tools.i18n import format_list


def join_links(env, links):
    """Return a list of links, such as "Ada and Grace", as HTML. `format_list` alone would lose that they are HTML.

    :param links: list of `Markup`
    """
    return Markup(escape(format_list(env, ["%s"] * len(links)))) % tuple(links)
