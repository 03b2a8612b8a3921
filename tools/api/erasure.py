"""This module has SendGrid erase what it keeps about recipients (Twilio docs: Recipients' Data Erasure).

SendGrid says to delete names, addresses, subjects, categories and IP addresses. It does not say whether an erased
address leaves the lists of suppressions, and there is no call that tells what became of a job.
"""

import json
from collections.abc import Sequence

from .client import ApiError, Client

ERASE = ("recipients", "erasejob")
SCOPE = "recipients.erasejob.create"
MOST_ADDRESSES = 5000  # of one call
MOST_BYTES = 250_000  # of one call: SendGrid takes "256Kb"


def take(addresses: Sequence[str]) -> list[str]:
    """Return the first of some addresses, as many as one call may have, and at least one.

    :param addresses: at least one address
    """
    size, taken = len(json.dumps(_to_body([]))), []
    for address in addresses[:MOST_ADDRESSES]:
        size += len(json.dumps(address)) + 2  # a comma and a space
        if taken and size > MOST_BYTES:
            break
        taken.append(address)
    return taken


def erase(client: Client, addresses: Sequence[str]) -> str:
    """Have SendGrid erase what it keeps about some addresses. To ask twice does no harm.

    :param addresses: no more than `take` returns
    :return: SendGrid's id of its job
    :raise ApiError: as the client's calls; see `get_invalid` for `refused`
    """
    answer = client.call("post", ERASE, body=_to_body(addresses), repeatable=True).body
    job_id = answer.get("job_id") if isinstance(answer, dict) else None
    if not isinstance(job_id, str) or not job_id:
        raise ApiError("answer")
    return job_id


def get_invalid(error: ApiError, addresses: Sequence[str]) -> list[str]:
    """Return those of a call's addresses that SendGrid's refusal names as invalid.

    :param error: the refusal
    :param addresses: those of the call. If there is only one, it is the invalid one, whatever SendGrid says.
    """
    if error.kind != "refused" or error.status != 400:
        return []
    words = {
        word.strip("\"'<>,;:").lower()
        for one in error.errors
        if one["field"] == "email_addresses"
        for word in (one["message"] or "").split()
    }
    named = [address for address in addresses if address.lower() in words]
    return named or (list(addresses) if len(addresses) == 1 else [])


def _to_body(addresses: Sequence[str]) -> dict[str, list[str]]:
    return {"email_addresses": list(addresses)}
