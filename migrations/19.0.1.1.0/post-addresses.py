"""Move the facts about addresses from contacts, events and lists to `sendgrid.address`.

Columns that are gone still exist here: Odoo drops them at the end of the upgrade.
"""

from odoo import SUPERUSER_ID, api

# Odoo loads this file by its path, so that nothing can be imported relatively.
from odoo.addons.sendgrid_tracking.tools.events.refusal import refusal_cause  # noqa: TID251

# The version before kept only the names of an e-mail's facts. Their time is that of the last such event.
EVENTS = {
    "blocked": "bounce",
    "bounced": "bounce",
    "dropped": "dropped",
    "dropped_bounced": "dropped",
    "dropped_spam": "dropped",
    "dropped_unsubscribed": "dropped",
    "left_group": "group_unsubscribe",
    "returned_group": "group_resubscribe",
    "spam": "spamreport",
    "unsubscribed": "unsubscribe",
}
CHUNK = 10_000  # documents


def migrate(cr, version):
    """Fill the new table and columns."""
    _move_bounces(cr)
    _show_bounces(cr)
    _move_wishes(cr)
    _move_decisions(cr)
    _date_facts(cr)
    _rename_failed_facts(cr)
    # Contacts still have a field of this name, which is not stored any more, so that Odoo would not drop the column.
    cr.execute("ALTER TABLE res_partner DROP COLUMN IF EXISTS email_valid_date")


def _move_bounces(cr):
    """A flagged contact's bounce and a confirmation become those of the address."""
    cr.execute(
        """
        INSERT INTO sendgrid_address (email, bounce_date, bounce_reason, valid_date, create_date, write_date)
        SELECT DISTINCT ON (email_normalized) email_normalized,
               CASE WHEN email_bounced THEN COALESCE(email_bounce_date, write_date) END,
               CASE WHEN email_bounced THEN left(email_bounce_reason, 1000) END,
               max(email_valid_date) OVER (PARTITION BY email_normalized),
               now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
          FROM res_partner
         WHERE email_normalized IS NOT NULL AND (email_bounced OR email_valid_date IS NOT NULL)
      ORDER BY email_normalized, email_bounced DESC NULLS LAST, email_bounce_date DESC NULLS LAST
        """
    )
    # The version before did not compare dates: what it shows as bounced shall stay so.
    cr.execute("UPDATE sendgrid_address SET valid_date = NULL WHERE bounce_date <= valid_date")
    cr.execute("SELECT id, bounce_reason FROM sendgrid_address WHERE bounce_date IS NOT NULL")
    causes = {}
    for id_, reason in cr.fetchall():
        causes.setdefault(refusal_cause(reason=reason or "", bounce_type="bounce"), []).append(id_)
    for cause, ids in causes.items():
        cr.execute("UPDATE sendgrid_address SET bounce_cause = %s WHERE id = ANY(%s)", [cause, ids])


def _show_bounces(cr):
    """Write to all contacts whether one of their addresses bounced: the version before wrote it to some of them only.

    It left out archived contacts, and those that got the address after the bounce; and it kept the flag of a contact
    whose address was taken away. This is SQL, so that no user's rule takes a bounce of long ago for a new one.
    """
    cr.execute(
        """
        UPDATE res_partner partner
           SET email_bounced = told.bounced, email_bounce_date = told.date, email_bounce_reason = told.reason
          FROM (SELECT partner.id, address.id IS NOT NULL AS bounced, address.bounce_date AS date,
                       address.bounce_reason AS reason
                  FROM res_partner partner
             LEFT JOIN sendgrid_address address
                    ON address.email = partner.email_normalized AND address.bounce_date IS NOT NULL
                 WHERE address.id IS NOT NULL OR partner.email_bounced) told
         WHERE told.id = partner.id
           AND (partner.email_bounced, partner.email_bounce_date, partner.email_bounce_reason)
               IS DISTINCT FROM (told.bounced, told.date, told.reason)
        """
    )
    # That compared the first address of each contact. Few contacts have further ones.
    env = api.Environment(cr, SUPERUSER_ID, {})
    Partner = env["res.partner"]
    several = Partner._get_with_several_addresses()
    bounced = env["sendgrid.address"]._get_bounced(email for emails in several.values() for email in emails)
    ids = [id_ for id_, emails in several.items() if not bounced.keys().isdisjoint(emails)]
    for partner, values in Partner.browse(ids)._prepare_bounce_vals().items():
        cr.execute(
            """UPDATE res_partner SET email_bounced = TRUE, email_bounce_date = %s, email_bounce_reason = %s
                WHERE id = %s""",
            [values["email_bounce_date"], values["email_bounce_reason"] or None, partner.id],
        )
    env.invalidate_all()


