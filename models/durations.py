"""Durations and times in words that can be translated."""

import babel.dates

from odoo import fields
from odoo.tools.misc import babel_locale_parse, get_lang

# Core's web client writes Arabic digits in these languages (`NUMBERING_SYSTEMS` of its localization service), and Babel
# does not.
ARABIC = ("ar_001", "ar_SA", "ar_SY")
ARABIC_SIGNS = str.maketrans("0123456789,", "٠١٢٣٤٥٦٧٨٩،")


def describe_day(env, date):
    """Return a day without its year in the language of the user, such as "Mar 2" or "2. März".

    :param date: `date` or `datetime`
    """
    code = get_lang(env).code
    return _with_signs(code, babel.dates.format_skeleton("MMMd", date, locale=babel_locale_parse(code)))


def describe_time(env, date):
    """Return a time as pages show it, such as "Mar 2, 9:00 AM", in the time zone and language of the user.

    The year is left out if it is the present one. Pages format times by themselves in the same way, see
    ``static/src/exact_time``.

    :param date: naive `datetime` in UTC
    """
    local, now = (fields.Datetime.context_timestamp(env.user, moment) for moment in (date, env.cr.now()))
    return _describe(env, local, "MMMd" if local.year == now.year else "yMMMd")


def describe_utc(env, date):
    """Return a time for a text that stays, such as "Mar 2, 2026, 9:00 AM": its readers are in any zone and year.

    The sentence around it says that it is UTC.

    :param date: naive `datetime` in UTC
    """
    return _describe(env, date, "yMMMd")


def _describe(env, date, skeleton):
    code = get_lang(env).code
    locale = babel_locale_parse(code)
    day = babel.dates.format_skeleton(skeleton, date, locale=locale)
    time = babel.dates.format_time(date, "short", locale=locale)
    # Browsers write an ordinary space before AM and PM too.
    return _with_signs(code, f"{day}, {time}".replace("\u202f", " "))


def _with_signs(code, text):
    return text.translate(ARABIC_SIGNS) if code in ARABIC else text


def describe_duration(env, seconds):
    """Return a duration in words of the language of ``env``, with two units at most, such as "1 h 5 min".

    :param int seconds: not negative
    """
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return env._("%s d", days)
    if hours and minutes % 60:
        return env._("%(hours)s h %(minutes)s min", hours=hours, minutes=minutes % 60)
    if hours:
        return env._("%s h", hours)
    if minutes:
        return env._("%s min", minutes)
    return env._("%s s", seconds)
