"""The erasure of recipients' data."""

PATH = "/recipients/erasejob"


def erase(program, *addresses, **options):
    return program.v3("POST", PATH, {"email_addresses": list(addresses)}, **options)


def test_a_job(program):
    answer = erase(program, "ada@example.org", "ada@example.org", "bob@example.org")
    assert answer.status == 202
    [job] = program.http("GET", "/sandbox/erasures").json
    assert job == {"job_id": answer.json["job_id"], "addresses": ["ada@example.org", "bob@example.org"]}


def test_invalid_addresses(program):
    answer = erase(program, "ada@example.org", "nobody", "bücher@example.org")
    assert answer.status == 400
    assert [error["field"] for error in answer.json["errors"]] == ["email_addresses"] * 2
    assert "nobody" in answer.json["errors"][0]["message"]
    assert program.http("GET", "/sandbox/erasures").json == []


def test_limits(program):
    addresses = [f"n{number}@example.org" for number in range(5001)]
    assert erase(program, *addresses).status == 400
    assert erase(program, *addresses[:5000]).status == 202
    assert erase(program).status == 400
    long = [f"{number:050}@{'x' * 60}.example" for number in range(2200)]
    assert erase(program, *long).status == 400
    assert erase(program, *long[:2000]).status == 202
    for _ in range(95):
        erase(program, "ada@example.org")
    refused = erase(program, "ada@example.org")
    assert refused.status == 429 and refused.headers["X-RateLimit-Remaining"] == "0"


def test_scope(program):
    program.http("PUT", "/sandbox/keys/SG.old", ["mail.send", "suppression.read"])
    assert erase(program, "ada@example.org", key="SG.old").status == 403
    program.http("PUT", "/sandbox/keys/SG.new", ["recipients.erasejob.create"])
    assert erase(program, "ada@example.org", key="SG.new").status == 202
