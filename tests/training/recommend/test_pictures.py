"""What items look like: pictures are drawn here, so that what must be near is known."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from pipelines.core.columns import Columns as C
from pipelines.core.errors import WeightsError
from pipelines.core.pictures import Pictures, find
from training.recommend import pictures
from training.recommend.picture_net import WIDTH, PictureNet
from training.recommend.pictures import Shown, embed_pictures, looks, read_picture
from training.recommend.similar import PICTURE, WORDS, nearest_by
from training.recommend.texts import items_of
from training.recommend.towers import item_vectors
from training.weights import PICTURES, resolve

COLOURS = ("crimson", "royalblue", "seagreen")
SHAPES: dict[str, Callable[[ImageDraw.ImageDraw, list[int], str], None]] = {
    "disc": lambda draw, box, colour: draw.ellipse(box, fill=colour),
    "box": lambda draw, box, colour: draw.rectangle(box, fill=colour),
    "wedge": lambda draw, box, colour: draw.regular_polygon((150, 150, 150 - box[0]), 3, fill=colour),
}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `resolve` gives it, of a net that has learnt nothing."""
    folder = tmp_path_factory.mktemp("net")
    torch.manual_seed(0)
    save_file(PictureNet().state_dict(), folder / "model.safetensors")
    return folder


def drawn(folder: Path) -> Pictures:
    """Two pictures of each shape and colour, of different sizes and formats, as a catalogue names them."""
    shelf = []
    for shape, draw in SHAPES.items():
        for colour in COLOURS:
            for name, margin, side in (("large.jpg", 40, 300), ("other.png", 60, 240)):
                image = Image.new("RGB", (300, 300), "white")
                draw(ImageDraw.Draw(image), [margin, margin, 300 - margin, 300 - margin], colour)
                image = image.resize((side, side))
                item = f"{shape}-{colour}-{name}"
                image.save(folder / item)
                shelf.append((item, f'{{"image": "{item}"}}'))
    return find(folder, shelf)


def test_a_picture_is_read_once_and_kept_by_what_is_in_it(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = drawn(tmp_path)
    kept = tmp_path / "kept" / "vectors.safetensors"
    few = {item: found.files[item] for item in list(found.files)[:3]}
    first = embed_pictures(few, net, threads=1, kept=kept)
    assert all(vector.shape == (WIDTH,) for vector in first.vectors.values())
    np.testing.assert_allclose([np.linalg.norm(vector) for vector in first.vectors.values()], 1, atol=1e-5)
    read: list[Path] = []
    monkeypatch.setattr(pictures, "read_picture", lambda path: read.append(path) or read_picture(path))
    some = [*few.values()]
    renamed = {"a": some[0], "b": some[1], "new": [*found.files.values()][5]}
    again = embed_pictures(renamed, net, threads=1, kept=kept)
    assert read == [renamed["new"][0]]
    np.testing.assert_array_equal(again.vectors["a"], next(iter(first.vectors.values())))
    kept.write_bytes(b"damaged")
    assert len(embed_pictures(few, net, threads=1, kept=kept).vectors) == 3


def test_files_that_are_no_pictures_are_told_and_the_others_are_read(net: Path, tmp_path: Path) -> None:
    """Also what claims to be a picture of 900 million pixels: 70 bytes that would fill 2.7 GB."""
    good = Image.new("RGB", (40, 30), "teal")
    good.save(tmp_path / "good.png")
    good.save(tmp_path / "animated.gif")
    (tmp_path / "animated.gif").rename(tmp_path / "animated.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    (tmp_path / "text.jpg").write_bytes(b"<html>")
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    told = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "bomb.png").write_bytes(told + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))
    names = ("good.png", "animated.png", "cut.png", "text.jpg", "bomb.png")
    shown = embed_pictures(find(tmp_path, [(n, f'{{"image": "{n}"}}') for n in names]).files, net, threads=1)
    assert list(shown.vectors) == ["good.png"]
    assert shown.refused == {"damaged": 1, "no JPEG, PNG or WebP, or too many pixels": 3}
    wide = Image.new("L", (1, 50_000))
    wide.save(tmp_path / "wide.png")
    assert isinstance(read_picture(tmp_path / "wide.png"), np.ndarray)


