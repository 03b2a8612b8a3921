"""Mails that leave Odoo over a real SMTP dialogue, and the documents that they make."""

import contextlib
import re
import time
from datetime import datetime, timedelta, timezone

import pytest
from harness import OdooError, PlainServer, html_of, wait_for

from script.lib.stack import API_KEY

LONG_SUBJECT = "Größenänderung für „Käse & Überraschungen“ — 価格表 🧀 " * 6
TOKEN_LINKS = (
    "https://shop.example.com/my/orders/7?access_token=5f0c9a1e-2b7d-4f6e-9d0c-8a1b2c3d4e5f",
    "https://shop.example.com/survey/start/5f0c9a1e?answer_token=s3cr3t&page=2",
    "https://shop.example.com/mailing/4/unsubscribe?document_id=9&hash_token=abcdef",
)
PLAIN_LINK = "https://shop.example.com/cheese?kind=blue&n=2"
BODY = (
    "<p>Hello, look at <a href='{plain}'>our cheese</a>, or at <a href=\"{}\" class='x > y'>your order</a>, "
    '<a style="color: red" href="{}">tell us</a>, <A HREF="{}">unsubscribe</A>.</p>'
).format(*(link.replace("&", "&amp;") for link in TOKEN_LINKS), plain=PLAIN_LINK.replace("&", "&amp;"))


def test_fifty_contacts(odoo, sandbox):
    """One mail to fifty contacts: fifty copies, each with a header of its own that names only its own document."""
    addresses = [f"guest{number}@fifty.test" for number in range(50)]
    contacts = odoo.call("res.partner", "create", [{"name": f"Gast Nº {a}", "email": a} for a in addresses])
    odoo.send_mail(subject=LONG_SUBJECT, body_html=BODY, recipient_ids=contacts)
    documents = wait_for(
        lambda: len(found := odoo.documents(("recipient", "in", addresses))) == 50 and found, "fifty documents"
    )
    messages = {
        one["recipients"][0]["address"]: one
        for one in sandbox.messages()
        if one["recipients"][0]["address"].endswith("@fifty.test")
    }
    assert sorted(messages) == sorted(addresses)
    odoo_ids = {document.odoo_id for document in documents}
    assert len(odoo_ids) == 50
    for document in documents:
        message = messages[document.recipient]
        assert without_blanks(message["subject"]) == without_blanks(LONG_SUBJECT)
        source = sandbox.source(message).decode()
        assert [recipient["address"] for recipient in message["recipients"]] == [document.recipient]
        assert message["smtpapi"]["valid"]
        assert sandbox.smtpapi(message)["unique_args"]["odoo_id"] == document.odoo_id
        assert [one for one in odoo_ids if one in source] == [document.odoo_id]
        assert document.partner_id == contacts[addresses.index(document.recipient)]
    # The first events come while the transaction still sends: none of them is lost.
    wait_for(
        lambda: {one.status for one in odoo.documents(("recipient", "in", addresses))} == {"delivered"},
        "all fifty delivered",
    )


def test_fifty_addresses_in_one_copy(odoo, sandbox):
    """A mail with a long To and Cc: one copy, in which each recipient has a document and his own events."""
    to = [f"to{number}@crowd.test" for number in range(30)]
    cc = [f"cc{number}@crowd.test" for number in range(20)]
    odoo.send_mail(
        subject=LONG_SUBJECT,
        body_html=BODY,
        email_to=", ".join(f'"Émile Nº {a}" <{a}>' for a in to),
        email_cc=", ".join(cc),
    )
    message = sandbox.message_to("to0@crowd.test")
    assert sorted(recipient["address"] for recipient in message["recipients"]) == sorted(to + cc)
    assert message["smtpapi"]["valid"]
    documents = wait_for(
        lambda: len(found := odoo.documents(("recipient", "like", "@crowd.test"))) == 50 and found, "fifty documents"
    )
    assert sorted(document.recipient for document in documents) == sorted(to + cc)
    assert {document.odoo_id for document in documents} == {sandbox.smtpapi(message)["unique_args"]["odoo_id"]}
    sandbox.fire_by_person(message, "cc7@crowd.test", "open")
    sandbox.fire(message, "to3@crowd.test", "bounce")

    def statuses():
        found = odoo.documents(("recipient", "like", "@crowd.test"), fields=["recipient", "status"])
        return {one.recipient: one.status for one in found}

    expected = dict.fromkeys(to + cc, "delivered") | {"cc7@crowd.test": "opened", "to3@crowd.test": "bounced"}
    wait_for(lambda: statuses() == expected, "each has his own status")


