"""Convolutions: one `Conv` for all ranks, one transposed, one depthwise, one separable; the classes set the rank."""

from __future__ import annotations

from typing import Any

import torch

from lamina.base.errors import warn_shape
from lamina.base.registry import public
from lamina.engine.forms import Convolution, Form
from lamina.engine.kernels import convolve, convolve_transposed, depthwise_kernel, torch_kernel
from lamina.engine.layout import as_given
from lamina.layers.inference import activation_forms
from lamina.layers.input_layer import InputLayer
from lamina.layers.parts import expect_size, known_size, per_axis, positive_integer, take_parts
from lamina.layers.windowed import SpatialLayer, padding_name
from lamina.shapes import Axes, Size, TransposedWindow, Window, multiply, total, value_of


class ConvBase(SpatialLayer):
    """The arguments, the windows and the bias that every convolution has."""

    paddings: tuple[str, ...] = ("valid", "same")

    def set_windows(self, kernel_size: Any, strides: Any, padding: Any, data_format: Any, dilation_rate: Any) -> None:
        name = type(self).__name__
        self.kernel_size = per_axis(kernel_size, self.rank, f"{name}: kernel_size")
        self.strides = per_axis(strides, self.rank, f"{name}: strides")
        self.dilation_rate = per_axis(dilation_rate, self.rank, f"{name}: dilation_rate")
        self.padding = padding_name(padding, self.paddings, name)
        self.set_data_format(data_format)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{name}: strides and dilation_rate cannot both be above 1; got {strides} and {dilation_rate}."
            )
        self.bias: Any = None
        self._fixed_channels: int | None = None

    @property
    def windows(self) -> list[Window]:
        """The window of each spatial axis."""
        zipped = zip(self.kernel_size, self.strides, self.dilation_rate, strict=True)
        return [Window(kernel, stride, dilation, self.padding) for kernel, stride, dilation in zipped]

    @property
    def kernel_axes(self) -> tuple[str, ...]:
        return tuple(f"kernel {name}" if self.rank > 1 else "kernel size" for name in self.spatial_names)

    def positions(self, axes: Axes) -> list[Size]:
        """The sizes of the spatial axes: how often the kernel is applied."""
        return [axes[name] for name in self.spatial_names]

    def fix_channels(self, input_shape: Any) -> int:
        """The number of input channels for which the weights are made."""
        axes = Axes(self.axis_names(len(input_shape)), tuple(input_shape))
        self.slide(axes, [Window(1)] * self.rank)  # the rank
        self._fixed_channels = known_size(self, axes, "channels")
        return self._fixed_channels

    def add_bias(self, filters: int) -> None:
        if self.use_bias:  # type: ignore[attr-defined]
            parts = {"regularizer": self.bias_regularizer, "constraint": self.bias_constraint}  # type: ignore[attr-defined]
            self.bias = self.add_weight((filters,), self.bias_initializer, name="bias", axes=("filters",), **parts)  # type: ignore[attr-defined]

    def as_form(self, weight: torch.Tensor, groups: int) -> list[Form] | None:
        """The convolution for folded programs, which know two spatial axes."""
        if self.rank != 2:
            return None
        form = Convolution(weight.detach(), self.bias, tuple(self.windows), groups, self.data_format)
        return [form, *activation_forms(self.activation)]  # type: ignore[attr-defined]

    def expect_channels(self, inputs: Axes, because: str) -> None:
        if inputs.rank == self.rank + 2:
            expect_size(self, inputs, "channels", self._fixed_channels, "kernel", because)


