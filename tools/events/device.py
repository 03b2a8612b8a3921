"""A user agent in words."""

from functools import lru_cache

import ua_parser


@lru_cache(maxsize=4096)
def describe(user_agent: str) -> str:
    """Return e.g. ``Outlook on Windows``, ``Chrome Mobile on Android``, or ``""`` when the user agent tells nothing."""
    if not user_agent:
        return ""
    if "GoogleImageProxy" in user_agent:
        return "Gmail"
    result = ua_parser.parse(user_agent)
    program = result.user_agent.family if result.user_agent else ""
    system = result.os.family if result.os else ""
    if program and system and system not in program:
        return f"{program} on {system}"
    return program or system
