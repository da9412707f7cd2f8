"""Landing: every line of every file becomes one row, whatever it holds and wherever a block of bytes ends."""

import gzip
import io
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import land
from pipelines.core.errors import LandingError
from pipelines.core.shop import Cleaning, Shop
from pipelines.core.storage import Store

NIGHT = date(2026, 3, 2)
PLACE = ["source_file", "line_number", "raw_text", "fault"]


class Landing:
    """A shop with daily drops, its landing folder and its store."""

    def __init__(self, root: Path, pattern: str = "{night}/*.csv*", **given: Any) -> None:
        feeds = {"events": {"connector": "taobao", "pattern": pattern}, **given.pop("feeds", {})}
        self.shop = Shop.model_validate({"shop": "small", "landing": feeds, "features": {"window_nights": 1}, **given})
        self.folder, self.store = root / "landing", Store(root / "store", "small")
        self.folder.mkdir()

    def put(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def run(self, night: date = NIGHT, **options: Any) -> land.Landed:
        return land.run(night, self.shop, self.store, self.folder, **options)

    def rows(self, night: date = NIGHT, table: str = "raw_events") -> list[tuple[Any, ...]]:
        files = self.store.files(table, [night])
        return [tuple(row[name] for name in PLACE) for path in files for row in pq.read_table(path).to_pylist()]

    def lines(self, content: bytes, name: str = "a.csv") -> list[tuple[str, str | None]]:
        """(text, fault) of each line of one file with this content."""
        self.put(f"{NIGHT}/{name}", content)
        self.run()
        return [row[2:] for row in self.rows()]


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path)


# -- lines --------------------------------------------------------------------------------------------------------


def test_lines_keep_their_file_number_and_text_in_order(landing: Landing) -> None:
    landing.put(f"{NIGHT}/b.csv", b"third\nfourth")
    landing.put(f"{NIGHT}/a.csv", b"first\nsecond\n")
    landed = landing.run()
    assert (landed.n_files, landed.n_lines_read, landed.arrivals) == (2, 4, {"events": [NIGHT]})
    assert landing.rows() == [
        (f"{NIGHT}/a.csv", 1, "first", None),
        (f"{NIGHT}/a.csv", 2, "second", None),
        (f"{NIGHT}/b.csv", 1, "third", None),
        (f"{NIGHT}/b.csv", 2, "fourth", None),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n", [("", None)]),
        (b"a", [("a", None)]),
        (b"a\n", [("a", None)]),
        (b"a\n\nb\n\n", [("a", None), ("", None), ("b", None), ("", None)]),
        (b"a\r\nb\r\n", [("a", None), ("b", None)]),
        (b"a\rb\n", [("a\rb", None)]),
        (b"\xef\xbb\xbfa\nb\n", [("a", None), ("b", None)]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbf\n", [("", None)]),
        (b"a\n\xef\xbb\xbfb\n", [("a", None), ("\ufeffb", None)]),
        (b"\xef\xbb", [("\ufffd", "bad_encoding")]),
        (b"a\0b\nc\n", [("a\ufffdb", "nul_byte"), ("c", None)]),
        (b"a\xffb\nc\r\n", [("a\ufffdb", "bad_encoding"), ("c", None)]),
        (b"\xed\xa0\x80\n", [("\ufffd\ufffd\ufffd", "bad_encoding")]),
        ("é茶😀\n".encode(), [("é茶😀", None)]),
        ("a\n".encode("utf-16"), [("\ufffd\ufffda\ufffd", "nul_byte"), ("\ufffd", "nul_byte")]),
        ("é\n".encode("latin-1"), [("\ufffd", "bad_encoding")]),
        ("a\u2028b\x0bc\x85d\x1ce\n".encode(), [("a\u2028b\x0bc\x85d\x1ce", None)]),
    ],
)
def test_a_line_ends_at_a_line_feed_and_nowhere_else(
    content: bytes, expected: list[tuple[str, str | None]], landing: Landing
) -> None:
    assert landing.lines(content) == expected


def test_a_line_at_the_limit_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    landing = Landing(tmp_path, cleaning={"max_line_bytes": 256, "max_quarantine_chars": 50})
    assert landing.lines(b"x" * 256 + b"\n" + b"y" * 257 + b"\nz\n") == [
        ("x" * 256, None),
        ("y" * 50, "line_too_long"),
        ("z", None),
    ]