class Conv(ConvBase):
    """The convolution of `Conv1D`, `Conv2D` and `Conv3D`."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        name = type(self).__name__
        self.filters = positive_integer(filters, f"{name}: filters")
        self.groups = positive_integer(groups, f"{name}: groups")
        if self.filters % self.groups:
            raise ValueError(f"{name}: the number of filters, {filters}, must be a multiple of groups, {groups}.")
        self.set_windows(kernel_size, strides, padding, data_format, dilation_rate)
        self.use_bias = use_bias
        take_parts(
            self,
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )
        self.kernel: Any = None

    def build(self, input_shape: Any) -> None:
        channels = self.fix_channels(input_shape)
        if channels % self.groups:
            raise ValueError(
                f"{self.title}: its {channels} input channels must be a multiple of groups, {self.groups}."
            )
        per_group = "input channels" if self.groups == 1 else "input channels of a group"
        self.kernel = self.add_weight(
            (*self.kernel_size, channels // self.groups, self.filters),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
            axes=(*self.kernel_axes, per_group, "filters"),
            memory_order=(self.rank + 1, *range(self.rank), self.rank),
        )
        self.add_bias(self.filters)

    def look_at_input(self, shape: Any, source: Any) -> None:
        super().look_at_input(shape, source)
        history = getattr(source, "_keras_history", None)
        if history is None or isinstance(history.operation, InputLayer):  # a feature map may have any proportions
            warn_if_swapped(self, tuple(shape))

    def shape_rule(self, inputs: Axes) -> Axes:
        if self.kernel is not None:
            self.expect_channels(
                inputs, f"its kernel is {tuple(self.kernel.shape)}: it was made for this number of channels"
            )
        return self.slide(inputs, self.windows).replace(channels=self.filters)

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        channels = inputs[0]["channels"]
        per_group = None if channels is None else channels // self.groups
        return multiply([*self.positions(outputs[0]), *self.kernel_size, per_group, self.filters])

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        kernel = self.kernel
        x = self.channels_second(inputs if inputs.dtype is kernel.dtype else inputs.to(kernel.dtype))
        outputs = convolve(x, torch_kernel(kernel), self.bias, self.windows, self.groups)
        return self.activation(as_given(outputs, self.data_format))

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return self.as_form(torch_kernel(self.kernel), self.groups)


@public("layers", "Convolution1D")
class Conv1D(Conv):
    """Convolution over steps.

    Shapes: (batch, steps, channels) → (batch, ⌊(steps + pad − reach)/stride⌋ + 1, filters), reach =
    dilation·(kernel − 1) + 1; "causal" pads in front only. Parameters: kernel·channels/groups·filters + filters.

    >>> import lamina
    >>> lamina.layers.Conv1D(8, 3)(lamina.Input((10, 4))).shape
    (None, 8, 8)
    """

    rank = 1
    paddings = ("valid", "same", "causal")


@public("layers", "Convolution2D")
class Conv2D(Conv):
    """Convolution over height and width.

    Shapes: (batch, height, width, channels) → (batch, ⌊(height + pad − reach)/stride⌋ + 1, ..., filters), or
    ⌈height/stride⌉ with padding="same"; channels in front with `data_format="channels_first"`.
    Parameters: kernel height·kernel width·channels/groups·filters + filters.
    Errors: a ShapeError for a kernel larger than the image, and for another number of channels once it is built.

    >>> import lamina
    >>> lamina.layers.Conv2D(64, 7, strides=2, padding="same")(lamina.Input((224, 224, 3))).shape
    (None, 112, 112, 64)
    """

    rank = 2


@public("layers", "Convolution3D")
class Conv3D(Conv):
    """Convolution over depth, height and width.

    Shapes: (batch, depth, height, width, channels) → as `Conv2D`, with one more axis.
    Parameters: kernel depth·kernel height·kernel width·channels/groups·filters + filters.

    >>> import lamina
    >>> lamina.layers.Conv3D(4, 3)(lamina.Input((8, 8, 8, 1))).shape
    (None, 6, 6, 6, 4)
    """

    rank = 3


class ConvTranspose(ConvBase):
    """The transposed convolution of `Conv1DTranspose`, `Conv2DTranspose` and `Conv3DTranspose`."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        name = type(self).__name__
        self.filters = positive_integer(filters, f"{name}: filters")
        self.set_windows(kernel_size, strides, padding, data_format, dilation_rate)
        self.output_padding = (
            None
            if output_padding is None
            else per_axis(output_padding, self.rank, f"{name}: output_padding", minimum=0)
        )
        if self.output_padding and any(p >= s for p, s in zip(self.output_padding, self.strides, strict=True)):
            raise ValueError(f"{name}: output_padding {output_padding} must be smaller than the strides {strides}.")
        self.use_bias = use_bias
        take_parts(
            self,
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )
        self.kernel: Any = None

    @property
    def windows(self) -> list[Any]:
        extra = self.output_padding or (None,) * self.rank
        zipped = zip(self.kernel_size, self.strides, self.dilation_rate, extra, strict=True)
        return [TransposedWindow(k, s, d, self.padding, output_padding) for k, s, d, output_padding in zipped]

    def build(self, input_shape: Any) -> None:
        channels = self.fix_channels(input_shape)
        self.kernel = self.add_weight(
            (*self.kernel_size, self.filters, channels),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
            axes=(*self.kernel_axes, "filters", "input channels"),
            memory_order=(self.rank + 1, *range(self.rank), self.rank),
        )
        self.add_bias(self.filters)

    def shape_rule(self, inputs: Axes) -> Axes:
        if self.kernel is not None:
            self.expect_channels(
                inputs, f"its kernel is {tuple(self.kernel.shape)}: it was made for this number of channels"
            )
        return self.slide(inputs, self.windows).replace(channels=self.filters)

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        return multiply([*self.positions(inputs[0]), *self.kernel_size, self.filters, inputs[0]["channels"]])

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        kernel = self.kernel
        x = self.channels_second(inputs if inputs.dtype is kernel.dtype else inputs.to(kernel.dtype))
        outputs = convolve_transposed(x, torch_kernel(kernel), self.bias, self.windows)
        return self.activation(as_given(outputs, self.data_format))


