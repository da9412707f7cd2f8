"""Which files a catalogue's pictures are, and what is never read."""

import json
from pathlib import Path

import pytest

from pipelines.core import pictures
from pipelines.core.pictures import find, named


def told(name: object) -> str:
    return json.dumps({"color": "red", "image": name})


def test_a_picture_is_named_by_an_attribute_and_nothing_else() -> None:
    assert named(told("pictures/1.jpg")) == "pictures/1.jpg"
    for nothing in (None, "", '{"color": "image"}', told(7), told(["a.jpg"]), '{"image": ', '["image"]'):
        assert named(nothing) == ""


def test_files_inside_the_landing_folder_are_found_with_what_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name, content in {"a.jpg": b"one", "b.PNG": b"two", "c.webp": b"one"}.items():
        (tmp_path / "pictures" / name).write_bytes(content)
    shelf = [("a", told("pictures/a.jpg")), ("b", told("pictures/b.PNG")), ("c", told("pictures/c.webp")), ("d", None)]
    found = find(tmp_path, shelf)
    assert {item: path.name for item, (path, _) in found.files.items()} == {"a": "a.jpg", "b": "b.PNG", "c": "c.webp"}
    assert found.files["a"][1] == found.files["c"][1] != found.files["b"][1]
    assert found.refused == {}
    assert find(tmp_path, shelf[::-1]).digest == found.digest
    (tmp_path / "pictures" / "a.jpg").write_bytes(b"three")
    assert find(tmp_path, shelf).digest != found.digest
    assert find(tmp_path / "gone", [("d", None)]).files == {}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../secret.jpg", "outside the landing folder"),
        ("pictures/../../secret.jpg", "outside the landing folder"),
        ("/etc/hosts.jpg", "outside the landing folder"),
        ("https://shop.example/1.jpg", "outside the landing folder"),
        ("..\\secret.jpg", "outside the landing folder"),
        ("link.jpg", "outside the landing folder"),
        ("folder.jpg", "missing"),
        ("gone.jpg", "missing"),
        ("page.html", "no picture's name"),
        ("drawing.svg", "no picture's name"),
        ("big.jpg", "too large"),
        ("a" * 300 + ".jpg", "unreadable"),
    ],
)
def test_what_may_not_be_read_is_counted_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    landing = tmp_path / "landing"
    (landing / "folder.jpg").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (landing / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (landing / "big.jpg").write_bytes(b"12345")
    for file in ("page.html", "drawing.svg"):
        (landing / file).write_bytes(b"1")
    monkeypatch.setattr(pictures, "MAX_BYTES", 4)
    found = find(landing, [("x", told(name))])
    assert (dict(found.files), dict(found.refused)) == ({}, {why: 1})
