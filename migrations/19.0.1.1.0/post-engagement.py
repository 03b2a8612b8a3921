"""Fill what documents newly say about opens and clicks, and let the rule on the first click ask for a person's.

From this version on, "cannot be told" is counted apart, and what came before the delivery of an e-mail that was refused
does not count. The verdicts of stored events tell both, so that no document is judged anew here.
"""

from odoo import SUPERUSER_ID, api
from odoo.tools import SQL

# What the released version has written into the rule "activity on the first click by a person".
SHIPPED_FILTER = '[("status", "=", "clicked"), ("partner_id", "!=", False)]'
FILTER_BEFORE = '[("person_click_date", "=", False)]'
FILTER = '[("person_click_date", "!=", False)]'


def migrate(cr, version):
    if not version:
        return
    refuse(cr)
    count(cr)
    change_rule(api.Environment(cr, SUPERUSER_ID, {}))


def refuse(cr):
    """Judge what opened and clicked an e-mail that was refused, before it was delivered if ever: a machine.

    Only what came shortly before or after the refusal is judged, because the report of a delivery may have been lost:
    who opened days before a late bounce is a reader. An event that has lost its details keeps its verdict.
    """
    cr.execute(
        """
        UPDATE sendgrid_event event
           SET verdict = 'machine', is_machine = TRUE, machine_reason = 'refused'
          FROM (SELECT email_id,
                       min(timestamp) FILTER (WHERE event = 'delivered') AS delivered,
                       max(timestamp) FILTER (WHERE event = 'dropped' OR event = 'bounce' AND match != 'own') AS last
                  FROM sendgrid_event
                 WHERE email_id IN (SELECT id FROM sendgrid_email WHERE status IN ('blocked', 'dropped', 'bounced'))
              GROUP BY email_id) refused
         WHERE event.email_id = refused.email_id AND event.event IN ('open', 'click')
           AND event.verdict IS DISTINCT FROM 'machine' AND event.is_final IS NOT TRUE
           AND event.timestamp BETWEEN refused.last - interval '1 hour' AND refused.last + interval '1 minute'
           AND (refused.delivered IS NULL OR event.timestamp < refused.delivered)
        """
    )


def count(cr):
    """Count the opens and clicks of each document by their verdicts."""
    cr.execute(
        """
        UPDATE sendgrid_email email
           SET open_count = told.opens, click_count = told.clicks,
               machine_open_count = told.machine_opens, machine_click_count = told.machine_clicks,
               unknown_open_count = told.unknown_opens, unknown_click_count = told.unknown_clicks,
               first_open_date = told.first_open, last_open_date = told.last_open,
               person_open_date = told.person_open, person_click_date = told.person_click
          FROM (SELECT email_id,
                       count(*) FILTER (WHERE is_open AND verdict != 'machine') AS opens,
                       count(*) FILTER (WHERE NOT is_open AND verdict != 'machine') AS clicks,
                       count(*) FILTER (WHERE is_open AND verdict = 'machine') AS machine_opens,
                       count(*) FILTER (WHERE NOT is_open AND verdict = 'machine') AS machine_clicks,
                       count(*) FILTER (WHERE is_open AND verdict = 'unknown') AS unknown_opens,
                       count(*) FILTER (WHERE NOT is_open AND verdict = 'unknown') AS unknown_clicks,
                       min(timestamp) FILTER (WHERE is_open AND verdict != 'machine') AS first_open,
                       max(timestamp) FILTER (WHERE is_open AND verdict != 'machine') AS last_open,
                       min(timestamp) FILTER (WHERE is_open AND verdict = 'human') AS person_open,
                       min(timestamp) FILTER (WHERE NOT is_open AND verdict = 'human') AS person_click
                  FROM (SELECT email_id, event = 'open' AS is_open, timestamp, COALESCE(verdict, 'unknown') AS verdict
                          FROM sendgrid_event WHERE event IN ('open', 'click') AND email_id IS NOT NULL) events
              GROUP BY email_id) told
         WHERE told.email_id = email.id
           AND (email.open_count, email.click_count, email.machine_open_count, email.machine_click_count,
                email.unknown_open_count, email.unknown_click_count, email.first_open_date, email.last_open_date,
                email.person_open_date, email.person_click_date)
               IS DISTINCT FROM
               (told.opens, told.clicks, told.machine_opens, told.machine_clicks, told.unknown_opens,
                told.unknown_clicks, told.first_open, told.last_open, told.person_open, told.person_click)
        """
    )
    cr.execute(
        """UPDATE sendgrid_email SET unknown_open_count = COALESCE(unknown_open_count, 0),
                  unknown_click_count = COALESCE(unknown_click_count, 0)
            WHERE unknown_open_count IS NULL OR unknown_click_count IS NULL"""
    )


def change_rule(env):
    """Let the shipped rule watch a person's first click, unless somebody has changed its filter."""
    rule = env.ref("sendgrid_tracking.base_automation_click", raise_if_not_found=False)
    watched = env.ref("sendgrid_tracking.field_sendgrid_email__status")
    if not rule or rule.filter_domain != SHIPPED_FILTER or rule.filter_pre_domain or rule.trigger_field_ids != watched:
        return
    # Write in SQL, so that the rule does not look as if somebody had edited it now.
    env.cr.execute(
        "UPDATE base_automation SET filter_pre_domain = %s, filter_domain = %s WHERE id = %s",
        [FILTER_BEFORE, FILTER, rule.id],
    )
    field = rule._fields["trigger_field_ids"]
    now_watched = env.ref("sendgrid_tracking.field_sendgrid_email__person_click_date")
    env.cr.execute(
        SQL(
            "UPDATE %s SET %s = %s WHERE %s = %s",
            SQL.identifier(field.relation),
            SQL.identifier(field.column2),
            now_watched.id,
            SQL.identifier(field.column1),
            rule.id,
        )
    )
    env.invalidate_all()
