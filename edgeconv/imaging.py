"""Photographs to network inputs, in NumPy; decoding a file needs Pillow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgeconv.errors import ArtifactError, ToolchainError, UsageError

# Photographs inside scikit-image's wheel that show an ImageNet class.
_DEMO = ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")


@dataclass(frozen=True)
class Preprocessing:
    """How a network was fed in its training.

    Attributes:
        size: height and width of the input, pixels.
        mean: subtracted from each RGB channel, on the scale 0 to 1.
        std: each channel is divided by it, after the mean.
        crop: side of the centre square kept, as a fraction of the photograph's shorter side;
            None keeps the whole photograph, stretched to `size`.
        interpolation: kernel of the antialiased resize.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    crop: float | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def __call__(self, photograph: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Turn (H, W, 3) uint8 RGB into a (3, *size) float32 array.

        Raises:
            UsageError: the array has another shape or dtype.
        """
        if photograph.ndim != 3 or photograph.shape[2] != 3:
            raise UsageError(f"a photograph is (H, W, 3), this array is {photograph.shape}")
        if photograph.dtype != np.uint8:
            raise UsageError(f"a photograph is uint8, this array is {photograph.dtype}")
        if self.crop is not None:
            photograph = _centre_square(photograph, self.crop)
        pixels = resize(
            photograph.astype(np.float32) / np.float32(255), self.size, self.interpolation
        )
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        pixels = (np.clip(pixels, 0, 1) - mean) / std
        return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Preprocessing:
        """Rebuild from `dataclasses.asdict`'s dict after a round trip through JSON.

        Raises:
            ArtifactError: the dict is none of those, so the artifact that holds it is damaged.
        """
        try:
            sequences = {key: tuple(data[key]) for key in ("size", "mean", "std")}
            return Preprocessing(**{**data, **sequences})
        except (KeyError, TypeError) as error:
            raise ArtifactError(
                f"manifest.json: preprocessing: {error!r}; compile the model again"
            ) from None


def load_batch(
    paths: Iterable[str | Path], preprocessing: Preprocessing
) -> npt.NDArray[np.float32]:
    """Decode photographs and stack them to (N, 3, H, W) float32.

    Raises:
        UsageError: no path was given, or a file is missing or no image.
        ToolchainError: Pillow is not installed.
    """
    photographs = [preprocessing(read_photograph(path)) for path in paths]
    if not photographs:
        raise UsageError("no photograph was given")
    return np.stack(photographs)


def read_photograph(path: str | Path) -> npt.NDArray[np.uint8]:
    """Decode a PNG, JPEG or other image file to (H, W, 3) uint8 RGB.

    Raises:
        UsageError: the file is missing or no image.
        ToolchainError: Pillow is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if find_spec("PIL") is None:
        raise ToolchainError(f"{path}: reading photographs needs Pillow: pip install pillow")
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path}: cannot be read as an image ({error})") from error


def resize(
    image: npt.NDArray[np.float32],
    size: tuple[int, int],
    interpolation: Literal["bilinear", "bicubic"],
) -> npt.NDArray[np.float32]:
    """Resample (H, W, C) to (*size, C), antialiased: the kernel widens when shrinking."""
    rows = _resampling_matrix(image.shape[0], size[0], interpolation)
    columns = _resampling_matrix(image.shape[1], size[1], interpolation)
    shrunk: npt.NDArray[np.float32] = np.tensordot(rows, image, axes=1)
    return (columns @ shrunk).astype(np.float32, copy=False)


def demo_photographs() -> dict[str, Path]:
    """Return photographs that scikit-image ships, by name, for demonstrations and tests.

    Raises:
        ToolchainError: scikit-image is not installed.
    """
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise ToolchainError(
            "the demo photographs come with scikit-image: pip install scikit-image"
        )
    folder = Path(spec.origin).parent / "data"
    return {Path(name).stem: folder / name for name in _DEMO if (folder / name).is_file()}


def _centre_square(image: npt.NDArray[np.uint8], fraction: float) -> npt.NDArray[np.uint8]:
    """Cut the centre square whose side is `fraction` of the shorter side."""
    height, width = image.shape[:2]
    side = max(1, round(min(height, width) * fraction))
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _resampling_matrix(
    source: int, target: int, interpolation: Literal["bilinear", "bicubic"]
) -> npt.NDArray[np.float32]:
    """Return the (target, source) weights of a one-dimensional resize; every row sums to 1."""
    step = source / target
    stretch = max(step, 1.0)
    centres = (np.arange(target) + 0.5) * step - 0.5
    distance = np.abs(np.arange(source)[None, :] - centres[:, None]) / stretch
    if interpolation == "bilinear":
        weights = np.maximum(0.0, 1.0 - distance)
    else:
        # Keys' cubic convolution with a = -0.5.
        near = (1.5 * distance - 2.5) * distance**2 + 1.0
        far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
        weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    weights = weights / weights.sum(axis=1, keepdims=True)
    return np.asarray(weights, np.float32)
