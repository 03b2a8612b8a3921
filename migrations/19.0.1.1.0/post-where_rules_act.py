"""Let the activities of the ready-made rules stand on the record that the e-mail is about, unless somebody edited them.

Core does not update these records (`noupdate`). It runs after the other scripts that change the same rules.
"""

from odoo import SUPERUSER_ID, api

# The code as it was shipped, after `post-visibility` has corrected its words.
BOUNCE_BEFORE = """
model_id, type_id = env.ref("base.model_res_partner").id, env.ref("mail.mail_activity_data_todo").id
env["mail.activity"].with_context(mail_activity_quick_update=True).create(
    [
        {
            "res_model_id": model_id,
            "res_id": partner.id,
            "activity_type_id": type_id,
            "automated": True,
            "summary": "Find another e-mail address",
            "note": partner.email_bounce_reason,
            "user_id": (partner.user_id or partner.commercial_partner_id.user_id or partner.create_uid).id,
        }
        for partner in records
    ]
)
"""
BOUNCE = """
env["sendgrid.email"]._schedule_bounce_follow_up(
    records, "mail.mail_activity_data_todo", "Find another e-mail address"
)
"""
CLICK_BEFORE = """
model_id, type_id = env.ref("base.model_res_partner").id, env.ref("mail.mail_activity_data_call").id
env["mail.activity"].with_context(mail_activity_quick_update=True).create(
    [
        {
            "res_model_id": model_id,
            "res_id": email.partner_id.id,
            "activity_type_id": type_id,
            "automated": True,
            "summary": "Clicked a link in an e-mail",
            "user_id": (email.partner_id.user_id or email.author_id.user_ids[:1] or email.partner_id.create_uid).id,
        }
        for email in records
    ]
)
"""
CLICK = """
records._schedule_follow_up("mail.mail_activity_data_call", "Clicked a link in an e-mail")
"""
# `post-engagement` lets the rule on clicks also run for e-mails without a contact. The code of before, and what
# somebody made of it, has no place for an activity then.
CLICK_FILTER = '[("person_click_date", "!=", False)]'
CLICK_FILTER_WITH_CONTACT = '[("person_click_date", "!=", False), ("partner_id", "!=", False)]'


def migrate(cr, version):
    if not version:
        return
    env = api.Environment(cr, SUPERUSER_ID, {})
    replace_code(env, "ir_actions_server_bounce", BOUNCE_BEFORE, BOUNCE)
    if not replace_code(env, "ir_actions_server_click", CLICK_BEFORE, CLICK):
        cr.execute(
            """UPDATE base_automation SET filter_domain = %s WHERE filter_domain = %s AND id = (
                   SELECT res_id FROM ir_model_data
                    WHERE module = 'sendgrid_tracking' AND name = 'base_automation_click')""",
            [CLICK_FILTER_WITH_CONTACT, CLICK_FILTER],
        )


def replace_code(env, name, before, after):
    """Replace a shipped action's code if it is as it was shipped; tell whether it is as it is shipped now.

    It is written in SQL, so that the action does not look as if somebody had edited it now.
    """
    action = env.ref(f"sendgrid_tracking.{name}", raise_if_not_found=False)
    if not action or action.state != "code" or (action.code or "").strip() not in (before.strip(), after.strip()):
        return False
    code = action.code.replace(before.strip(), after.strip())
    env.cr.execute("UPDATE ir_act_server SET code = %s WHERE id = %s", [code, action.id])
    action.invalidate_recordset(["code"])
    return True
