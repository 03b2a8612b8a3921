"""The vendor's description of the operations that we use, with corrections where SendGrid does otherwise.

`openapi/*.json` is cut out of the OpenAPI descriptions of twilio/sendgrid-oai (MIT, see openapi/README.md). Requests
and answers are checked against it, more strictly than it says: a property that it does not list is an error.
"""

import json
from functools import cache, cached_property
from pathlib import Path

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

FOLDER = Path(__file__).parent / "openapi"
_ACTIVITY = "/v3/messages/{msg_id}"
_SAMPLE = 50
"""The number of entries of an answer's list that are checked: one function makes all, and pages hold hundreds."""


def _amend(operations: dict) -> None:
    """Correct the description where SendGrid does otherwise. The brackets name the source."""

    def request(method: str, path: str) -> dict:
        return operations[method, path]["requestBody"]["content"]["application/json"]["schema"]

    def answer(path: str) -> dict:
        return operations["GET", path]["responses"]["200"]["content"]["application/json"]["schema"]

    # `custom_args` is an object; only its values are strings. [the samples and client libraries of the vendor]
    strings = {"type": "object", "additionalProperties": {"type": "string"}}
    mail = request("POST", "/v3/mail/send")["properties"]
    mail["custom_args"] = strings
    mail["personalizations"]["items"]["properties"]["custom_args"] = strings
    # In sandbox mode SendGrid answers 200. [Twilio docs: Sandbox Mode]
    operations["POST", "/v3/mail/send"]["responses"]["200"] = {}
    # The answer is `{}` if the address is not on the list. [its own prose]
    answer("/v3/asm/suppressions/global/{email}")["required"] = []
    # The list has pages. [github sendgrid/docs#5178, Jericho/StrongGrid#366]
    operations["GET", "/v3/asm/suppressions"]["parameters"] = operations["GET", "/v3/suppression/bounces"]["parameters"]
    # The `account_status_change` event is switched on here. [its own prose]
    for method, path in (("POST", ""), ("PATCH", "/{id}")):
        properties = request(method, f"/v3/user/webhooks/event/settings{path}")["properties"]
        properties["account_status_change"] = {"type": "boolean"}
    # The pattern forbids 5.1.10 and other codes with two digits, which occur.
    for event in answer("/v3/logs/{sg_message_id}")["properties"]["events"]["items"]["oneOf"]:
        event["properties"].get("status", {}).pop("pattern", None)
    # Only bounces have a bounce type, only opens and clicks a user agent, only messages of a group a group. [samples]
    activity = answer(_ACTIVITY)
    activity["required"] = [name for name in activity["required"] if name not in ("asm_group_id", "template_id")]
    event = activity["properties"]["events"]["items"]
    event["required"] = ["event_name", "processed"]
    # The pattern refuses most addresses of web pages.
    event["properties"]["url"].pop("pattern")


def _strict(schema: object) -> object:
    """Turn an OpenAPI schema into a JSON Schema: `nullable` becomes a type, unlisted properties an error."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _strict(value) for key, value in schema.items()}
    if schema.pop("nullable", None) is True:
        schema["type"] = [schema["type"], "null"]
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
    return schema


def _validator(body: dict) -> Draft202012Validator | None:
    """Return the validator of a requestBody or response object, or None if that object describes no JSON."""
    content = body.get("content")
    return Draft202012Validator(_strict(content["application/json"]["schema"])) if content else None


_ERRORS = {
    "type": "object",
    "required": ["errors"],
    "properties": {"errors": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["message"]}}},
}
"""The body of any answer with a status of 400 or more."""
_REFUSAL = Draft202012Validator(_ERRORS)


class Operation:
    """One operation of the description: a method and a path such as `/v3/suppression/bounces/{email}`."""

    def __init__(self, data: dict):
        self._data = data

    @cached_property
    def _body(self) -> Draft202012Validator | None:
        return _validator(self._data.get("requestBody", {}))

    def body_error(self, body: object) -> tuple[str, str] | None:
        """Return the faulty field (`personalizations.0.to`, or "") and the reason, or None if the JSON is right."""
        error = best_match(self._body.iter_errors(body)) if self._body else None
        return (".".join(str(part) for part in error.absolute_path), error.message) if error else None

    def query_error(self, query: dict[str, str]) -> tuple[str, str] | None:
        """Return the faulty parameter and the reason, or None. Parameters not in the description are ignored."""
        for parameter in self._data.get("parameters", []):
            name, schema = parameter["name"], parameter["schema"]
            if name not in query:
                if parameter.get("required"):
                    return name, f"{name} is required"
                continue
            value = query[name]
            if schema["type"] in ("integer", "number"):
                if not (value.isascii() and value.isdigit()):
                    return name, f"{name} must be a number"
                value = int(value)
            error = best_match(Draft202012Validator(schema).iter_errors(value))
            if error:
                return name, error.message
        return None

    @cached_property
    def _answers(self) -> dict[int, Draft202012Validator | None]:
        return {
            int(status): _validator(answer) for status, answer in self._data["responses"].items() if status.isdigit()
        }

    def answer_error(self, status: int, body: object) -> str | None:
        """Return how an answer deviates from the description, or None. `body` is None if the answer has none."""
        if status >= 400:
            validator = _REFUSAL
        elif status not in self._answers:
            return f"status {status} is not described"
        else:
            validator = self._answers[status]
        if validator is None:
            return None if body is None else "a body is not described"
        error = best_match(validator.iter_errors(body[:_SAMPLE] if isinstance(body, list) else body))
        return f"{error.json_path}: {error.message}" if error else None

    @property
    def answer_schema(self) -> dict:
        """The JSON Schema of the 200 answer."""
        return self._data["responses"]["200"]["content"]["application/json"]["schema"]


@cache
def operations() -> dict[tuple[str, str], Operation]:
    """Return all operations by method and path."""
    found = {}
    for file in sorted(FOLDER.glob("*.json")):
        for path, methods in json.loads(file.read_text())["paths"].items():
            for method, data in methods.items():
                found[method.upper(), path] = data
    _amend(found)
    return {key: Operation(data) for key, data in found.items()}