@public("layers", "Convolution1DTranspose")
class Conv1DTranspose(ConvTranspose):
    """Transposed convolution over steps: each step is spread over the kernel.

    Shapes: (batch, steps, channels) → (batch, steps·stride + max(reach − stride, 0), filters).
    Parameters: kernel·filters·channels + filters.

    >>> import lamina
    >>> lamina.layers.Conv1DTranspose(8, 3, strides=2)(lamina.Input((10, 4))).shape
    (None, 21, 8)
    """

    rank = 1


@public("layers", "Convolution2DTranspose")
class Conv2DTranspose(ConvTranspose):
    """Transposed convolution over height and width: each position is spread over the kernel.

    Shapes: (batch, height, width, channels) → (batch, height·stride + max(reach − stride, 0), ..., filters), or
    height·stride with padding="same". Parameters: kernel height·kernel width·filters·channels + filters.

    >>> import lamina
    >>> lamina.layers.Conv2DTranspose(8, 3, strides=2, padding="same")(lamina.Input((7, 7, 4))).shape
    (None, 14, 14, 8)
    """

    rank = 2


@public("layers", "Convolution3DTranspose")
class Conv3DTranspose(ConvTranspose):
    """Transposed convolution over depth, height and width; see `Conv2DTranspose`.

    >>> import lamina
    >>> lamina.layers.Conv3DTranspose(2, 2, strides=2)(lamina.Input((3, 3, 3, 4))).shape
    (None, 6, 6, 6, 2)
    """

    rank = 3


class DepthwiseConv(ConvBase):
    """The convolution of each channel by itself, of `DepthwiseConv1D` and `DepthwiseConv2D`."""

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.depth_multiplier = positive_integer(depth_multiplier, f"{type(self).__name__}: depth_multiplier")
        self.set_windows(kernel_size, strides, padding, data_format, dilation_rate)
        self.use_bias = use_bias
        take_parts(
            self,
            activation=activation,
            depthwise_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            bias_regularizer=bias_regularizer,
            depthwise_constraint=depthwise_constraint,
            bias_constraint=bias_constraint,
        )
        self.kernel: Any = None

    def build(self, input_shape: Any) -> None:
        channels = self.fix_channels(input_shape)
        self.kernel = add_depthwise_kernel(self, "kernel", channels)
        self.add_bias(channels * self.depth_multiplier)

    def shape_rule(self, inputs: Axes) -> Axes:
        if self.kernel is not None:
            self.expect_channels(inputs, f"its kernel is {tuple(self.kernel.shape)}: it has a part for each channel")
        slid = self.slide(inputs, self.windows)
        channels = slid["channels"]
        return slid.replace(channels=None if channels is None else channels * self.depth_multiplier)

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        return multiply([*self.positions(outputs[0]), *self.kernel_size, inputs[0]["channels"], self.depth_multiplier])

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        kernel = self.kernel
        x = self.channels_second(inputs if inputs.dtype is kernel.dtype else inputs.to(kernel.dtype))
        outputs = convolve(x, depthwise_kernel(kernel), self.bias, self.windows, groups=x.shape[1])
        return self.activation(as_given(outputs, self.data_format))

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return self.as_form(depthwise_kernel(self.kernel), groups=self._fixed_channels or 1)


