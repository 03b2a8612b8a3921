"""Moments, as Odoo stores them and as SendGrid tells them."""

from datetime import datetime, timezone
from typing import Literal


def to_datetime(seconds: int | None) -> datetime | Literal[False]:
    """Return Unix seconds as Odoo stores them: naive, in UTC. None gives False, which is Odoo's word for nothing."""
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None) if seconds is not None else False


def to_seconds(moment: datetime | Literal[False]) -> int | None:
    """Return the Unix seconds of a moment as Odoo stores it. False gives None."""
    return int(moment.replace(tzinfo=timezone.utc).timestamp()) if moment else None