def _move_wishes(cr):
    """Events and lists tell who has unsubscribed or complained, and from which groups he is out."""
    cr.execute(
        """
        INSERT INTO sendgrid_address AS known (email, wish_date, reminder_date, create_date, write_date)
        SELECT email, max(moment) FILTER (WHERE NOT is_reminder), max(moment) FILTER (WHERE is_reminder),
               now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
          FROM (SELECT email.recipient AS email, event.timestamp AS moment, event.event = 'dropped' AS is_reminder
                  FROM sendgrid_event event
                  JOIN sendgrid_email email ON email.id = event.email_id
                  JOIN sendgrid_account account ON account.id = event.account_id AND account.act_on_events
                 WHERE event.event IN ('spamreport', 'unsubscribe')
                    OR (event.event = 'dropped' AND COALESCE(event.asm_group_id, 0) = 0
                        AND (event.reason ILIKE 'spam reporting%' OR event.reason ILIKE 'unsubscribed%'))
             UNION ALL
                SELECT entry.email, entry.created, FALSE
                  FROM sendgrid_suppression entry
                  JOIN sendgrid_account account ON account.id = entry.account_id AND account.act_on_events
                 WHERE entry.list IN ('spam_reports', 'unsubscribes') AND entry.outcome != 'recorded'
                   AND entry.state != 'cleared') told
      GROUP BY email
        ON CONFLICT (email) DO UPDATE SET wish_date = EXCLUDED.wish_date, reminder_date = EXCLUDED.reminder_date
        """
    )
    cr.execute(
        """
        INSERT INTO sendgrid_address AS known (email, groups, create_date, write_date)
        SELECT email, jsonb_object_agg(name, word), now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
          FROM (SELECT DISTINCT ON (email, name) email, name, jsonb_build_array(moment, is_out) AS word
                  FROM (SELECT email.recipient AS email,
                               concat(event.account_id, '/', COALESCE(event.asm_group_id, 0)) AS name,
                               EXTRACT(EPOCH FROM event.timestamp)::bigint AS moment,
                               event.event != 'group_resubscribe' AS is_out
                          FROM sendgrid_event event
                          JOIN sendgrid_email email ON email.id = event.email_id
                          JOIN sendgrid_account account ON account.id = event.account_id AND account.act_on_events
                         WHERE event.event IN ('group_unsubscribe', 'group_resubscribe')
                            OR (event.event = 'dropped' AND event.asm_group_id != 0
                                AND event.reason ILIKE 'unsubscribed%')
                     UNION ALL
                        SELECT entry.email, concat(entry.account_id, '/', entry.group_id),
                               EXTRACT(EPOCH FROM COALESCE(entry.cleared_date, entry.created))::bigint,
                               entry.state != 'cleared'
                          FROM sendgrid_suppression entry
                          JOIN sendgrid_account account ON account.id = entry.account_id AND account.act_on_events
                         WHERE entry.list = 'groups' AND entry.outcome != 'recorded') told
              ORDER BY email, name, moment DESC, is_out DESC) last
      GROUP BY email
        ON CONFLICT (email) DO UPDATE SET groups = EXCLUDED.groups
        """
    )


def _move_decisions(cr):
    """An entry that is off the blacklist was taken off by somebody; some entries are there for a group only."""
    cr.execute(
        """
        INSERT INTO sendgrid_address AS known (email, wanted_date, wanted_uid, create_date, write_date)
        SELECT email, write_date, write_uid, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
          FROM mail_blacklist WHERE active IS NOT TRUE
        ON CONFLICT (email) DO UPDATE SET wanted_date = EXCLUDED.wanted_date, wanted_uid = EXCLUDED.wanted_uid
        """
    )
    # What the version before did for a group was not somebody's decision, although it took the entry off again.
    cr.execute(
        """
        UPDATE sendgrid_address SET wanted_date = NULL, wanted_uid = NULL
         WHERE wanted_uid = 1 AND groups IS NOT NULL AND wish_date IS NULL
        """
    )
    cr.execute(
        """
        UPDATE sendgrid_address address SET is_blacklisted_by_words = TRUE
         WHERE EXISTS (SELECT 1 FROM mail_blacklist entry WHERE entry.email = address.email AND entry.active)
           AND (EXISTS (SELECT 1 FROM sendgrid_email email
                         WHERE email.recipient = address.email AND email.is_blacklisted_by_group)
                OR EXISTS (SELECT 1 FROM sendgrid_suppression entry
                            WHERE entry.email = address.email AND entry.list = 'groups'
                              AND entry.outcome = 'blacklisted'))
        """
    )


def _date_facts(cr):
    """Turn each document's list of facts into their times by name; see `tools.events.fold.State.told`."""
    cr.execute("SELECT COALESCE(max(id), 0) FROM sendgrid_email")
    [last] = cr.fetchone()
    for first in range(0, last + 1, CHUNK):
        cr.execute(
            """
            UPDATE sendgrid_email email
               SET facts = dated.facts
              FROM (SELECT email.id, jsonb_object_agg(fact.name, COALESCE(moment.seconds, 0)) AS facts
                      FROM sendgrid_email email
                CROSS JOIN LATERAL jsonb_array_elements_text(email.facts) AS fact (name)
                 LEFT JOIN unnest(%s, %s) AS kind (fact, event) ON kind.fact = fact.name
         LEFT JOIN LATERAL (SELECT EXTRACT(EPOCH FROM max(event.timestamp))::bigint AS seconds
                              FROM sendgrid_event event
                             WHERE event.email_id = email.id AND event.event = kind.event) moment ON TRUE
                     WHERE email.id > %s AND email.id <= %s AND jsonb_typeof(email.facts) = 'array'
                  GROUP BY email.id) dated
             WHERE dated.id = email.id
            """,
            [list(EVENTS), list(EVENTS.values()), first, first + CHUNK],
        )
    cr.execute("UPDATE sendgrid_email SET facts = NULL WHERE jsonb_typeof(facts) = 'array'")


def _rename_failed_facts(cr):
    """Failed consequences are noted by their names now. Which of a fact's consequences failed was not noted."""
    cr.execute(
        """
        UPDATE sendgrid_email
           SET failed_consequences = CASE WHEN failed_facts @> '["bounced"]' THEN
                                         '["address", "count", "mailing", "notification"]'::jsonb
                                     ELSE '["address", "mailing", "notification"]'::jsonb END
         WHERE jsonb_array_length(failed_facts) > 0
        """
    )
