from odoo.tests import BaseCase, tagged

from ..tools.events.event import Event
from ..tools.events.refusal import (
    CAUSES,
    bounce_fact,
    bounce_status,
    drop_cause,
    drop_fact,
    generalize,
    is_for_administrators,
    is_recipients_rule,
    refusal_cause,
    refusal_class,
    sender_fault,
    told_cause,
)

# What servers answer: (cause, status, reason). The type is "bounce", and SendGrid does not classify.
REPLIES = [
    # Gmail
    (
        "address",
        "5.1.1",
        "550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n550-5.1.1 double-checking "
        "the recipient's email address for typos or\r\n550 5.1.1 unnecessary spaces. - gsmtp",
    ),
    (
        "address",
        "",
        "550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n550 5.1.1 double-checking",
    ),
    ("address", "5.2.1", "550 5.2.1 The email account that you tried to reach is disabled. - gsmtp"),
    (
        "temporary",
        "5.2.1",
        "550-5.2.1 The user you are trying to contact is receiving mail at a rate that\r\n550-5.2.1 prevents "
        "additional messages from being delivered. p=ReceivingRatePerm - gsmtp",
    ),
    (
        "temporary",
        "5.2.1",
        "550-5.2.1 The user you are trying to contact is receiving\r\n550 5.2.1 mail at a rate - gsmtp",
    ),
    ("temporary", "4.2.1", "450 4.2.1 The user you are trying to contact is receiving mail too quickly. - gsmtp"),
    ("mailbox", "4.2.2", "452 4.2.2 The account that you tried to reach is over quota"),
    ("mailbox", "5.2.2", "552-5.2.2 The email account that you tried to reach is over quota and inactive. - gsmtp"),
    (
        "mailbox",
        "",
        "452-4.2.2 The recipient's inbox is out of storage space. Please direct the\r\n452 4.2.2 recipient to",
    ),
    (
        "sender",
        "4.7.26",
        "451 4.7.26 Unauthenticated email from example.com is not accepted due to the domain's DMARC policy",
    ),
    ("sender", "5.7.26", "550-5.7.26 This mail has been blocked because the sender is unauthenticated. - gsmtp"),
    (
        "sender",
        "5.7.1",
        "550-5.7.1 [192.0.2.1      12] Our system has detected that this message is likely unsolicited mail.",
    ),
    ("sender", "4.7.28", "421-4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP"),
    ("sender", "5.7.1", "550 5.7.1 This message violates example.com email policy. - gcdp - gsmtp"),
    ("sender", "5.7.0", "552-5.7.0 This message was blocked because its content presents a potential security issue."),
    ("message", "5.3.4", "552 5.3.4 Your message exceeded Google's message size limits. - gsmtp"),
    ("temporary", "4.3.0", "421 4.3.0 Temporary System Problem.  Try again later (10). - gsmtp"),
    # Exchange Online and Exchange
    ("address", "5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"),
    ("address", "", "smtp; 550 5.1.1 RESOLVER.ADR.ExRecipNotFound; not found"),
    (
        "address",
        "5.4.1",
        "550 5.4.1 Recipient address rejected: Access denied. [HE1EUR04FT033.eop-eur04.prod.outlook.com]",
    ),
    ("address", "", "550.5.4.1 [ben@example.org]: Recipient address rejected: Access denied."),
    ("unknown", "5.4.1", "550 5.4.1 Relay Access Denied"),
    ("address", "5.4.4", "550 5.4.4 Unable to route: invalid arguments"),
    ("address", "5.4.310", "550 5.4.310 DNS domain example.invalid does not exist"),
    ("temporary", "5.4.300", "550 5.4.300 Message expired -> 451 4.4.0 Primary target IP address responded with"),
    ("temporary", "5.4.14", "554 5.4.14 Hop count exceeded - possible mail loop ATTR34"),
    ("address", "5.5.0", "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302)."),
    ("address", "5.7.13", "525 5.7.13 User account disabled"),
    ("sender", "5.7.13", "550 5.7.13 RESOLVER.RST.SenderNotAuthenticatedForPublicFolder; authentication required"),
    ("address", "5.7.17", "550 5.7.17 The mailbox owner has changed"),
    ("address", "5.7.18", "550 5.7.18 Domain owner has changed"),
    ("address", "5.7.504", "550 5.7.504 [ben@example.org]: Recipient address rejected: Access denied"),
    ("sender", "5.7.509", "550 5.7.509 Access denied, sending domain example.com does not pass DMARC verification"),
    ("sender", "5.7.124", "550 5.7.124 Sender not in allowed-senders list"),
    ("sender", "5.7.133", "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required"),
    ("sender", "5.7.606", "550 5.7.606 Access denied, banned sending IP [192.0.2.1]"),
    ("sender", "5.7.1", "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. block list (S3150)"),
    ("sender", "5.2.2", "554 5.2.2 mailbox full; Submission quota exceeded"),
    ("sender", "5.1.8", "550 5.1.8 Access denied, bad outbound sender"),
    ("mailbox", "5.2.2", "554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException"),
    (
        "temporary",
        "5.2.122",
        "550 5.2.122 The recipient has exceeded their limit for the number of messages they can receive",
    ),
    ("message", "5.6.11", "550 5.6.11 Invalid characters"),
    ("message", "5.2.3", "550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient"),
    # Yahoo and AOL
    ("address", "", "554 delivery error: dd This user doesn't have a yahoo.com account (ben@yahoo.com) [0]"),
    ("address", "", "554 delivery error: dd Sorry, this account has been disabled or discontinued [#102]."),
    ("address", "", "552 1 Requested mail action aborted, mailbox not found"),
    (
        "sender",
        "",
        "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list",
    ),
    ("sender", "4.7.0", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume"),
    ("temporary", "", "451 Resources temporarily unavailable. Please try again later [#4.16.1]."),
    # Postfix, Exim, Sendmail, qmail
    (
        "address",
        "5.1.1",
        "550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown in virtual mailbox table",
    ),
    ("address", "550", "550 <nobody@example.org>: Recipient address rejected: User unknown in local recipient table"),
    ("address", "550", "550 Invalid recipient <ben@example.org> (#5.1.1)"),
    ("address", "550", "550 sorry, no mailbox here by that name [5.1.1]"),
    ("address", "", "550 No Such User Here"),
    ("address", "", "550 Unrouteable address"),
    ("address", "553", "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.1.2)"),
    ("sender", "4.1.8", "450 4.1.8 <odoo@example.com>: Sender address rejected: Domain not found"),
    ("sender", "", "550 Sender verify failed"),
    ("sender", "", "550 <odoo@example.com>: Sender address rejected: Domain example.com does not exist"),
    ("sender", "", "554 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"),
    (
        "temporary",
        "450",
        "450 <ben@example.org>: Recipient address rejected: Greylisted, see http://postgrey.example.org",
    ),
    ("temporary", "4.1.1", "450 4.1.1 <ben@example.org>: Recipient address rejected: unverified address"),
    ("temporary", "450", "450 User unknown"),
    ("temporary", "", "421 Too many connections, try later"),
    ("mailbox", "552", "552 Requested mail action aborted: exceeded storage allocation"),
    ("mailbox", "", "550 Mailbox is full / Blocks limit exceeded / Inode limit exceeded"),
    ("mailbox", "5.0.0", "552 5.2.2 mailbox over quota"),
    ("message", "", "552 Message size exceeds fixed maximum message size"),
    ("message", "", "554 Message rejected: file extension .exe is not allowed"),
    ("unknown", "550", "550 Denied by the administrator's mood"),
    ("unknown", "5.0.0", "554 5.0.0 Transaction failed"),
    ("unknown", "", ""),
    # These speak of the sender, in words that are otherwise said of the address.
    (
        "sender",
        "550",
        "550-Verification failed for <bounces+1@em.example.com>\r\n550-No Such User Here\r\n550 Sender verify failed",
    ),
    ("sender", "", "550-Verification failed for <bounces+1@em.example.com>\r\n550 No Such User Here"),
    (
        "sender",
        "550",
        "550-Requested action not taken: mailbox unavailable\r\n550 invalid DNS MX or A/AAAA resource record",
    ),
    ("sender", "", "550 Too many invalid recipients"),
    ("sender", "", "550 Too many bad users from your network"),
    ("sender", "", "550 Rejected: too many unknown users from 149.72.1.2"),
    ("sender", "", "550 High rate of non-existent mailboxes"),
    ("sender", "", "554 IP 149.72.1.2 rejected: too many connections to unknown users"),
    ("sender", "", "550 Sender's account is disabled"),
    ("sender", "", "550 your account has been suspended for spamming"),
    ("sender", "", "550 Your domain em.example.com does not exist, no such user"),
    ("sender", "", "550 Your IP 149.72.1.2 has been banned, unknown user"),
    ("sender", "", "550 invalid recipient because sender has been blocked"),
    ("sender", "", "550 spf check failed, user not found"),
    ("sender", "", "550 DKIM hardfail: unknown user"),
    ("sender", "", "554 Client host [149.72.1.2] blocked; user not found in allow list"),
    ("sender", "553", "553 sorry, your domain is in my badmailfrom list"),
    ("sender", "", "553 no such user: you are in badmailfrom"),
    ("sender", "", "550 Absenderadresse unbekannt"),
    ("sender", "", "550 Adresse de l'expéditeur inconnue"),
    # These speak of the address, in words that are otherwise said of the sender.
    ("address", "", "550 Check your domain. The user is disabled"),
    ("address", "", "550 Your message was not delivered: this account is disabled"),
    ("address", "", "550-Callout verification failed:\r\n550 No such user here"),
    ("address", "", "550 The sender is told that the user does not exist"),
    ("address", "", "550 Nachricht an den Absender: Empfänger unbekannt"),
    ("mailbox", "5.2.0", "550 5.2.0 STOREDRV.Deliver.Exception:QuotaExceededException"),
    ("mailbox", "", "550 STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded"),
    # Filters: Proofpoint, Mimecast, Barracuda, Cisco
    ("sender", "", "554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1"),
    ("address", "5.1.1", "550 5.1.1 <ben@example.org>: Recipient address rejected: undeliverable address"),
    ("address", "", "550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550 [x]"),
    (
        "sender",
        "",
        "550 Rejected by header based Anti-Spoofing policy: odoo@example.com - https://community.mimecast.com",
    ),
    ("sender", "", "554 Email rejected due to security policies - https://community.mimecast.com"),
    ("sender", "", "550 permanent failure for one or more recipients (ben@example.org:blocked)"),
    ("sender", "", "554 Your access to this mail system has been rejected due to the sending MTA's poor reputation."),
    # The domain, the network, the time
    ("temporary", "", "unable to get mx info: failed to get IPs from PTR record: lookup <nil>: unrecognized address"),
    ("temporary", "", "error dialing remote address: dial tcp 198.51.100.24:25: i/o timeout"),
    ("temporary", "4.4.7", "Delivery time expired"),
    ("temporary", "5.4.7", "550 5.4.7 Delivery expired (message too old)"),
    ("temporary", "5.4.6", "554 5.4.6 Too many hops"),
    ("address", "5.1.10", "556 5.1.10 Recipient address has null MX"),
    # Other languages, with letters that another charset has damaged
    ("address", "", "550 Unbekannter Empf\ufffdnger"),
    ("address", "550", "550 Empfänger unbekannt"),
    ("address", "", "550 Das Postfach existiert nicht"),
    ("mailbox", "", "552 Das Postfach des Empfängers ist voll"),
    ("mailbox", "550", "550 Boîte aux lettres pleine"),
    ("address", "", "550 Utilisateur inconnu"),
    ("address", "", "550 Cette adresse n’existe pas"),
    ("address", "", "550 El usuario no existe"),
    ("mailbox", "", "552 El buzón está lleno"),
    ("address", "", "550 Destinatario sconosciuto"),
    ("mailbox", "", "552 Casella di posta piena"),
    ("address", "", "550 Usuário inexistente"),
    ("temporary", "", "450 Bitte später noch einmal versuchen"),
]
# (cause, classification, reason), with neither a code nor telling words
CLASSIFIED = [
    ("address", "Invalid Address"),
    ("address", "invalid"),
    ("mailbox", "Mailbox Unavailable"),
    ("temporary", "Technical"),
    ("temporary", "Technical Failure"),
    ("sender", "Reputation"),
    ("sender", "Content"),
    ("sender", "Frequency or Volume Too High"),
    ("sender", "Frequency/Volume"),
    ("sender", "REPUTATION"),
    ("unknown", "Unclassified"),
    ("unknown", ""),
]
DROPPED = [
    ("Bounced Address", "", "dropped_held"),
    ("bounced address", "", "dropped_held"),
    ("Invalid", "address", "dropped_bounced"),
    ("Invalid Address", "address", "dropped_bounced"),
    ("Invalid SMTPAPI header", "sender", "dropped"),
    ("Spam Content", "sender", "dropped"),
    ("Recipient List over Package Quota", "sender", "dropped"),
    ("Unsubscribed Address", "", "dropped_unsubscribed"),
    ("Spam Reporting Address", "", "dropped_spam"),
    ("Duplicate message", "message", "dropped"),
    ("Something new", "", "dropped"),
    ("", "", "dropped"),
]
RULES = [
    (True, "5.7.124", "550 5.7.124 Sender not in allowed-senders list"),
    (True, "", "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required"),
    (True, "5.7.134", ""),
    (True, "5.7.1", "550 5.7.1 RESOLVER.RST.NotAuthorized; not authorized"),
    (True, "5.7.1", "550 5.7.1 This group only accepts mail from internal senders"),
    (True, "5.7.1", "550 5.7.1 TRANSPORT.RULES.RejectMessage; the message was rejected by organization policy"),
    (True, "5.7.1", "550 5.7.1 This message violates example.org email policy. - gcdp x - gsmtp"),
    (False, "5.7.509", "550 5.7.509 Access denied, sending domain example.com does not pass DMARC verification"),
    (False, "5.7.26", "550 5.7.26 This mail is unauthenticated"),
    (False, "5.7.1", "550 5.7.1 block list (S3150)"),
    (True, "5.7.1", "550 5.7.1 Rejected by recipient organization"),
    (False, "5.7.1", "550 5.7.1 Email rejected by recipient's DMARC policy, SPF fail"),
    (False, "5.7.1", "550 5.7.1 Message rejected by recipient's filter as spam"),
    (False, "5.7.1", "550 5.7.1 TRANSPORT.RULES.RejectMessage; DMARC failed, rejected by organization policy"),
    (False, "", ""),
]
# These are the sender's, and no rules of the recipient: (whether his administrators can mend them, status, reason)
FOR_ADMINISTRATORS = [
    (False, "5.7.0", "552-5.7.0 This message was blocked because its content presents a potential security issue."),
    (False, "", "552 5.7.0 its content presents\r\n552-5.7.0 a potential security issue. - gsmtp"),
    (False, "5.7.1", "554 5.7.1 The file attachment type is not allowed"),
    (False, "5.7.1", "554 5.7.1 Message contains a dangerous attachment"),
    (False, "4.7.500", "451 4.7.500 Server busy. Please try again later from [149.72.1.2]. (S77719)"),
    (True, "4.7.500", "451 4.7.500 Access denied, please try again later"),
    (True, "5.7.1", "550 5.7.1 Message rejected as spam by content filter"),
    (True, "5.7.26", "550-5.7.26 Your email has been blocked because the sender is unauthenticated."),
    (True, "5.7.1", "550 5.7.1 Email rejected by recipient's DMARC policy, SPF fail"),
    (True, "5.7.1", "550 5.7.1 DMARC failed; message with attachment refused"),
]


@tagged("post_install", "-at_install")
class TestRefusal(BaseCase):
    def test_replies(self):
        """Test the cause of what servers answer."""
        self.assertGreaterEqual(len(REPLIES), 80)
        self.assertEqual({cause for cause, _status, _reason in REPLIES}, set(CAUSES))
        for cause, status, reason in REPLIES:
            with self.subTest(status=status, reason=reason):
                self.assertEqual(refusal_cause(reason, status, "bounce"), cause)

    def test_case(self):
        """Test that capital letters make no difference."""
        for cause, status, reason in REPLIES:
            with self.subTest(reason=reason):
                self.assertEqual(refusal_cause(reason.upper(), status, "BOUNCE"), cause)
                self.assertEqual(refusal_cause(reason.lower(), status, "bounced"), cause)

    def test_classification(self):
        """Test SendGrid's classification: it tells more than words, and less than an exact code."""
        for cause, classification in CLASSIFIED:
            with self.subTest(classification=classification):
                self.assertEqual(refusal_cause("550 5.0.0 no", "5.0.0", "bounce", classification), cause)
        self.assertEqual(refusal_cause("550 User unknown", "550", "bounce", "Reputation"), "sender")
        self.assertEqual(refusal_cause("550 5.1.1 no", "5.1.1", "bounce", "Reputation"), "address")
        self.assertEqual(refusal_cause("451 4.7.26 no", "4.7.26", "bounce", "Technical"), "sender")

    def test_class_four(self):
        """Test that a refusal of class 4 never tells of the address, whatever SendGrid files it under."""
        for status, reason in (("4.1.1", ""), ("450", "450 User unknown"), ("", "450 4.0.0 no"), ("4.5.0", "")):
            with self.subTest(status=status, reason=reason):
                self.assertEqual(refusal_cause(reason, status, "bounce", ""), "temporary")
                self.assertNotIn(refusal_cause(reason, status, "bounce", "Invalid Address"), ("address", "unknown"))

    def test_type(self):
        """Test that SendGrid's type decides where nothing else tells, in any spelling."""
        for bounce_type, cause in (
            ("bounce", "unknown"),
            ("Bounced", "unknown"),
            ("", "unknown"),
            ("blocked", "temporary"),
            ("Blocked", "temporary"),
            ("expired", "temporary"),
            ("Expired", "temporary"),
        ):
            with self.subTest(bounce_type=bounce_type):
                self.assertEqual(refusal_cause("554 no", "", bounce_type), cause)
        self.assertEqual(refusal_cause("550 5.7.1 no", "", "blocked"), "sender")
        self.assertEqual(refusal_cause("550 5.1.1 no", "", "blocked"), "address")

    def test_huge(self):
        """Test that neither a huge reply nor a pathological one takes long."""
        for reason in ("550 " + "mailbox user " * 5000, "550 " + "<a@b> " * 10000, "5.1." * 20000, "\r\n550 " * 10000):
            self.assertIn(refusal_cause(reason, "", "bounce"), CAUSES)

    def test_status(self):
        """Test which status and which fact follow from a bounce, by cause."""
        for status, reason, bounce_type, expected, fact in (
            ("5.1.1", "", "bounce", "bounced", "bounced"),
            ("5.1.1", "", "blocked", "bounced", "bounced"),
            ("", "554 no", "bounce", "bounced", "bounced"),
            ("4.2.2", "", "bounce", "blocked", "blocked"),
            ("4.2.2", "", "", "blocked", "blocked"),
            ("5.2.2", "", "bounce", "bounced", "blocked"),
            ("5.2.2", "", "blocked", "blocked", "blocked"),
            ("", "Mailbox is full", "bounce", "blocked", "blocked"),
            ("5.0.0", "452 4.2.2 over quota", "bounce", "blocked", "blocked"),
            ("5.3.4", "", "bounce", "blocked", "blocked"),
            ("5.7.509", "", "bounce", "bounced", "blocked"),
            ("5.7.1", "", "Blocked", "blocked", "blocked"),
            ("4.7.1", "", "", "blocked", "blocked"),
            ("5.7.1", "", "", "bounced", "blocked"),
            ("4.3.0", "", "bounce", "blocked", "blocked"),
            ("", "", "expired", "blocked", "blocked"),
        ):
            with self.subTest(status=status, reason=reason, bounce_type=bounce_type):
                bounce = Event(event="bounce", timestamp=1, smtp_status=status, reason=reason, bounce_type=bounce_type)
                self.assertEqual((bounce_status(bounce), bounce_fact(bounce)), (expected, fact))
                bounce.refusal_cause = told_cause(bounce)
                self.assertEqual((bounce_status(bounce), bounce_fact(bounce)), (expected, fact))
        self.assertEqual(refusal_class("", "4.2.2"), "4")
        self.assertEqual(refusal_class("552-Mailbox full", ""), "5")
        self.assertEqual(refusal_class("no", ""), "")

    def test_drops(self):
        """Test cause and fact of a drop, which has the cause of the bounce behind it."""
        for reason, cause, fact in DROPPED:
            with self.subTest(reason=reason):
                self.assertEqual(drop_cause(reason), cause)
                drop = Event(event="dropped", timestamp=1, reason=reason, refusal_cause=cause)
                self.assertEqual(told_cause(drop), cause)
                self.assertEqual(drop_fact(drop), fact)
        for cause, fact in (("address", "bounced"), ("unknown", "bounced"), ("mailbox", "held"), ("sender", "held")):
            drop = Event(event="dropped", timestamp=1, reason="Bounced Address", refusal_cause=cause)
            self.assertEqual(drop_fact(drop), f"dropped_{fact}")
        self.assertEqual(told_cause(Event(event="delivered", timestamp=1, reason="Invalid")), "")

    def test_recipients_rules(self):
        """Test that refusals by the recipient's own rules are the sender's, but nothing for his administrators."""
        for expected, status, reason in RULES:
            with self.subTest(reason=reason, status=status):
                self.assertEqual(is_recipients_rule(reason, status), expected)
                if reason or status:
                    self.assertEqual(refusal_cause(reason, status, "bounce"), "sender")

    def test_for_administrators(self):
        """Test which refusals for the sender concern his administrators."""
        for expected, status, reason in FOR_ADMINISTRATORS:
            with self.subTest(reason=reason, status=status):
                self.assertEqual(refusal_cause(reason, status, "bounce"), "sender")
                self.assertFalse(is_recipients_rule(reason, status))
                self.assertEqual(is_for_administrators(reason, status), expected)
        for is_rule, status, reason in RULES:
            with self.subTest(reason=reason, status=status):
                self.assertEqual(is_for_administrators(reason, status), not is_rule)

    def test_counted_words(self):
        """Test that what is particular to one message is left out of its words, so that they can be counted."""
        for number in ("1a2b3c", "9z8y7x"):
            reason = (
                f"550-5.7.26 Mail of <ada{number}@example.org> is\r\n550 5.7.26 refused, see https://x/{number} - gsmtp"
            )
            self.assertEqual(generalize(reason), "550-5.7.26 Mail of … is refused, see … - gsmtp")
        self.assertEqual(generalize(""), "")
        self.assertEqual(sender_fault("550 5.7.26 no"), "authentication")
        self.assertEqual(sender_fault("", "5.7.509"), "authentication")
        self.assertEqual(sender_fault("Spam Content"), "content")
        self.assertEqual(sender_fault(""), "reputation")