def test_a_line_of_ten_megabytes_takes_the_memory_of_a_block(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(land, "_BLOCK_BYTES", 1 << 18)
    landing.put(f"{NIGHT}/a.csv", b"before\n" + b"x" * 10_000_000 + b"\nafter\n" + b"y" * 10_000_000)
    landing.run()  # imports what it needs
    tracemalloc.start()
    landing.run(force=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row[1:] for row in landing.rows()] == [
        (1, "before", None),
        (2, "x" * 1000, "line_too_long"),
        (3, "after", None),
        (4, "y" * 1000, "line_too_long"),
    ]
    assert peak < 4_000_000


dirty_bytes = st.lists(
    st.sampled_from([b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"a", b'"', "é".encode(), "😀".encode()])
    | st.sampled_from([b"x" * 100, b"y" * 255, b"z" * 300])
    | st.binary(max_size=3),
    max_size=30,
).map(b"".join)  # fmt: skip
CLEANING = Cleaning(max_line_bytes=256, max_quarantine_chars=50)


def _read(content: bytes) -> list[tuple[str, str | None]]:
    blocks = land._blocks(io.BytesIO(content), Path("a.csv"), CLEANING)
    return [pair for texts, faults in blocks for pair in zip(texts.to_pylist(), faults.to_pylist(), strict=True)]


@settings(deadline=None, max_examples=300)
@given(content=dirty_bytes, block=st.integers(1, 700))
def test_where_a_block_ends_makes_no_difference(content: bytes, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(land, "_BLOCK_BYTES", block)
        found = _read(content)
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    expected = lines if lines[-1] else lines[:-1]
    assert len(found) == len(expected)
    for (text, fault), line in zip(found, expected, strict=True):
        assert fault == _fault(line)
        if fault:
            assert text == line[:256].decode(errors="replace").replace("\0", "\ufffd")[:50]
        else:
            assert text.encode() == line.rstrip(b"\r")


def _fault(line: bytes) -> str | None:
    if len(line) > 256:
        return "line_too_long"
    if b"\0" in line:
        return "nul_byte"
    try:
        line.decode()
    except UnicodeDecodeError:
        return "bad_encoding"
    return None


# -- files --------------------------------------------------------------------------------------------------------


def _zip(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def test_gz_of_one_or_several_members_is_unpacked(landing: Landing) -> None:
    content = gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n")
    assert landing.lines(content, "a.csv.gz") == [("a", None), ("bc", None), ("d", None)]


def test_every_member_of_a_zip_is_a_file_of_its_own(landing: Landing) -> None:
    members = {
        "two.csv": b"\xef\xbb\xbfc\nd",
        "deep/er/": b"",
        "deep/er/one.csv": b"a\nb\n",
        "__MACOSX/._two.csv": b"\0",
        "deep/.DS_Store": b"\0",
    }
    landing.put(f"{NIGHT}/a.csv.zip", _zip(members))
    landing.run()
    assert landing.rows() == [
        (f"{NIGHT}/a.csv.zip/deep/er/one.csv", 1, "a", None),
        (f"{NIGHT}/a.csv.zip/deep/er/one.csv", 2, "b", None),
        (f"{NIGHT}/a.csv.zip/two.csv", 1, "c", None),
        (f"{NIGHT}/a.csv.zip/two.csv", 2, "d", None),
    ]


def _broken_zip() -> bytes:
    packed = bytearray(_zip({"a.csv": os.urandom(5000)}))
    packed[2000] ^= 0xFF
    return bytes(packed)


def _encrypted_zip() -> bytes:
    packed = bytearray(_zip({"a.csv": b"a\n"}))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(signature) + at] |= 1  # the flag that says so
    return bytes(packed)


def _twice_named_zip() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", b"a\n")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.csv", b"b\n")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("a.csv.gz", lambda: gzip.compress(os.urandom(50_000))[:-5000], "ended before"),
        ("a.csv.gz", lambda: gzip.compress(b"a\n")[:-3], "ended before"),
        ("a.csv.gz", lambda: b"a,b,c\n", "Not a gzipped file"),
        ("a.csv.gz", lambda: gzip.compress(b"a\n" * 999)[:11] + b"\xff" * 30, "."),
        ("a.csv.zip", lambda: b"PK no zip", "not a zip file"),
        ("a.csv.zip", _broken_zip, "."),
        ("a.csv.zip", _encrypted_zip, "encrypted"),
        ("a.csv.zip", _twice_named_zip, "two members have the same name"),
    ],
)
def test_a_packed_file_that_cannot_be_read_to_its_end_lands_nothing(
    name: str, make: Callable[[], bytes], reason: str, landing: Landing
) -> None:
    landing.put(f"{NIGHT}/0-good.csv", b"a\nb\n")
    landing.put(f"{NIGHT}/{name}", make())
    with pytest.raises(LandingError, match=reason) as told:
        landing.run()
    assert str(landing.folder / str(NIGHT) / name) in str(told.value)
    assert "\n" not in str(told.value)
    assert landing.store.manifest("raw_events", NIGHT) is None
    assert not list((landing.store.folder / ".staging").iterdir())