@pytest.mark.parametrize("name", ["X-SMTPAPI", "x-smtpapi", "X-Smtpapi"])
def test_header_of_the_user(odoo, sandbox, name):
    """A header that the user set is merged, in any case; our settings in it stay ours."""
    address = f"case{sum(map(str.isupper, name))}@merge.test"
    own = '{"category": ["offer", "käse"], "unique_args": {"shop": "7", "odoo_id": "forged"}, "asm_group_id": 12}'
    odoo.send_mail(subject=LONG_SUBJECT, body_html=BODY, email_to=address, headers=repr({name: own}))
    message = sandbox.message_to(address)
    document = odoo.document_to(address)
    said = sandbox.smtpapi(message)
    assert message["smtpapi"]["valid"]
    assert said["category"] == ["offer", "käse"]
    assert said["asm_group_id"] == 12
    assert said["unique_args"]["shop"] == "7"
    assert said["unique_args"]["odoo_id"] == document.odoo_id
    assert set(said["unique_args"]) == {"shop", "odoo_id", "odoo_db"}


def test_secret_links(odoo, sandbox):
    """Links with a token reach the recipient as they are, the others are tracked; the other text does not change."""
    odoo.send_mail(subject="Links", body_html=BODY, email_to="links@sending.test")
    message = sandbox.message_to("links@sending.test")
    assert [link["url"] for link in message["links"]] == [PLAIN_LINK]
    sent = html_of(sandbox.received(message)).strip()
    assert sent.count(' clicktracking="off"') == 3
    assert (
        sent.replace(' clicktracking="off"', "")
        == odoo.read("mail.mail", mail_of(odoo, "Links"), "body_html").body_html
    )
    wait_for(lambda: odoo.document_to("links@sending.test").status == "delivered", "delivered")
    arrived = sandbox.delivered_html(message, "links@sending.test")
    assert "clicktracking" not in arrived
    for link in TOKEN_LINKS:
        assert link.replace("&", "&amp;") in arrived
    assert PLAIN_LINK.replace("&", "&amp;") not in arrived and "/ls/click?upn=" in arrived
    # The links of the text part are the same ones.
    settings = sandbox.smtpapi(message)["filters"]["clicktrack"]["settings"]
    assert settings == {"enable_text": 0}


def test_body_without_secrets_is_untouched(odoo, sandbox):
    """A body without secret links leaves byte for byte, and no tracking setting is sent."""
    body = "<p>Look at <a href='https://shop.example.com/a?b=1'>this</a> &nbsp;<b>–</b> <br>\n  and that.</p>"
    odoo.send_mail(subject="Untouched", body_html=body, email_to="untouched@sending.test")
    message = sandbox.message_to("untouched@sending.test")
    kept = odoo.read("mail.mail", mail_of(odoo, "Untouched"), "body_html").body_html
    assert html_of(sandbox.received(message)).strip() == kept
    assert set(sandbox.smtpapi(message)) == {"unique_args"}


def test_unfollow_link(odoo, sandbox):
    """The link by which a follower leaves is his alone: it is not tracked, though a colleague has no document."""
    contact_id = odoo.contact("Followed", "followed@sending.test")
    _user_id, partner_id = odoo.user("Follower", "follower", email="follower@sending.test", notification_type="email")
    odoo.call("res.partner", "message_subscribe", [contact_id], [partner_id])
    odoo.call(
        "res.partner",
        "message_post",
        [contact_id],
        body="Hello",
        subtype_xmlid="mail.mt_comment",
        email_layout_xmlid="mail.mail_notification_light",
    )
    message = sandbox.message_to("follower@sending.test")
    [tag] = re.findall(r"<a[^>]*/mail/unfollow[^>]*>", html_of(sandbox.received(message)))
    assert 'clicktracking="off"' in tag and "token=" in tag
    assert not [link for link in message["links"] if "unfollow" in link["url"]]
    assert not odoo.documents(("recipient", "=", "follower@sending.test"))


def test_password_mail_is_kept_nowhere(odoo, sandbox):
    """A portal user's password link leaves untracked, and the document keeps nothing of it."""
    user_id, partner_id = odoo.user("Portal", "portal", "base.group_portal", email="portal@sending.test")
    odoo.call("res.users", "action_reset_password", [user_id])
    message = sandbox.message_to("portal@sending.test")
    html = html_of(sandbox.received(message))
    [tag] = set(re.findall(r"<a[^>]*/web/(?:signup|reset_password)[^>]*>", html))
    assert 'clicktracking="off"' in tag
    document = odoo.document_to("portal@sending.test")
    assert document.partner_id == partner_id
    assert not document.content and "access" in document.content_note
    token = re.search(r"token=([\w\-.]+)", tag)[1]
    assert len(token) > 20 and token not in str(document)


