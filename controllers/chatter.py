from odoo.http import request

from odoo.addons.mail.controllers.webclient import WebclientController
from odoo.addons.mail.tools.discuss import Store

# A page shows some hundreds of messages. Of more, the newest are answered.
AT_ONCE = 1000
LARGEST = 2**31 - 1  # what PostgreSQL takes as an id


class ChatterController(WebclientController):
    """What open chatters ask for again after documents changed, through core's own route for data (`/mail/data`)."""

    @classmethod
    def _process_request_for_internal_user(cls, store, name, params):
        result = super()._process_request_for_internal_user(store, name, params)
        if name == "sendgrid_states":
            wanted = params.get("message_ids") if isinstance(params, dict) else None
            ids = {id_ for id_ in wanted if isinstance(id_, int)} if isinstance(wanted, list) else ()
            ids = sorted(id_ for id_ in ids if 0 < id_ <= LARGEST)[-AT_ONCE:]
            messages = request.env["mail.message"].browse(ids).exists()._filtered_access("read")
            # sudo: mail.notification - internal users can access notifications of messages that they may read
            store.add(
                messages,
                [Store.Many("notification_ids", value=lambda m: m.sudo().notification_ids._filtered_for_web_client())],
            )
            # A page keeps what it is not told anew: a document may be gone, or not the user's to see any more.
            for values in store.data.get("mail.notification", {}).values():
                values.setdefault("sendgridState", False)
        return result
