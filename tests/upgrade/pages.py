"""Read every page of the addon as users see it, by the calls that the web client makes.

It runs on the released code and on the present one, so it may use only what core has.
"""

import ast

from harness import OdooError
from lxml import etree

# Core's pages to which the addon adds something: {name: model}.
OTHERS = {"contact": "res.partner", "lead": "crm.lead", "mail": "mail.mail", "blacklist": "mail.blacklist"}
# The values of these fields differ at each look, or nobody reads them.
SKIPPED_TYPES = {"binary", "properties", "properties_definition"}
AT_MOST = 200


def look(administrator, user):
    """Open each page as a user.

    :param administrator: an `OdooClient` that may read the actions
    :param user: the `OdooClient` of the user
    :return: {page: {record id as text: {field: shown value}}}, or "AccessError" for a page that the user may not see
    """
    return {name: _try(user, action) for name, action in _get_actions(administrator).items()}


def look_at_chatter(user, model, record_id):
    """Return the messages of a record as its chatter gets them.

    :return: list of [body, list of the notifications' statuses]
    """
    params = {"thread_model": model, "thread_id": record_id, "fetch_params": {"limit": 30}}
    store = user.post("/mail/thread/messages", params)["data"]
    statuses = {one["id"]: one["notification_status"] for one in store.get("mail.notification", ())}
    return [
        [str(message["body"]), sorted(statuses[id_] for id_ in message["notification_ids"])]
        for message in store["mail.message"]
    ]


def _get_actions(administrator):
    data = administrator.find("ir.model.data", ("module", "=", "sendgrid_tracking"), fields=["model", "name", "res_id"])
    names = {one.res_id: one.name for one in data if one.model == "ir.actions.act_window"}
    fields = ["res_model", "views", "domain"]
    actions = {
        names[one.id]: one
        for one in administrator.find("ir.actions.act_window", ("id", "in", list(names)), fields=fields)
        if "active_id" not in (one.domain or "")  # such a list is opened from a record
    }
    for name, model in OTHERS.items():
        actions[name] = {"res_model": model, "views": [[False, "list"], [False, "form"]], "domain": "[]"}
    actions["settings"] = {"res_model": "res.config.settings", "views": [[False, "form"]], "domain": "[]"}
    return actions


def _try(user, action):
    try:
        return _open(user, action["res_model"], action["views"], ast.literal_eval(action["domain"] or "[]"))
    except OdooError as error:
        if error.name == "odoo.exceptions.AccessError":
            return "AccessError"
        raise


def _open(user, model, views, domain):
    """Return all records of a page as its list and its form show them; see `look`."""
    answer = user.call(model, "get_views", [*views, [False, "search"]], options={"toolbar": True})
    specs = {kind: _get_spec(answer, model, etree.fromstring(view["arch"])) for kind, view in answer["views"].items()}
    if "list" not in specs:  # This is a dialog. Take its default values.
        shown = user.call(model, "onchange", [], {}, [], specs["form"])
        return {"new": shown["value"]}
    rows = user.call(model, "web_search_read", domain, specs["list"], limit=AT_MOST, order="id")["records"]
    shown = {str(row.pop("id")): row for row in rows}
    if "form" in specs:
        for row in user.call(model, "web_read", [int(id_) for id_ in shown], specs["form"]):
            shown[str(row.pop("id"))].update(row)
    return shown


def _get_spec(answer, model, node):
    """Return the specification by which `web_read` reads the fields of a view, with those of the lists in it.

    :param answer: the answer of `get_views`
    :param model: the model of the view
    :param node: its XML
    """
    fields = answer["models"][model]["fields"]
    spec = {}
    for element in node.xpath(".//field[not(ancestor::field)]" if node.tag != "field" else "./*//field"):
        name = element.get("name")
        field = fields.get(name)
        if field is None or field["type"] in SKIPPED_TYPES:
            continue
        spec[name] = {}
        if field["type"] in ("many2one", "one2many", "many2many"):
            views = [view for view in element if view.tag in ("list", "kanban", "form")]
            inside = _get_spec(answer, field["relation"], etree.fromstring(etree.tostring(views[0]))) if views else {}
            spec[name] = {"fields": {"display_name": {}, **inside}}
    return spec