def test_a_picture_is_fitted_whole_on_white_whatever_its_colours(tmp_path: Path) -> None:
    Image.new("RGBA", (100, 50), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (np.asarray(read_picture(tmp_path / "clear.png")) == 255).all()
    Image.new("L", (100, 50), 0).save(tmp_path / "grey.png")
    pixels = read_picture(tmp_path / "grey.png")
    assert isinstance(pixels, np.ndarray)
    assert (pixels[60:160] == 0).all()  # 224 wide, 112 high, in the middle
    assert (pixels[:50] == 255).all()
    assert (pixels[-50:] == 255).all()


def test_looks_are_what_pictures_have_beyond_their_mean_and_nothing_for_items_without() -> None:
    one, two = np.zeros(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    one[:2], two[:2] = (0.8, 0.6), (0.6, 0.8)
    found = looks(Shown({"a": one, "c": two}), np.array(["a", "b", "c"]))
    np.testing.assert_allclose(found[0, :2], [0.5**0.5, -(0.5**0.5)], atol=1e-5)
    np.testing.assert_allclose(found[2], -found[0], atol=1e-6)
    assert not found[1].any()
    assert not looks(Shown({"a": one}), np.array(["a", "b"])).any()  # one alone is near to nobody


def test_a_folder_with_another_model_is_one_clear_line(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="no EfficientNet-Lite0"):
        PictureNet.load(tmp_path)


@pytest.mark.slow
def test_the_converted_net_gives_the_numbers_of_the_package_s_own_engine(weights_cache: Path) -> None:
    net = PictureNet.load(resolve(PICTURES, weights_cache))
    y, x = np.mgrid[:224, :224]
    pixels = torch.tensor(np.stack([np.sin(x / 9), np.cos(y / 13), np.sin((x + y) / 17)])[None], dtype=torch.float32)
    with torch.inference_mode():
        found = net.logits(pixels)[0].numpy()
    # By efficientnet_lite_pytorch 0.1.0 with the same file: the first eight, and the five highest.
    by_engine = [0.6674, 2.5576, -1.3419, -2.5155, -2.6898, -1.1751, -2.3330, -1.6908]
    np.testing.assert_allclose(found[:8], by_engine, atol=2e-4)
    assert found.argsort()[::-1][:5].tolist() == [906, 911, 398, 772, 722]


@pytest.mark.slow
def test_nearest_by_picture_has_the_same_shape_and_an_item_s_vector_in_the_towers_follows(
    weights_cache: Path, tmp_path: Path
) -> None:
    """The net sees form before colour."""
    found = drawn(tmp_path)
    items = np.array(list(found.files))
    view = looks(embed_pictures(found.files, resolve(PICTURES, weights_cache), threads=1), items)
    shape = np.array([item.partition("-")[0] for item in items.tolist()])
    nearest = nearest_by({PICTURE: view}, {PICTURE: 1.0}, np.arange(len(items)), 1)[0][:, 0]
    assert (shape[nearest] == shape).all()
    words = np.zeros((len(items), 4), np.float32)  # titles that say nothing
    fused = nearest_by({WORDS: words, PICTURE: view}, {WORDS: 1.0, PICTURE: 1.0}, np.arange(len(items)), 1)[0][:, 0]
    assert (fused == nearest).all()
    vectors = item_vectors(items_of(pa.table({C.ITEM_ID: items.tolist()})), np.hstack([words, view]))
    cosine = vectors @ vectors.T - 10 * np.eye(len(items))
    assert (shape[cosine.argmax(axis=1)] == shape).all()