def test_template(odoo, sandbox):
    """Core deletes a template's mail once it is sent; the document keeps its content."""
    contact_id = odoo.contact("Rosalind", "rosalind@sending.test")
    template_id = odoo.create(
        "mail.template",
        name="Cheese",
        model_id=odoo.find("ir.model", ("model", "=", "res.partner"))[0].id,
        subject="Cheese for {{ object.name }}",
        body_html='<p>Dear <t t-out="object.name"/>, <a href="https://shop.example.com/b">look</a></p>',
        partner_to="{{ object.id }}",
        auto_delete=True,
    )
    odoo.call("mail.template", "send_mail", template_id, contact_id, force_send=True)
    document = odoo.document_to("rosalind@sending.test")
    assert document.subject == "Cheese for Rosalind"
    assert "Dear Rosalind" in document.content
    assert document.partner_id == contact_id
    assert (document.model, document.res_id) == ("res.partner", contact_id)
    assert sandbox.message_to("rosalind@sending.test")["smtpapi"]["unique_args"]["odoo_id"] == document.odoo_id
    assert not odoo.find("mail.mail", ("subject", "=", "Cheese for Rosalind"))


def test_scheduled_message(odoo, sandbox, database):
    """A message that was scheduled in the chatter leaves when its time has come."""
    contact_id = odoo.contact("Later", "later@sending.test")
    odoo.create(
        "mail.scheduled.message",
        model="res.partner",
        res_id=contact_id,
        author_id=odoo.session["partner_id"],
        partner_ids=[contact_id],
        subject="Later",
        body=BODY,
        scheduled_date=(datetime.now(timezone.utc) + timedelta(seconds=2)).strftime("%Y-%m-%d %H:%M:%S"),
    )
    assert not sandbox.messages("Later")

    def sent():
        database.minute_is_over()
        return sandbox.messages("Later")

    wait_for(sent, "the scheduled message")
    document = odoo.document_to("later@sending.test")
    assert document.partner_id == contact_id
    assert "our cheese" in document.content


def test_mail_queue(odoo, sandbox):
    """Core's own job sends the mails that wait in the queue; each has a document."""
    addresses = [f"queued{number}@queue.test" for number in range(12)]
    odoo.call(
        "mail.mail",
        "create",
        [
            {
                "subject": "Queued",
                "body_html": BODY,
                "email_to": a,
                "email_from": "odoo@example.com",
                "auto_delete": True,
            }
            for a in addresses
        ],
    )
    assert not sandbox.messages("Queued")
    odoo.call("ir.cron", "method_direct_trigger", [odoo.ref("mail.ir_cron_mail_scheduler_action")])
    documents = wait_for(
        lambda: len(found := odoo.documents(("subject", "=", "Queued"))) == 12 and found, "twelve documents"
    )
    assert sorted(document.recipient for document in documents) == sorted(addresses)
    assert all("our cheese" in document.content for document in documents), "core has deleted the mails"
    ids = {one["smtpapi"]["unique_args"]["odoo_id"] for one in sandbox.messages("Queued")}
    assert ids == {document.odoo_id for document in documents}


def test_mail_queue_by_the_web_api(odoo, sandbox, expected_problems):
    """The same by HTTPS: a mail that SendGrid refuses stops none, and the events find the documents."""
    expected_problems.append("failed sending mail")
    odoo.call("ir.config_parameter", "set_param", "sendgrid_tracking.api_host", sandbox.server.url)
    [account] = odoo.find("sendgrid.account", fields=["name"])
    odoo.write("sendgrid.account", account.id, api_key=API_KEY)
    addresses = [f"queued{number}@api.test" for number in range(6)]
    common = {"subject": "By the Web API", "body_html": BODY, "email_from": "odoo@example.com", "auto_delete": True}
    with server(odoo, 25, smtp_authentication="sendgrid_api") as server_id:
        common["mail_server_id"] = server_id
        broken = {"email_to": "broken@api.test", "headers": repr({"X-SMTPAPI": '{"sub": {"%a%": ["b"]}}'})}
        mails = [{**common, **broken}, *({**common, "email_to": address} for address in addresses)]
        ids = odoo.call("mail.mail", "create", mails)
        odoo.call("ir.cron", "method_direct_trigger", [odoo.ref("mail.ir_cron_mail_scheduler_action")])
        documents = wait_for(
            lambda: (
                len(found := odoo.documents(("recipient", "in", addresses), ("status", "=", "delivered"))) == 6
                and found
            ),
            "six documents, delivered",
        )
    messages = {one["id"]: one["smtpapi"]["unique_args"]["odoo_id"] for one in sandbox.messages("By the Web API")}
    assert {document.sg_message_id: document.odoo_id for document in documents} == messages
    assert [one.id for one in odoo.find("mail.mail", ("id", "in", ids), fields=["state"])] == ids[:1], (
        "the rest is sent"
    )
    assert "sub" in odoo.read("mail.mail", ids[0], "failure_reason").failure_reason


