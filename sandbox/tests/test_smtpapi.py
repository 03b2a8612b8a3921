import json

import pytest

from sandbox.smtpapi import Options, read


def test_no_header_means_an_accounts_defaults():
    assert read([]) == Options(valid=True, click=True, click_text=False, open=True, subscription=False)


def test_everything_that_is_honoured():
    options = read(
        [
            json.dumps(
                {
                    "unique_args": {"a": "x", "number": 7, "flag": True, "none": None, "deep": {"b": [1]}},
                    "category": ["one", "two"],
                    "asm_group_id": 12,
                    "send_at": 1795500000,
                    "ip_pool": "bulk",
                    "filters": {
                        "clicktrack": {"settings": {"enable": 0, "enable_text": 1}},
                        "opentrack": {"settings": {"enable": "0", "replace": "%open%"}},
                        "subscriptiontrack": {
                            "settings": {"enable": 1, "text/html": "h", "text/plain": "t", "replace": "r"}
                        },
                    },
                }
            ).encode()
        ]
    )
    assert options == Options(
        valid=True,
        unique_args={"a": "x", "number": "7", "flag": "true", "none": "", "deep": '{"b": [1]}'},
        category=("one", "two"),
        asm_group_id=12,
        send_at=1795500000,
        ip_pool="bulk",
        click=False,
        click_text=True,
        open=False,
        open_tag="%open%",
        subscription=True,
        subscription_html="h",
        subscription_text="t",
        subscription_tag="r",
    )


def test_one_category_may_be_a_string():
    assert read([b'{"category": "sale"}']).category == ("sale",)


@pytest.mark.parametrize("fold", [b"\r\n ", b"\n ", b"\r\n\t"])
def test_folding_is_undone(fold):
    value = b'{"unique_args":' + fold + b'{"a": "b"},' + fold + b'"category": "c"}'
    assert read([value]) == Options(unique_args={"a": "b"}, category=("c",))


def test_a_fold_inside_a_value_keeps_its_space():
    assert read([b'{"unique_args": {"a": "two\r\n words"}}']).unique_args == {"a": "two words"}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"nonsense",
        b"[]",
        b'"text"',
        b"null",
        b'{"a": 1',
        b"=?utf-8?q?=7B=22unique=5Fargs=22=3A?=\r\n =?utf-8?q?=7B=7D=7D?=",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"unique_args": {"a": "' + b"x" * 1000 + b'"}}',
        b'{"unique_args": {' + b",\r\n ".join(b'"k%d": "%s"' % (n, b"x" * 500) for n in range(21)) + b"}}",
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_cannot_be_read_is_invalid_and_nothing_of_it_counts(value):
    assert read([value]) == Options(valid=False)


def test_the_first_of_several_wins():
    assert read([b'{"category": "first"}', b'{"category": "second"}']).category == ("first",)
    assert not read([b"broken", b"{}"]).valid


@pytest.mark.parametrize(
    "data",
    [{"unique_args": []}, {"filters": 3}, {"filters": {"clicktrack": "x"}}, {"asm_group_id": "x"}, {"send_at": []}],
)
def test_odd_values_in_a_good_object_are_passed_over(data):
    assert read([json.dumps(data).encode()]) == Options()
