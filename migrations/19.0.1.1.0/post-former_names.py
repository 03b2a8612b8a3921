"""Note until when events may be stored under the fingerprints that version 19.0.1.0.0 gave them."""


def migrate(cr, version):
    """An event of before the upgrade may be reported again, by a clock that is up to a day ahead of ours."""
    cr.execute(
        """
        INSERT INTO ir_config_parameter (key, value, create_uid, create_date, write_uid, write_date)
        VALUES ('sendgrid_tracking.former_names_until', EXTRACT(EPOCH FROM now() + interval '1 day')::bigint::text,
                1, now() AT TIME ZONE 'UTC', 1, now() AT TIME ZONE 'UTC')
        """
    )