def test_colleagues_have_no_documents(odoo, sandbox):
    """A message to a contact and a colleague: the contact has a document; the colleague's events are kept apart."""
    contact_id = odoo.contact("Customer", "customer@sending.test")
    address = "colleague@sending.test"
    _user_id, partner_id = odoo.user("Colleague", "colleague", email=address, notification_type="email")
    odoo.compose(contact_id, "Both", BODY, recipients=[contact_id, partner_id])
    document = odoo.document_to("customer@sending.test")
    message = sandbox.message_to(address, "Both")
    assert message["smtpapi"]["valid"]
    events = wait_for(
        lambda: odoo.find("sendgrid.event", ("recipient", "=", address), ("match", "!=", "early")),
        "the colleague's events",
    )
    assert {one.match for one in events} == {"untracked"}
    assert not odoo.documents(("recipient", "=", address))
    assert [one.id for one in odoo.documents(("subject", "=", "Both"))] == [document.id]


def test_two_contacts_with_one_address(odoo, sandbox):
    """Two contacts share an address: two copies, each with a document that says whose it is."""
    pair = [odoo.contact(name, "family@sending.test") for name in ("Marie", "Pierre")]
    odoo.send_mail(subject="Family", body_html=BODY, recipient_ids=pair)
    documents = wait_for(
        lambda: len(found := odoo.documents(("recipient", "=", "family@sending.test"))) == 2 and found, "two documents"
    )
    assert [document.partner_id for document in documents] == pair
    messages = sandbox.messages("Family")
    by_name = {re.search("Marie|Pierre", str(sandbox.received(one)["To"]))[0]: one for one in messages}
    for name, document in zip(("Marie", "Pierre"), documents, strict=True):
        assert by_name[name]["smtpapi"]["unique_args"]["odoo_id"] == document.odoo_id
    sandbox.fire_by_person(by_name["Pierre"], "family@sending.test", "open")
    wait_for(lambda: odoo.documents(("id", "=", documents[1].id))[0].status == "opened", "Pierre's is opened")
    assert odoo.documents(("id", "=", documents[0].id))[0].status == "delivered"


def test_refused_login(odoo, sandbox):
    """While the relay refuses our login the document says so. Once it takes the mail, the same one is sent."""
    with server(odoo, sandbox.server.smtp_port, smtp_pass="SG.wrong") as server_id:
        mail_id = odoo.send_mail(
            subject="Refused", body_html=BODY, email_to="refused@sending.test", mail_server_id=server_id
        )
        assert odoo.read("mail.mail", mail_id, "state").state == "exception"
        assert not sandbox.messages("Refused")
        [failed] = odoo.documents(("subject", "=", "Refused"))
        assert (failed.status, failed.sent_date, failed.sent_count) == ("failed", False, 0)
        assert "535" in failed.status_reason

        odoo.write("ir.mail_server", server_id, smtp_pass="SG.sandbox")
        odoo.call("mail.mail", "action_retry", [mail_id])
        odoo.call("mail.mail", "send", [mail_id])
        assert odoo.read("mail.mail", mail_id, "state").state == "sent"
        document = odoo.document_to("refused@sending.test")
        assert document.id == failed.id and document.status != "failed" and document.sent_count == 1
        # Send it once more, while its events come in.
        odoo.call("mail.mail", "mark_outgoing", [mail_id])
        odoo.call("mail.mail", "send", [mail_id])
        messages = wait_for(lambda: len(found := sandbox.messages("Refused")) == 2 and found, "sent twice")
        assert {one["smtpapi"]["unique_args"]["odoo_id"] for one in messages} == {document.odoo_id}
        assert odoo.document_to("refused@sending.test").id == document.id
        assert odoo.document_to("refused@sending.test").sent_count == 2


