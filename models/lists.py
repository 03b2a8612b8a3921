"""Lists in the way of each language."""

from markupsafe import Markup, escape

from odoo.tools.i18n import format_list
from odoo.tools.misc import babel_locale_parse, get_lang

# What Babel needs to write a list of any length.
PATTERNS = {"2", "start", "middle", "end"}


def join_words(env, words):
    """Return a list of words, such as "a, b, c".

    Of Spanish and Dutch, Babel knows only parts of such lists, and core would raise. They get "a, b and c", as do the
    languages of which it knows nothing else.
    """
    known = babel_locale_parse(get_lang(env).code).list_patterns.get("unit", {})
    return format_list(env, words, "unit" if known.keys() >= PATTERNS else "standard")


def join_links(env, links):
    """Return a list of links, such as "Ada and Grace", as HTML. `format_list` alone would lose that they are HTML.

    :param links: list of `Markup`
    """
    return Markup(escape(format_list(env, ["%s"] * len(links)))) % tuple(links)
