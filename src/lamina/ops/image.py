"""Functions of images: (height, width, channels) or a batch of them, in either data format."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch.nn import functional

from lamina.base import config
from lamina.base.registry import public
from lamina.graph.record import op
from lamina.ops.convert import Tensor, as_float, as_tensor, no_such_name, saturate_cast

# Names of keras.ops.image that are still to come.
_UNFINISHED = (
    "affine_transform",
    "elastic_transform",
    "extract_patches",
    "extract_patches_3d",
    "gaussian_blur",
    "hsv_to_rgb",
    "map_coordinates",
    "perspective_transform",
    "rgb_to_hsv",
    "scale_and_translate",
    "sobel_edges",
    "ssim",
)
_MODES = {"nearest": "nearest-exact", "bilinear": "bilinear", "bicubic": "bicubic"}


def __getattr__(name: str) -> NoReturn:
    raise no_such_name("ops.image", name, _UNFINISHED, globals())


def _batched(images: Tensor, data_format: str) -> Tensor:
    """A batch of channels-first images."""
    if images.ndim not in (3, 4):
        raise ValueError(f"Images have 3 axes, or 4 with the batch; got shape {tuple(images.shape)}.")
    batch = images if images.ndim == 4 else images.unsqueeze(0)
    return batch if data_format == "channels_first" else torch.moveaxis(batch, -1, 1)


def _as_given(batch: Tensor, images: Tensor, data_format: str) -> Tensor:
    result = batch if data_format == "channels_first" else torch.moveaxis(batch, 1, -1)
    return result if images.ndim == 4 else result.squeeze(0)


def _to_aspect(batch: Tensor, size: tuple[int, int], crop: bool, pad: bool, fill_value: float) -> Tensor:
    """Cut or filled around the centre, to the aspect ratio of a size."""
    height, width = batch.shape[2:]
    fitting = (int(width * size[0] / size[1]), int(height * size[1] / size[0]))
    if crop:
        rows, columns = min(height, fitting[0]), min(width, fitting[1])
        top, left = (height - rows) // 2, (width - columns) // 2
        return batch[:, :, top : top + rows, left : left + columns]
    if pad:
        # An odd rest is left away, as in Keras, so that both sides are alike.
        top, left = max(fitting[0] - height, 0) // 2, max(fitting[1] - width, 0) // 2
        return functional.pad(batch, [left, left, top, top], value=fill_value)
    return batch


@public("ops", name="image.resize")
@op
def resize(
    images: Any,
    size: tuple[int, int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Tensor:
    """Images in another size: (…, h, w, c) to (…, *size, c), of the same type.

    Parameters: `interpolation`, `"nearest"`, `"bilinear"` or `"bicubic"`; `antialias`, whether a wider filter is used
    when images shrink; `crop_to_aspect_ratio` cuts and `pad_to_aspect_ratio` fills (with `fill_value`) so that nothing
    is distorted.

    >>> resize(torch.ones(2, 8, 8, 3), (4, 6)).shape
    torch.Size([2, 4, 6, 3])
    """
    if interpolation not in _MODES:
        raise ValueError(f"interpolation is {', '.join(map(repr, _MODES))}; got {interpolation!r}.")
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other.")
    if fill_mode != "constant":
        raise ValueError(f"fill_mode is 'constant'; got {fill_mode!r}.")
    data_format = config.standardize_data_format(data_format)
    images, (height, width) = as_tensor(images), size
    batch = _batched(as_float(images), data_format)
    batch = _to_aspect(batch, (height, width), crop_to_aspect_ratio, pad_to_aspect_ratio, fill_value)
    mode = _MODES[interpolation]
    smooth = mode != "nearest-exact"
    resized = functional.interpolate(
        batch,
        (int(height), int(width)),
        mode=mode,
        align_corners=False if smooth else None,
        antialias=antialias and smooth,
    )
    if not images.dtype.is_floating_point:
        resized = saturate_cast(torch.round(resized), images.dtype)
    return _as_given(resized, images, data_format)


@public("ops", name="image.rgb_to_grayscale")
@op
def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Tensor:
    """The brightness `0.2989 r + 0.5870 g + 0.1140 b`: (…, h, w, 3) to (…, h, w, 1).

    >>> rgb_to_grayscale(torch.ones(4, 4, 3)).shape
    torch.Size([4, 4, 1])
    """
    axis = -1 if config.standardize_data_format(data_format) == "channels_last" else -3
    images = as_tensor(images)
    red, green, blue = torch.unbind(as_float(images), axis)
    return torch.unsqueeze(0.2989 * red + 0.5870 * green + 0.1140 * blue, axis).to(images.dtype)


def _resolve(
    before: int | None, after: int | None, total: int | None, size: int, sign: int, what: str
) -> tuple[int, int]:
    """Both margins from two of: the margin before, the margin after, the size in the end."""
    if [before, after, total].count(None) != 1:
        raise ValueError(f"Two of the three numbers for the {what} must be given.")
    if before is None:
        return sign * (int(total or 0) - size) - int(after or 0), int(after or 0)
    if after is None:
        return before, sign * (int(total or 0) - size) - before
    return before, after


@public("ops", name="image.pad_images")
@op
def pad_images(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Images with zeros around them; of top, bottom and target height two are given, of left, right and width too.

    >>> pad_images(torch.ones(4, 4, 3), 1, 2, target_height=8, target_width=8).shape
    torch.Size([8, 8, 3])
    """
    data_format = config.standardize_data_format(data_format)
    images = as_tensor(images)
    batch = _batched(images, data_format)
    height, width = batch.shape[2:]
    top, bottom = _resolve(top_padding, bottom_padding, target_height, height, 1, "height")
    left, right = _resolve(left_padding, right_padding, target_width, width, 1, "width")
    if min(top, bottom, left, right) < 0:
        raise ValueError(f"pad_images() cannot make {height}x{width} images smaller.")
    return _as_given(functional.pad(batch, [left, right, top, bottom]), images, data_format)


@public("ops", name="image.crop_images")
@op
def crop_images(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Images without margins; of top, bottom and target height two are given, of left, right and width too.

    >>> crop_images(torch.ones(8, 8, 3), 1, 2, target_height=4, target_width=4).shape
    torch.Size([4, 4, 3])
    """
    data_format = config.standardize_data_format(data_format)
    images = as_tensor(images)
    batch = _batched(images, data_format)
    height, width = batch.shape[2:]
    top, bottom = _resolve(top_cropping, bottom_cropping, target_height, height, -1, "height")
    left, right = _resolve(left_cropping, right_cropping, target_width, width, -1, "width")
    if min(top, bottom, left, right) < 0 or top + bottom >= height or left + right >= width:
        raise ValueError(f"crop_images() cannot take this from {height}x{width} images.")
    return _as_given(batch[:, :, top : height - bottom, left : width - right], images, data_format)