def test_a_broken_file_leaves_what_was_landed_before(landing: Landing) -> None:
    landing.lines(b"a\n")
    landing.put(f"{NIGHT}/b.csv.gz", gzip.compress(b"b\n" * 500)[:-9])
    with pytest.raises(LandingError):
        landing.run()
    assert [row[2] for row in landing.rows()] == ["a"]


def test_an_empty_file_and_an_empty_archive_are_files_of_no_lines(landing: Landing) -> None:
    for name, content in (("a.csv", b""), ("b.csv.gz", gzip.compress(b"")), ("c.csv.zip", _zip({}))):
        landing.put(f"{NIGHT}/{name}", content)
    assert landing.run().n_lines_read == 0
    assert landing.rows() == []
    assert landing.store.manifest("raw_events", NIGHT) is not None


def test_hidden_files_are_still_arriving(landing: Landing) -> None:
    landing.put(f"{NIGHT}/a.csv", b"a\n")
    landing.put(f"{NIGHT}/.b.csv.part", b"b\n")
    landing.put(f"{NIGHT}/.b.csv", b"b\n")
    landing.run()
    assert [row[2] for row in landing.rows()] == ["a"]


def test_files_in_a_hidden_folder_are_not_taken(tmp_path: Path) -> None:
    landing = Landing(tmp_path, pattern="**/{night}*.csv")
    landing.put(f"deep/{NIGHT}-a.csv", b"a\n")
    landing.put(f".tmp/{NIGHT}-b.csv", b"b\n")
    landing.run()
    assert [row[0] for row in landing.rows()] == [f"deep/{NIGHT}-a.csv"]


def test_only_what_the_pattern_names_is_landed(landing: Landing) -> None:
    landing.put(f"{NIGHT}/a.csv", b"a\n")
    landing.put(f"{NIGHT}/SOURCE.md", b"b\n")
    landing.put(f"{NIGHT}/peers/c.csv", b"c\n")
    landing.run()
    assert [row[2] for row in landing.rows()] == ["a"]


