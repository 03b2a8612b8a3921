"""The erasure of what SendGrid keeps about recipients (Twilio docs: Recipients' Data Erasure)."""

import re
import uuid

from aiohttp import web

from sandbox.account import Erasure
from sandbox.site import SANDBOX
from sandbox.v3.refusal import Refusal

MOST_BYTES = 256 * 1000
"""The largest body of a call. The docs say "256Kb": this is the smaller of the two readings."""
_ADDRESS = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")

routes = web.RouteTableDef()


@routes.post("/v3/recipients/erasejob")
async def erase(request: web.Request) -> web.Response:
    """Take a job, and remember its addresses, each once. Invalid ones are named, and then nothing is erased."""
    if len(await request.read()) > MOST_BYTES:
        raise Refusal(400, {"message": "The payload is larger than 256Kb", "field": "email_addresses"})
    addresses = list(dict.fromkeys(request["body"]["email_addresses"]))
    invalid = [address for address in addresses if not (address.isascii() and _ADDRESS.fullmatch(address))]
    if invalid:
        words = ({"message": f"Email_address {one} is not valid", "field": "email_addresses"} for one in invalid)
        raise Refusal(400, *words)
    erasure = Erasure(str(uuid.uuid4()), addresses)
    request.app[SANDBOX].account.erasures.append(erasure)
    return web.json_response({"job_id": erasure.job_id}, status=202)
