"""Durations in words that can be translated."""


def describe_duration(env, seconds):
    """Return a duration in words of the language of ``env``, with two units at most, such as "1 h 5 min".

    :param int seconds: not negative
    """
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days > 1:
        return env._("%s days", days)
    if days:
        return env._("1 day")
    if hours and minutes % 60:
        return env._("%(hours)s h %(minutes)s min", hours=hours, minutes=minutes % 60)
    if hours:
        return env._("%s h", hours)
    if minutes:
        return env._("%s min", minutes)
    return env._("%s s", seconds)
