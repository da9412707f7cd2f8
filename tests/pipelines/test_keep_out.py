"""Whose line it is: in every platform's form, plain, odd or broken; and a ledger that tells nobody's name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.errors import ConfigError, StorageError
from pipelines.core.privacy import PseudonymKey
from pipelines.core.storage import Store
from pipelines.keep_out import PLACES, Ledger, add_to_ledger, ledger_key, load_ledger

KEY = PseudonymKey(bytes(range(32)))
IDS = ("c0000012", "123", "a.b@shop:7")
LINES = {  # connector -> a line of the customer {}, and one of somebody else that holds the same characters
    "jsonl": (
        '{"event_id":"e1","user_id":"{}","event_type":"view","item_id":"i1"}',
        '{"event_id":"e1","user_id":"z9","event_type":"view","item_id":"{}"}',
    ),
    "reviews": ('{"review_id":"r1", "user_id": "{}", "text": "good \\"}"}', '{"user_id":"z9","text":"ask {}"}'),
    "messages": ('{"user_id":"{}","sender":"agent"}', '{"user_id":"z9","sender":"agent","text":"not {}"}'),
    "rees46": (
        "2019-10-01 00:00:00 UTC,view,1,2,electronics,acme,10.00,{},s-1",
        "2019-10-01 00:00:00 UTC,view,{},2,electronics,acme,10.00,999,s-1",
    ),
    "retailrocket": ("1433221332117,{},view,355908,", "1433221332117,999,view,{},"),
    "taobao": ("{},2268318,2520377,pv,1511544070", "999,{},2520377,pv,1511544070"),
    "yoochoose": ("{}\t214536502\t1396861200.0", "999\t{}\t1396861200.0"),
}


def ledger(*ids: str) -> Ledger:
    own = ledger_key(KEY)
    return Ledger(own, frozenset(own.pseudonym(name) for user in ids for name in (user, KEY.pseudonym(user))))


def mine(lines: list[str | None], connector: str, *ids: str) -> list[bool]:
    found: list[bool] = ledger(*(ids or IDS)).mine(pa.array(lines, pa.string()), connector).tolist()
    return found


@pytest.mark.parametrize("user", IDS)
@pytest.mark.parametrize("connector", LINES)
def test_a_line_is_of_the_customer_that_it_names_in_its_platforms_place(connector: str, user: str) -> None:
    own, other = (line.replace("{}", user) for line in LINES[connector])
    assert mine([own, other, own, None, ""], connector, user) == [True, False, True, False, False]


@pytest.mark.parametrize("connector", ["deliveries", "outcomes"])
def test_feeds_of_pseudonyms_are_read_by_pseudonym(connector: str) -> None:
    lines = [json.dumps({"delivery_id": "c0000012", "user_key": key}) for key in (KEY.pseudonym(IDS[0]), "0" * 64)]
    assert mine([*lines, lines[0][:-9]], connector) == [True, False, True]


def test_a_pseudonym_is_found_wherever_it_stands() -> None:
    key = KEY.pseudonym(IDS[0])
    lines = [
        f'{{"user_id":"z9","query":"/?u={key}"}}',
        f'{{"user_id":"z9","query":"/?u={key}0"}}',
        f'{{"user_id":"z9","query":"{"f" * 64}"}}',
    ]
    assert mine(lines, "jsonl") == [True, False, False]


@pytest.mark.parametrize(
    ("line", "is_mine"),
    [
        ('{"user_id":"c0000012","event_type":"vi', True),  # cut off behind the id
        ('{"event_type":"view","user_id":"c0000012', True),  # cut off right after it
        ('{"event_type":"view","user_id":"c000001', False),  # an id that is not whole is nobody's
        ("c0000012 bought, says the log", True),
        ("xc0000012", False),
        ('{"user_id":123}', True),
        ('{"user_id":" c0000012 "}', True),
        ('{"user_\\u0069d":"c00000\\u00312"}', True),
        ('{"user_id":"z9","user_id":"c0000012"}', True),
        ('{"user_id":"z9","friend":{"user_id":"c0000012"}}', False),  # a line of z9
        ('{"user_id":null,"note":"c0000012"}', True),  # names nobody: of everybody who stands in it
        ('["c0000012"]', True),
        ('{"a":1}{"user_id":"c0000012"}', True),
        ("[" * 5_000 + '"c0000012"', True),
        ('{"user_id":"c0000012\ufffd"}', False),
    ],
)
def test_lines_of_json_that_are_odd_or_broken(line: str, is_mine: bool) -> None:
    assert mine([line], "jsonl") == [is_mine]


@pytest.mark.parametrize(
    ("line", "is_mine"),
    [
        ('"123",1,2,pv,1', True),
        (" 123 ,1,2,pv,1", True),
        ("0123,1,2,pv,1", False),
        ("9,123,pv,1", True),  # a column is missing: nobody knows which 123 is
        ('9,"123,1,2,pv,1', True),
        ('9,"a,b",123,pv,1', False),
    ],
)
def test_delimited_lines_that_are_odd_or_broken(line: str, is_mine: bool) -> None:
    assert mine([line], "taobao") == [is_mine]


def test_lines_about_products_are_about_nobody() -> None:
    assert mine(['{"item_id":"c0000012"}', "c0000012"], "catalog") == [False, False]


def test_a_platform_whose_place_is_not_known_is_refused_rather_than_let_in() -> None:
    with pytest.raises(ConfigError, match=r"'newshop'.*PLACES in keep_out\.py"):
        mine(["c0000012"], "newshop")


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None)
@given(
    fields=st.dictionaries(_TEXT.filter(lambda key: key != "user_id"), st.one_of(_TEXT, st.integers(), st.none())),
    place=st.integers(0, 5),
    ascii_only=st.booleans(),
    spaced=st.booleans(),
)
def test_however_a_json_line_is_written_it_is_its_customers_and_nobody_elses(
    fields: dict[str, Any], place: int, ascii_only: bool, spaced: bool
) -> None:
    lines = []
    for user in ("c0000012", "z9"):
        items = list(fields.items())
        items.insert(place, ("user_id", user))
        separators = (" , ", " : ") if spaced else (",", ":")
        lines.append(json.dumps(dict(items), ensure_ascii=ascii_only, separators=separators))
    assert mine(lines, "jsonl") == [True, False]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["1", "12", "123", "1234", "z"]), min_size=1, max_size=50))
def test_all_lines_of_a_block_are_judged_as_each_alone(users: list[str]) -> None:
    lines: list[str | None] = [f"{user},123,2,pv,1" if n % 3 else f"{user},123" for n, user in enumerate(users)]
    assert mine(lines, "taobao") == [mine([line], "taobao")[0] for line in lines]


def test_the_ledger_names_nobody_and_is_its_owners_alone(tmp_path: Path) -> None:
    store = Store(tmp_path, "s")
    assert load_ledger(store) is None
    with store.staging() as staging:
        add_to_ledger(store, ["c0000012"], staging)
        add_to_ledger(store, ["123"], staging)
    path = tmp_path / "s" / "erasure" / "ledger.json"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    found = load_ledger(store)
    assert found
    assert [found.knows(user) for user in ("c0000012", "123", "124")] == [True, True, False]
    from pipelines.core.privacy import load_key

    text, key = path.read_text(), load_key(tmp_path)
    for user in ("c0000012", "123"):
        pseudonym = key.pseudonym(user)
        assert not any(pseudonym[at : at + 8] in text for at in range(0, 64, 8))
    assert "c0000012" not in text


@pytest.mark.parametrize("damage", ["", "[]", '{"entries": 3}'])
def test_a_ledger_that_cannot_be_read_lets_nobody_in(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path, "s")
    with store.staging() as staging:
        add_to_ledger(store, ["c0000012"], staging)
    (tmp_path / "s" / "erasure" / "ledger.json").write_text(damage)
    with pytest.raises(StorageError, match="cannot be read"):
        load_ledger(store)


def test_a_ledger_of_another_key_lets_nobody_in(tmp_path: Path) -> None:
    store = Store(tmp_path, "s")
    with store.staging() as staging:
        add_to_ledger(store, ["c0000012"], staging)
    (tmp_path / "key").unlink()
    with pytest.raises(StorageError, match="another pseudonym key"):
        load_ledger(store)


def test_real_files_lose_exactly_the_lines_of_their_customers() -> None:
    """The first lines of each data set, one of its customers erased: as splitting the line says."""
    data = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    found = {
        "taobao": (sorted(data.glob("taobao-userbehavior/*.csv*")), ",", 0),
        "rees46": (sorted(data.glob("rees46-multicategory/*.csv*")), ",", 7),
    }
    if not all(files for files, _, _ in found.values()):
        pytest.skip("the public data sets are not here")
    for connector, (files, separator, column) in found.items():
        lines = _first_lines(files[0], 5_000)
        users = [line.split(separator)[column] for line in lines]
        person = max(set(users[1:]), key=users.count)
        assert mine(list(lines), connector, person) == [user == person for user in users]


def _first_lines(path: Path, n: int) -> list[str]:
    import gzip
    import zipfile

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            stream: Any = packed.open(packed.namelist()[0])
            return [stream.readline().decode().rstrip("\r\n") for _ in range(n)]
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        return [stream.readline().decode().rstrip("\r\n") for _ in range(n)]


def test_every_platform_says_where_it_names_the_customer() -> None:
    folder = Path(__file__).resolve().parents[2] / "spark_jobs" / "connectors"
    assert set(PLACES) == {path.stem for path in folder.glob("[a-z]*.py")}
    assert np.array([place is None for place in PLACES.values()]).sum() == 1
