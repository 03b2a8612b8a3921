from odoo import models


class CalendarAttendee(models.Model):
    """An invitation is tracked as its template says. Core renders the template here without sending it."""

    _inherit = "calendar.attendee"

    def _notify_attendees(self, mail_template, *args, **kwargs):
        if mail_template and not mail_template.sendgrid_is_tracked:
            self = self.with_context(sendgrid_is_switched_off=True)
        return super()._notify_attendees(mail_template, *args, **kwargs)
