"""The language of what Odoo writes by itself and what stays: notes in chatters, the words of an error."""

import functools


def in_company_language(method):
    """Have a method write in the language of the present company, which its people read.

    Otherwise a scheduled action or the mail gateway would write in English. Their company is that of the user who runs
    them: for scheduled actions OdooBot's, which is the first company of the database.
    """

    @functools.wraps(method)
    def in_its_language(self, *args, **kwargs):
        lang = self.env.company.sudo().partner_id.lang
        # An archived contact of the company may keep a language that was switched off since. Odoo would raise.
        is_active = lang and self.env["res.lang"]._get_data(code=lang)
        return method(self.with_context(lang=lang if is_active else None), *args, **kwargs)

    return in_its_language
