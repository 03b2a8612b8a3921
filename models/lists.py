"""Lists in the way of each language."""

import functools

from markupsafe import Markup, escape

from odoo.tools.i18n import format_list
from odoo.tools.misc import babel_locale_parse, get_lang


def join_words(env, words):
    """Return a list of words, such as "a, b, c".

    Of most languages Babel knows only lists that end with "and". These would say something else: in "declined on
    Monday, form Newsletter" the form is no second thing. So all words stand beside each other as in a list's middle.
    """
    pattern = babel_locale_parse(get_lang(env).code).list_patterns["standard"]["middle"]
    return functools.reduce(pattern.format, words) if words else ""


def join_links(env, links):
    """Return a list of links, such as "Ada and Grace", as HTML. `format_list` alone would lose that they are HTML.

    :param links: list of `Markup`
    """
    return Markup(escape(format_list(env, ["%s"] * len(links)))) % tuple(links)
