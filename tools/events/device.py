"""This module finds the program and the operating system that a user agent names."""

from functools import lru_cache
from typing import NamedTuple

import ua_parser


class Device(NamedTuple):
    """Proper names such as ``Outlook`` and ``Windows``, ``""`` where the user agent does not tell one."""

    program: str
    system: str


@lru_cache(maxsize=4096)
def identify(user_agent: str) -> Device:
    """Return the program and the system, without the system where the program's name says it (``Chrome Mobile iOS``).

    :param user_agent: any text; Google's image proxy is told as ``Gmail``, since it hides the recipient's program
    """
    if not user_agent:
        return Device("", "")
    if "GoogleImageProxy" in user_agent:
        return Device("Gmail", "")
    result = ua_parser.parse(user_agent)
    program = result.user_agent.family if result.user_agent else ""
    system = result.os.family if result.os else ""
    return Device(program, "" if system in program else system)