def test_refused_recipient(odoo):
    """The server refuses the second of three copies: that one is not sent until it leaves, and the others are."""
    addresses = ["one@three.test", "two@three.test", "three@three.test"]
    contacts = [odoo.contact(address, address) for address in addresses]

    def documents():
        return {one.recipient: one for one in odoo.documents(("recipient", "in", addresses))}

    with PlainServer(refused=["two@three.test"]) as plain, server(odoo, plain.port, **NO_LOGIN) as server_id:
        mail_id = odoo.send_mail(subject="Three", body_html=BODY, recipient_ids=contacts, mail_server_id=server_id)
        # As by the Web API, who is refused costs nobody else the mail.
        assert odoo.read("mail.mail", mail_id, "state").state == "sent"
        first = documents()
        assert sorted(first) == sorted(addresses)
        left = {re.search(r"\w+@three.test", source.decode())[0] for source in plain.sources}
        assert {address for address, one in first.items() if one.status == "sent"} == left == set(addresses[::2])
        assert first["two@three.test"].status == "failed" and first["two@three.test"].status_reason.startswith("550")

        plain.refused.clear()
        odoo.call("mail.mail", "mark_outgoing", [mail_id])
        odoo.call("mail.mail", "send", [mail_id])
        second = documents()
        assert sorted(second) == sorted(addresses)
        for address, document in first.items():
            assert second[address].id == document.id, "a retry writes no second document"
            assert (second[address].status, second[address].sent_count) == ("sent", 1 + (address in left))


def test_other_server_sees_nothing_of_the_addon(odoo):
    """Through a server that is not SendGrid's, the bytes are those of an Odoo without the addon."""
    with PlainServer() as plain, server(odoo, plain.port, sendgrid_account_id=False, **NO_LOGIN) as server_id:
        mail_id = odoo.send_mail(
            subject="Elsewhere",
            body_html=BODY,
            email_to="elsewhere@sending.test",
            mail_server_id=server_id,
            headers=repr({"X-SMTPAPI": '{"category": "mine"}'}),
        )
        odoo.call("mail.mail", "mark_outgoing", [mail_id])
        odoo.write("mail.mail", mail_id, headers=False)
        odoo.call("mail.mail", "send", [mail_id])
        own, without = plain.sources
    assert own.count(b'{"category": "mine"}') == 1, "what the user says, he says"
    for trace in (b"smtpapi", b"sendgrid", b"clicktracking", b"odoo_id", b"odoo_db"):
        assert trace not in without.lower()
    assert not odoo.documents(("subject", "=", "Elsewhere"))


def test_broken_header_of_the_user(odoo, sandbox, expected_problems):
    """SendGrid would drop a message with a broken X-SMTPAPI: it does not leave, and the mail says why."""
    expected_problems.append("failed sending mail")
    mail_id = odoo.send_mail(
        subject="Broken", body_html=BODY, email_to="broken@sending.test", headers=repr({"X-SMTPAPI": "{broken"})
    )
    mail = odoo.read("mail.mail", mail_id, "state", "failure_reason")
    assert mail.state == "exception" and "X-SMTPAPI" in mail.failure_reason
    assert not sandbox.messages("Broken")
    [document] = odoo.documents(("subject", "=", "Broken"))
    assert document.status == "failed" and "X-SMTPAPI" in document.status_reason


def test_history_is_nobodys_to_change(odoo):
    """Nobody changes or deletes a document, not even an administrator."""
    contact_id = odoo.contact("History", "history@sending.test")
    odoo.compose(contact_id, "History", BODY)
    document = odoo.document_to("history@sending.test")
    for method, *args in (("write", {"subject": "No"}), ("unlink",)):
        with pytest.raises(OdooError, match="AccessError"):
            odoo.call("sendgrid.email", method, [document.id], *args)


NO_LOGIN = {"smtp_authentication": "login", "smtp_user": False, "smtp_pass": False}


@contextlib.contextmanager
def server(odoo, port, **values):
    """Create another mail server, marked as SendGrid's unless ``values`` say otherwise; archive it afterwards."""
    [account] = odoo.find("sendgrid.account", fields=["name"])
    values = {
        "name": f"Port {port} {time.monotonic()}",
        "sequence": 100,
        "smtp_host": "127.0.0.1",
        "smtp_port": port,
        "smtp_authentication": "login",
        "smtp_user": "apikey",
        "smtp_encryption": "none",
        "sendgrid_account_id": account.id,
        **values,
    }
    server_id = odoo.create("ir.mail_server", **values)
    try:
        yield server_id
    finally:
        odoo.write("ir.mail_server", server_id, active=False)


def without_blanks(text):
    """Return a subject without blanks: Python's own folding can lose one between two encoded words."""
    return "".join(text.split())


def mail_of(odoo, subject):
    """Return the `mail.mail` of a subject."""
    [mail] = odoo.find("mail.mail", ("subject", "=", subject), fields=["subject"])
    return mail.id