def add_depthwise_kernel(layer: Any, name: str, channels: int) -> Any:
    """The weight (kernel..., channels, multiplier), in memory one filter of one channel after the other."""
    rank = layer.rank
    return layer.add_weight(
        (*layer.kernel_size, channels, layer.depth_multiplier),
        layer.depthwise_initializer,
        regularizer=layer.depthwise_regularizer,
        constraint=layer.depthwise_constraint,
        name=name,
        axes=(*layer.kernel_axes, "input channels", "depth multiplier"),
        memory_order=(rank, rank + 1, *range(rank)),
    )


@public("layers")
class DepthwiseConv1D(DepthwiseConv):
    """Convolution over steps of each channel by itself.

    Shapes: (batch, steps, channels) → (batch, positions, channels·multiplier).
    Parameters: kernel·channels·multiplier + channels·multiplier.

    >>> import lamina
    >>> lamina.layers.DepthwiseConv1D(3, depth_multiplier=2)(lamina.Input((10, 4))).shape
    (None, 8, 8)
    """

    rank = 1


@public("layers")
class DepthwiseConv2D(DepthwiseConv):
    """Convolution over height and width of each channel by itself.

    Shapes: (batch, height, width, channels) → (batch, positions, positions, channels·multiplier).
    Parameters: kernel height·kernel width·channels·multiplier + channels·multiplier.

    >>> import lamina
    >>> lamina.layers.DepthwiseConv2D(3, padding="same")(lamina.Input((9, 9, 4))).shape
    (None, 9, 9, 4)
    """

    rank = 2


class SeparableConv(ConvBase):
    """A depthwise convolution and a 1×1 one behind it, of `SeparableConv1D` and `SeparableConv2D`."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = positive_integer(filters, f"{type(self).__name__}: filters")
        self.depth_multiplier = positive_integer(depth_multiplier, f"{type(self).__name__}: depth_multiplier")
        self.set_windows(kernel_size, strides, padding, data_format, dilation_rate)
        self.use_bias = use_bias
        take_parts(
            self,
            activation=activation,
            depthwise_initializer=depthwise_initializer,
            pointwise_initializer=pointwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            pointwise_regularizer=pointwise_regularizer,
            bias_regularizer=bias_regularizer,
            depthwise_constraint=depthwise_constraint,
            pointwise_constraint=pointwise_constraint,
            bias_constraint=bias_constraint,
        )
        self.depthwise_kernel: Any = None
        self.pointwise_kernel: Any = None

    def build(self, input_shape: Any) -> None:
        channels = self.fix_channels(input_shape)
        self.depthwise_kernel = add_depthwise_kernel(self, "depthwise_kernel", channels)
        self.pointwise_kernel = self.add_weight(
            (*(1,) * self.rank, channels * self.depth_multiplier, self.filters),
            self.pointwise_initializer,
            regularizer=self.pointwise_regularizer,
            constraint=self.pointwise_constraint,
            name="pointwise_kernel",
            axes=(*self.kernel_axes, "depthwise channels", "filters"),
            memory_order=(self.rank + 1, *range(self.rank), self.rank),
        )
        self.add_bias(self.filters)

    def shape_rule(self, inputs: Axes) -> Axes:
        if self.depthwise_kernel is not None:
            because = f"its depthwise kernel is {tuple(self.depthwise_kernel.shape)}: it has a part for each channel"
            self.expect_channels(inputs, because)
        return self.slide(inputs, self.windows).replace(channels=self.filters)

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        positions, channels = self.positions(outputs[0]), inputs[0]["channels"]
        depthwise = multiply([*positions, *self.kernel_size, channels, self.depth_multiplier])
        return total([depthwise, multiply([*positions, channels, self.depth_multiplier, self.filters])])

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        kernel = self.depthwise_kernel
        x = self.channels_second(inputs if inputs.dtype is kernel.dtype else inputs.to(kernel.dtype))
        x = convolve(x, depthwise_kernel(kernel), None, self.windows, groups=x.shape[1])
        x = convolve(x, torch_kernel(self.pointwise_kernel), self.bias, [Window(1)] * self.rank)
        return self.activation(as_given(x, self.data_format))


@public("layers", "SeparableConvolution1D")
class SeparableConv1D(SeparableConv):
    """Depthwise convolution over steps, then a 1-step convolution over channels.

    Shapes: (batch, steps, channels) → (batch, positions, filters).
    Parameters: kernel·channels·multiplier + channels·multiplier·filters + filters.

    >>> import lamina
    >>> lamina.layers.SeparableConv1D(8, 3)(lamina.Input((10, 4))).shape
    (None, 8, 8)
    """

    rank = 1
    paddings = ("valid", "same", "causal")


@public("layers", "SeparableConvolution2D")
class SeparableConv2D(SeparableConv):
    """Depthwise convolution over height and width, then a 1×1 convolution over channels.

    Shapes: (batch, height, width, channels) → (batch, positions, positions, filters).
    Parameters: kernel height·kernel width·channels·multiplier + channels·multiplier·filters + filters.

    >>> import lamina
    >>> lamina.layers.SeparableConv2D(8, 3)(lamina.Input((9, 9, 4))).shape
    (None, 7, 7, 8)
    """

    rank = 2


def warn_if_swapped(layer: Conv, shape: tuple[int | None, ...]) -> None:
    """Warns when an image's axes cannot be meant as they are read: the other data_format would fit much better."""
    parts = swapped_axes(layer, shape)
    if parts is not None:
        warn_shape(**parts)


