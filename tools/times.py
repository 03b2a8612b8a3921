"""Moments, as Odoo stores them and as SendGrid tells them."""

from datetime import datetime, timedelta, timezone
from typing import Literal

EPOCH = datetime(1970, 1, 1)  # naive, in UTC


def to_datetime(seconds: int | None) -> datetime | Literal[False]:
    """Return Unix seconds as Odoo stores them: naive, in UTC. None gives False, which is Odoo's word for nothing."""
    return EPOCH + timedelta(seconds=seconds) if seconds is not None else False


def to_seconds(moment: datetime | Literal[False]) -> int | None:
    """Return the Unix seconds of a moment as Odoo stores it. False gives None."""
    return int(moment.replace(tzinfo=timezone.utc).timestamp()) if moment else None
