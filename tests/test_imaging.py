import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeconv.errors import UsageError
from edgeconv.imaging import Preprocessing, demo_photographs, load_batch, read_photograph, resize


@pytest.mark.parametrize(
    ("interpolation", "filter_"),
    [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)],
)
@pytest.mark.parametrize("size", [(20, 31), (90, 75)])
def test_resize_agrees_with_pillow(interpolation: str, filter_: int, size: tuple) -> None:
    image = np.random.default_rng(0).random((50, 64, 1), np.float32)
    want = Image.fromarray(image[:, :, 0]).resize(size[::-1], filter_)
    np.testing.assert_allclose(resize(image, size, interpolation)[:, :, 0], want, atol=2e-3)


@settings(deadline=None)
@given(
    source=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
def test_resize_keeps_a_constant_picture(source: tuple, target: tuple, interpolation: str) -> None:
    image = np.full((*source, 3), 0.25, np.float32)
    got = resize(image, target, interpolation)
    assert got.shape == (*target, 3)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, 0.25, rtol=1e-5)


def test_preprocessing_normalises_each_channel() -> None:
    photograph = np.zeros((8, 12, 3), np.uint8)
    photograph[:] = (255, 0, 51)
    x = Preprocessing((4, 5), mean=(0.5, 0.5, 0.2), std=(0.5, 0.25, 1.0))(photograph)
    assert x.shape == (3, 4, 5)
    np.testing.assert_allclose(x, np.broadcast_to([[[1.0]], [[-2.0]], [[0.0]]], x.shape), atol=1e-6)


def test_crop_keeps_the_centre() -> None:
    photograph = np.zeros((10, 20, 3), np.uint8)
    photograph[:, 5:15] = 255
    white = Preprocessing((6, 6), (0.0,) * 3, (1.0,) * 3, crop=1.0)(photograph)
    stretched = Preprocessing((6, 6), (0.0,) * 3, (1.0,) * 3)(photograph)
    assert white.min() == 1.0
    assert stretched.min() == 0.0


def test_preprocessing_survives_json() -> None:
    record = Preprocessing((32, 33), crop=0.9, interpolation="bicubic")
    assert Preprocessing.from_json(json.loads(json.dumps(dataclasses.asdict(record)))) == record


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))]
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(UsageError, match="a photograph is"):
        Preprocessing((4, 4))(array)


def test_files_that_are_no_image_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "note.png"
    text.write_text("not a picture")
    with pytest.raises(UsageError, match=r"note\.png: cannot be read as an image"):
        read_photograph(text)
    with pytest.raises(UsageError, match="no such file"):
        read_photograph(tmp_path / "missing.png")
    with pytest.raises(UsageError, match="no photograph"):
        load_batch([], Preprocessing((4, 4)))


def test_grey_and_transparent_files_become_rgb(tmp_path: Path) -> None:
    for mode in ("L", "RGBA", "P"):
        path = tmp_path / f"{mode}.png"
        Image.new(mode, (5, 4)).save(path)
        assert read_photograph(path).shape == (4, 5, 3)


def test_demo_photographs_are_colour_pictures() -> None:
    photographs = demo_photographs()
    assert {"chelsea", "coffee", "rocket"} <= set(photographs)
    batch = load_batch(photographs.values(), Preprocessing((16, 16)))
    assert batch.shape == (len(photographs), 3, 16, 16)
