"""What SendGrid's wire looks like and means, in plain Python: no Odoo in here, no database."""
