"""Mails leave to a real SMTP server, however the mail server is set up."""

import datetime
import ipaddress
import socket
import ssl
import tempfile
from email import message_from_string, policy

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from odoo.tests import tagged
from odoo.tools import mute_logger

from .test_accepted import Relay, SmtpCase, refused


def create_certificate(folder):
    """Write a certificate for 127.0.0.1 that it has signed itself, with its key; return the path of the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = f"{folder}/certificate.pem"
    with open(path, "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    return path


class LoginRelay(Relay):
    """A relay that also notes with which name somebody logged in."""

    def __init__(self):
        super().__init__()
        self.logins = []

    def log_in(self, _server, _session, _envelope, _mechanism, data):
        from aiosmtpd.smtp import AuthResult  # noqa: PLC0415, it may be missing

        self.logins.append(data.login.decode())
        return AuthResult(success=data.password == b"SG.secret", handled=False)


@tagged("post_install", "-at_install")
class TestMailServers(SmtpCase):
    def listen(self, **options):
        """Start a server; return what it is asked for, and its port."""
        from aiosmtpd.controller import Controller  # noqa: PLC0415, it may be missing

        relay = LoginRelay()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        controller = Controller(relay, hostname="127.0.0.1", port=port, authenticator=relay.log_in, **options)
        controller.start()
        self.addCleanup(controller.stop)
        return relay, port

    def listen_encrypted(self):
        """Start a server that demands STARTTLS, and one that is encrypted from the beginning."""
        folder = self.enterContext(tempfile.TemporaryDirectory())
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(create_certificate(folder))
        return {
            "starttls": self.listen(tls_context=context, require_starttls=True),
            "ssl": self.listen(ssl_context=context, auth_require_tls=False),
        }

    @refused
    @mute_logger("mail.log")
    def test_encrypted(self):
        """Test that mails leave encrypted, with our name in them, and that documents say why a certificate was refused.

        Nobody but the server itself has signed its certificate.
        """
        for encryption, (relay, port) in self.listen_encrypted().items():
            self.server.write({"smtp_port": port, "smtp_user": "apikey", "smtp_pass": "SG.secret"})
            with self.subTest(encryption):
                self.server.smtp_encryption = encryption
                mail, email = self.send(auto_delete=False)
                self.assertEqual(mail.state, "sent")
                self.assertEmail(email, status="sent", partner_id=self.contact)
                [(recipients, data)] = relay.envelopes
                self.assertEqual(recipients, ["ada@example.org"])
                self.assertIn(email.odoo_id, data)
                self.assertEqual(relay.logins, ["apikey"])

            with self.subTest(encryption, strict=True):
                self.server.smtp_encryption = f"{encryption}_strict"
                mail, email = self.send(auto_delete=False)
                self.assertEqual((mail.state, len(relay.envelopes)), ("exception", 1))
                self.assertEmail(email, status="failed", sent_date=False, partner_id=self.contact)
                self.assertIn("certificate", email.status_reason.lower())

            with self.subTest(encryption, password="wrong"):
                self.server.write({"smtp_encryption": encryption, "smtp_pass": "SG.wrong"})
                mail, email = self.send(auto_delete=False)
                self.assertEqual((mail.state, len(relay.envelopes)), ("exception", 1))
                self.assertIn("535", email.status_reason)

    @refused
    def test_other_protocol(self):
        """Test that a mail has a document that says why, if the server speaks another protocol than was set."""
        for encryption in ("starttls", "starttls_strict", "ssl_strict"):
            with self.subTest(encryption):
                self.server.smtp_encryption = encryption
                mail, email = self.send(auto_delete=False)
                self.assertEqual((mail.state, self.smtp.envelopes), ("exception", []))
                self.assertEmail(email, status="failed", sent_date=False, partner_id=self.contact)
                self.assertTrue(email.status_reason)

    def test_sender_of_another_domain(self):
        """Test that a server that is for one domain sends others' mails in its name, and that documents say so."""
        domain = self.env["mail.alias.domain"].create(
            {"name": "odoo.example.com", "default_from": "notifications", "bounce_alias": "bounce-of-odoo"}
        )
        self.env.company.alias_domain_id = domain
        self.server.from_filter = "odoo.example.com"
        for email_from, shown in (
            ('"Sally" <sally@odoo.example.com>', ("Sally", "sally@odoo.example.com")),
            ('"Sally, Ö" <sally@elsewhere.example>', ("Sally, Ö", "notifications@odoo.example.com")),
        ):
            with self.subTest(email_from):
                self.smtp.envelopes = []
                mail = self.create_mail(
                    email_from=email_from, mail_server_id=False, record_alias_domain_id=domain.id, auto_delete=False
                )
                with self.leaving():
                    mail.send()
                self.env.invalidate_all()
                [(_recipients, data)] = self.smtp.envelopes
                [sender] = message_from_string(data, policy=policy.default)["From"].addresses
                self.assertEqual((sender.display_name, sender.addr_spec), shown)
                email = self.find_emails(mail.message_id)
                self.assertEmail(email, status="sent", email_from=shown[1], partner_id=self.contact)
                self.assertIn(email.odoo_id, data)

    def test_two_servers(self):
        """Test mails of one run to SendGrid and to another server: only the former know of the addon."""
        other, port = self.listen()
        self.other_server.write(
            {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_encryption": "none", "from_filter": "other.example"}
        )
        senders = ["sally@example.com", "sally@other.example"] * 2
        mails = self.env["mail.mail"].union(
            *(
                self.create_mail(email_from=sender, mail_server_id=False, subject=f"{number}", auto_delete=False)
                for number, sender in enumerate(senders)
            )
        )
        with self.leaving():
            mails.send()
        self.env.invalidate_all()
        self.assertEqual(mails.mapped("state"), ["sent"] * 4)
        self.assertEqual((len(self.smtp.envelopes), len(other.envelopes)), (2, 2))
        for _recipients, data in other.envelopes:
            self.assertNotIn("x-smtpapi", data.lower())
        emails = self.Email.search([("mail_id", "in", mails.ids)])
        self.assertEqual(sorted(emails.mapped("subject")), ["0", "2"])
        for email in emails:
            self.assertEqual(len([data for _to, data in self.smtp.envelopes if email.odoo_id in data]), 1)
