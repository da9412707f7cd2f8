import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.language.transcripts import masked, transcript_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("My name is Ann Lee, mail ann.lee+x@lee.co.uk.", "My name is [name], mail [email]."),
        ("call +31 6 1234 5678 or 0612345678", "call [phone] or [phone]"),
        ("订单号20260312001，电话13812345678，我叫王小明，谢谢", "订单号[order]，电话[phone]，我叫[name]，谢谢"),
        ("card 4111 1111 1111 1111, IBAN NL91 ABNA 0417 1643 00", "card [card], IBAN [account]"),
        ("order A-20458, #88123 and NM-2603140007", "order [order], #[order] and [order]"),
        ("加我微信lily_2020，或 @ann_lee", "加我微信[account]，或 [account]"),
        ("see https://shop.example/o?id=1 or www.me.org", "see [link] or [link]"),
        ("On 2026-03-12 I paid 15.99 for 2 lamps of 120 cm", "On 2026-03-12 I paid 15.99 for 2 lamps of 120 cm"),
        ("this is ridiculous, I am happy", "this is ridiculous, I am happy"),
    ],
)
def test_what_tells_who_somebody_is_is_masked_and_the_rest_is_not(text: str, found: str) -> None:
    assert masked(text) == found


@given(st.text(max_size=80), st.from_regex(r"[a-z]{1,8}@[a-z]{2,8}\.(com|org|cn)", fullmatch=True))
def test_masking_twice_changes_nothing_more_and_no_address_survives(text: str, address: str) -> None:
    once = masked(f"{text} {address} ")
    assert address not in once
    assert masked(once) == once


def test_a_transcript_keeps_who_said_what() -> None:
    told = transcript_of([("customer", "我的邮箱是 a@b.cn"), ("agent", "thank you")])
    assert json.loads(told) == [["customer", "我的邮箱是 [email]"], ["agent", "thank you"]]