_IMAGE_CHANNELS = (1, 2, 3, 4)
_MANY = 32  # more channels than a picture from a camera has, and more pixels than a row of sensors


def swapped_axes(layer: ConvBase, shape: tuple[int | None, ...]) -> dict[str, str] | None:
    """The parts of a message about an input image whose axes look swapped; None where they do not.

    They do when one side of the image is as short as a picture has channels, and the other side and the channels are
    equal, or both many.
    """
    if layer.rank != 2 or len(shape) != 4 or any(size is None for size in shape[1:]):
        return None
    axes = Axes(layer.axis_names(4), shape)
    height, width, channels = (value_of(axes[name]) or 0 for name in ("height", "width", "channels"))
    last = layer.data_format == "channels_last"
    name, few, side, window = (
        ("height", height, width, layer.windows[0]) if last else ("width", width, height, layer.windows[1])
    )
    other_format = "channels_first" if last else "channels_last"
    equal = side == channels and side > 8 and few < window.reach
    many = min(side, channels) >= _MANY and window.reach > 1
    if few not in _IMAGE_CHANNELS or not (equal or many):
        return None
    # As the other format reads the same sizes: (few, side, channels) or (channels, side, few).
    tall, wide = (side, channels) if last else (channels, side)
    shown = (tall, wide, few) if last else (few, tall, wide)
    which = "last" if last else "first"
    alike = f"the {which} two axes are equal" if side == channels else f"the {which} two axes are both long"
    short = f"is smaller than the kernel's {window.reach}" if few < window.reach else "is as few as channels are"
    return {
        "headline": f"{layer.title} reads its input as a {height}×{width} image of {channels} channels.",
        "layer": layer.name,
        "path": layer.path,
        "received": f'{shape}  {", ".join(layer.axis_names(4))} (data_format "{layer.data_format}")',
        "expected": f"{(shape[0], *shown)}  the image that this looks like",
        "because": f"{name} {few} {short}, and {alike}, as in a\n{other_format} image of {few} "
        f"channel{'s' * (few > 1)} and {tall}×{wide} pixels",
        "mend": f'Input({shown}), or {type(layer).__name__}(..., data_format="{other_format}")',
    }
