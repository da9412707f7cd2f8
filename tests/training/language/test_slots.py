from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.language.desk_knowledge import GOODS
from training.language.slots import Goods, date_in, order_number, quantity, slots_of, words_of

TODAY = date(2026, 3, 14)  # a Saturday


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Where is order A-20458?", "A-20458"),
        ("订单号20260312001，昨天下单", "20260312001"),
        ("#88123 came", "88123"),
        ("order number: ab-9931", "ab-9931"),
        ("it is NM-2603140007", "NM-2603140007"),
        ("order 77123 and again order 77123", "77123"),
        ("my orders 111111 and 222222", None),
        ("call 13812345678 or 0612345678", None),
        ("I paid on 2026-03-12", None),
        ("it weighs 12 kg and costs 199", None),
        ("", None),
    ],
)
def test_an_order_number_is_found_where_there_is_no_doubt(text: str, found: str | None) -> None:
    assert order_number(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3 days ago", "2026-03-11"), ("two weeks ago", "2026-02-28"), ("两天前", "2026-03-12"), ("昨天", "2026-03-13"),
        ("the day before yesterday", "2026-03-12"), ("后天", "2026-03-16"), ("in a week", "2026-03-21"),
        ("last monday", "2026-03-09"), ("last saturday", "2026-03-07"), ("next saturday", "2026-03-21"),
        ("this saturday", "2026-03-14"), ("上周一", "2026-03-02"), ("下周日", "2026-03-22"), ("本周三", "2026-03-11"),
        ("12 March", "2026-03-12"), ("December 30th", "2025-12-30"), ("3月12日", "2026-03-12"), ("2026年3月1日", "2026-03-01"),
        ("1 May 2025", "2025-05-01"), ("on 2026-03-02", "2026-03-02"),
        ("03/04", None), ("Feb 30", None), ("yesterday or today", None), ("I waited 10 days", None), ("2026-13-45", None),
    ],
)  # fmt: skip
def test_a_date_is_told_from_today_and_left_alone_where_it_is_not_sure(text: str, found: str | None) -> None:
    assert date_in(text, TODAY) == found


@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)), st.integers(0, 99))
def test_a_day_is_found_however_it_is_written(today: date, back: int) -> None:
    day = today - timedelta(days=back)
    for text in (
        f"{day}",
        f"{day.year}年{day.month}月{day.day}日",
        f"{day.day} {day:%B} {day.year}",
        f"{back} days ago",
    ):
        if text != "0 days ago":
            assert date_in(text, today) == day.isoformat()


@pytest.mark.parametrize(
    ("text", "found"), [("3 pieces", "3"), ("x2", "2"), ("two of them", "2"), ("买了三个", "3"),
     ("两件", "2"), ("2 pieces or 3 pieces", None), ("room 5", None)]
)  # fmt: skip
def test_a_quantity_needs_what_is_counted(text: str, found: str | None) -> None:
    assert quantity(text) == found


def test_a_product_is_named_by_what_only_its_title_says() -> None:
    assert [GOODS.titles[at] for at in GOODS.named_in("the foldable desk lamp please")] == [
        "Lumo foldable desk lamp, steel"
    ]
    assert GOODS.named_in("a desk lamp") == [0, 1]
    assert GOODS.named_in("a thing") == []  # twenty titles hold it
    assert GOODS.named_in("") == Goods().named_in("lamp") == []


def test_a_whole_title_beats_a_longer_one_that_shares_its_words() -> None:
    goods = Goods(("Kite kettle", "Kite kettle deluxe", *(f"Brand{i} thing" for i in range(20))), (1,) * 22, (1,) * 22)
    assert goods.named_in("the kite kettle") == [0]


def test_numbers_name_no_product_and_chinese_titles_are_found_by_pairs() -> None:
    goods = Goods(
        ("Nordlys 纯棉柔软毛巾 70x140", "Pan 28", *(f"Brand{i} thing" for i in range(20))), (1,) * 22, (1,) * 22
    )
    assert goods.named_in("28") == []
    assert goods.named_in("毛巾有货吗") == [0]
    assert words_of("Two Lamps, 毛巾") == ["two", "lamp", "毛巾"]


def test_all_slots_of_a_message_are_found_together() -> None:
    told = slots_of("Order A-20458, two pieces of the foldable lamp, bought 3 days ago", TODAY, GOODS)
    assert told == {
        "order_number": "A-20458", "quantity": "2", "product": "Lumo foldable desk lamp, steel", "date": "2026-03-11",
    }  # fmt: skip