def test_a_link_that_leads_out_of_the_folder_is_refused(landing: Landing, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("secret\n")
    inside = landing.put(f"{NIGHT}/a.csv", b"a\n")
    (inside.parent / "b.csv").symlink_to(inside)
    landing.run()
    assert [row[2] for row in landing.rows()] == ["a", "a"]
    (inside.parent / "c.csv").symlink_to(secret)
    with pytest.raises(LandingError, match=r"c\.csv: leads out of the landing folder"):
        landing.run()


def test_a_folder_link_that_leads_out_is_refused(landing: Landing, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.csv").write_text("secret\n")
    (landing.folder / str(NIGHT)).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LandingError, match="leads out of the landing folder"):
        landing.run()


def test_a_name_that_is_not_utf8_is_refused_in_one_line(landing: Landing) -> None:
    folder = os.fsencode(landing.folder / str(NIGHT))
    os.mkdir(folder)  # noqa: PTH102
    with open(folder + b"/a\xff.csv", "wb") as file:  # noqa: PTH123
        file.write(b"a\n")
    with pytest.raises(LandingError, match="name is not UTF-8"):
        landing.run()


def test_a_file_that_may_not_be_read_is_told_in_one_line(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    path = landing.put(f"{NIGHT}/a.csv", b"a\n")

    def refuse(found: Path) -> str:
        raise PermissionError(13, "Permission denied", str(found))

    monkeypatch.setattr(land, "file_hash", refuse)
    with pytest.raises(LandingError) as told:
        landing.run()
    assert str(told.value) == f"{path}: cannot be read: Permission denied; check its permissions, then run again"


def test_a_disk_that_fails_in_the_middle_lands_nothing(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    landing.put(f"{NIGHT}/a.csv.gz", b"")

    class Failing(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)

    monkeypatch.setattr(land.gzip, "open", lambda path: Failing(b"a\n" * 10))
    with pytest.raises(LandingError, match="Input/output error"):
        landing.run()
    assert landing.store.manifest("raw_events", NIGHT) is None


def test_a_file_that_changes_while_it_is_read_lands_nothing(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    path = landing.put(f"{NIGHT}/a.csv", b"a\n")
    write = land._write_lines

    def write_late(*given: Any) -> int:
        path.write_bytes(b"a\nb\n")
        return write(*given)

    monkeypatch.setattr(land, "_write_lines", write_late)
    with pytest.raises(LandingError, match=r"a\.csv: changed while it was read"):
        landing.run()
    assert landing.store.manifest("raw_events", NIGHT) is None


# -- again --------------------------------------------------------------------------------------------------------


def test_nothing_new_is_not_read_again(landing: Landing) -> None:
    landing.lines(b"a\n")
    before = landing.store.manifest("raw_events", NIGHT)
    again = landing.run()
    assert (again.n_files, again.n_lines_read, again.arrivals) == (0, 0, {"events": [NIGHT]})
    assert landing.store.manifest("raw_events", NIGHT) == before


def test_a_changed_file_is_landed_again_and_the_same_bytes_make_the_same_table(landing: Landing) -> None:
    landing.lines(b"a\n")
    first = landing.store.manifest("raw_events", NIGHT)
    assert landing.lines(b"a\nb\n") == [("a", None), ("b", None)]
    landing.lines(b"a\n")
    assert landing.store.manifest("raw_events", NIGHT) == first
    landing.run(force=True)
    assert landing.store.manifest("raw_events", NIGHT) == first


def test_what_was_landed_stays_when_all_its_files_are_gone(landing: Landing) -> None:
    landing.lines(b"a\n")
    (landing.folder / str(NIGHT) / "a.csv").unlink()
    assert landing.run().arrivals == {"events": [NIGHT]}
    assert [row[2] for row in landing.rows()] == ["a"]


def test_late_arrivals_of_the_window_are_looked_for(landing: Landing) -> None:
    landing.put("2026-02-23/a.csv", b"seven nights before\n")
    landing.put("2026-02-22/a.csv", b"eight\n")
    landing.put("2026-03-03/a.csv", b"tomorrow\n")
    assert landing.run().arrivals == {"events": [date(2026, 2, 23)]}


def test_an_archive_is_one_arrival_however_many_nights_it_holds(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    source = {"connector": "taobao", "pattern": "*.csv", "first_night": "2026-03-01", "last_night": "2026-03-05"}
    landing.shop = Shop.model_validate({"shop": "small", "landing": {"events": source}})
    landing.put("b.csv", b"b\n")
    landing.put("a.csv", b"a\n")
    assert landing.run().arrivals == {"events": [date(2026, 3, 5)]}
    assert [row[2] for row in landing.rows(date(2026, 3, 5))] == ["a", "b"]


def test_each_feed_lands_in_its_own_table(tmp_path: Path) -> None:
    feeds = {"reviews": {"connector": "reviews", "pattern": "{night}/reviews*"}}
    landing = Landing(tmp_path, feeds=feeds)
    landing.put(f"{NIGHT}/a.csv", b"a\n")
    landing.put(f"{NIGHT}/reviews.jsonl", b"{}\n{}\n")
    assert landing.run().arrivals == {"events": [NIGHT], "reviews": [NIGHT]}
    assert len(landing.rows(table="raw_reviews")) == 2


def test_a_missing_folder_and_a_folder_without_events_are_told_in_one_line(landing: Landing, tmp_path: Path) -> None:
    with pytest.raises(LandingError, match=r"expected '\{night\}/\*\.csv\*' for 2026-03-02"):
        landing.run()
    with pytest.raises(LandingError, match="nowhere is missing; name one with --landing"):
        land.run(NIGHT, landing.shop, landing.store, tmp_path / "nowhere")
