"""Layers that give numbers a mean and a variance: Batch-, Layer-, Group- and UnitNormalization."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.nn import functional

from lamina.base import config
from lamina.base.errors import ShapeError, UnfinishedError, outside_frame
from lamina.base.registry import public
from lamina.engine.forms import Affine, Form
from lamina.layers.parts import expect_size, known_size, take_parts
from lamina.layers.same_shape import SameShape, position, positions
from lamina.shapes import Axes


class _Normalizing(SameShape):
    """What the learned normalisations share: `gamma` that scales and `beta` that shifts, in the variables' type."""

    axis: Any
    scale: bool
    center: bool

    def _take_affine(self, center: bool, scale: bool, parts: dict[str, Any]) -> None:
        self.center, self.scale = center, scale
        take_parts(self, **parts)
        self.gamma: Any = None
        self.beta: Any = None

    def _affine_names(self) -> list[str]:
        return [name for name, wanted in (("gamma", self.scale), ("beta", self.center)) if wanted]

    def _make_affine(self, shape: tuple[int, ...], axes: tuple[str, ...]) -> None:
        for name in self._affine_names():
            weight = self.add_weight(
                shape,
                getattr(self, f"{name}_initializer"),
                regularizer=getattr(self, f"{name}_regularizer"),
                constraint=getattr(self, f"{name}_constraint"),
                autocast=False,
                name=name,
                axes=axes,
            )
            setattr(self, name, weight)

    def output_dtype(self, *inputs: str) -> str:
        return self.compute_dtype

    def shape_rule(self, inputs: Axes) -> Axes:
        axes = positions(self, inputs, self.axis)
        weight = next((self._parameters[name] for name in self._parameters), None)
        if weight is not None:
            for axis, size in zip(axes, weight.shape, strict=True):
                expect_size(self, inputs, axis, size, "gamma", f"its weights have the shape {tuple(weight.shape)}")
        return inputs


@public("layers")
class BatchNormalization(_Normalizing):
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta`, for each index of `axis`. Ioffe and Szegedy 2015.

    In training, mean and (population) variance are the batch's, and the moving ones follow:
    `moving = momentum * moving + (1 - momentum) * batch`. Otherwise, and with `trainable = False`, they are the moving
    ones. With a mask, only the steps that it keeps count.

    Shapes: the input's. Parameters: 4·channels, of which 2·channels (the moving ones) are not trained.
    Errors: after it was built, another size of `axis` is a ShapeError.

    >>> import lamina
    >>> norm = lamina.layers.BatchNormalization()
    >>> norm(lamina.Input((28, 28, 16))).shape, norm.count_params()
    ((None, 28, 28, 16), 64)
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for name, asked in (("synchronized", synchronized), ("renorm", renorm)):
            if asked:
                raise UnfinishedError(f"BatchNormalization({name}=True): lamina does not have this yet.")
        self.axis = int(axis)
        self.momentum, self.epsilon = float(momentum), float(epsilon)
        self.renorm, self.renorm_momentum, self.synchronized = renorm, renorm_momentum, synchronized
        self.__dict__["renorm_clipping"] = renorm_clipping
        parts = {
            "beta_initializer": beta_initializer,
            "gamma_initializer": gamma_initializer,
            "moving_mean_initializer": moving_mean_initializer,
            "moving_variance_initializer": moving_variance_initializer,
            "beta_regularizer": beta_regularizer,
            "gamma_regularizer": gamma_regularizer,
            "beta_constraint": beta_constraint,
            "gamma_constraint": gamma_constraint,
        }
        self._take_affine(center, scale, parts)
        self.moving_mean: Any = None
        self.moving_variance: Any = None

    def build(self, input_shape: Any) -> None:
        inputs = Axes(self.axis_names(len(input_shape)), tuple(input_shape))
        axis = position(self, inputs, self.axis)
        shape, axes = (known_size(self, inputs, axis),), (inputs.names[axis],)
        self._make_affine(shape, axes)
        for name in ("moving_mean", "moving_variance"):
            initializer = getattr(self, f"{name}_initializer")
            weight = self.add_weight(shape, initializer, trainable=False, autocast=False, name=name, axes=axes)
            setattr(self, name, weight)

    def call(self, inputs: torch.Tensor, training: bool | None = None, mask: Any = None) -> torch.Tensor:
        if mask is not None and mask.dim() != inputs.dim() - 1:
            raise ShapeError(
                f"{self.title} takes a mask of one axis less than its input.",
                layer=self.name,
                received=f"an input of {tuple(inputs.shape)} and a mask of {tuple(mask.shape)}",
                expected=f"a mask of {tuple(inputs.shape[:-1])}",
                because="a mask says of every position whether it counts, and a position has one entry a feature",
                mend="leave the features' axis out of the mask",
            )
        if inputs.dtype is not self._compute_type:
            inputs = inputs.to(self._compute_type)
        learns = bool(training) and self._trainable
        if learns and (mask is not None or self._keeps_16_bits() or self._count(inputs) < 2):
            return self._by_moments(inputs, mask)
        return self._fused(inputs, learns)

    def _keeps_16_bits(self) -> bool:
        return self.variable_dtype in ("bfloat16", "float16")

    def _count(self, inputs: torch.Tensor) -> int:
        """How many numbers of the batch one mean is taken over."""
        return inputs.numel() // max(inputs.shape[self.axis], 1)

    def _fused(self, inputs: torch.Tensor, learns: bool) -> torch.Tensor:
        """torch's kernel on a channels-first view: images keep their memory, sequences are taken as one long row."""
        rank, axis = inputs.dim(), self.axis % inputs.dim()
        flat = rank == 3 and axis == 2
        viewed = inputs.reshape(-1, inputs.shape[-1]) if flat else inputs.movedim(axis, 1)
        own = self._parameters  # read directly: never cast, and no look-up through the Module
        moving_mean, moving_variance = own["moving_mean"], own["moving_variance"]
        assert moving_variance is not None
        # Through `.data`: the kernel notes the statistics for its gradient, which does not read them in training.
        variance = moving_variance.data
        before = variance.clone() if learns else variance
        statistics = moving_mean, moving_variance, learns, 1 - self.momentum, self.epsilon
        outputs = torch.batch_norm(viewed, own.get("gamma"), own.get("beta"), *statistics, True)
        if learns:
            self.note_change()  # the kernel writes the statistics without torch's version counters
            # torch moved the variance towards the unbiased one, n/(n - 1) times the population's that Keras means:
            # momentum·before + (1 - momentum)·population = (n - 1)/n·moved + momentum/n·before.
            count = self._count(inputs)
            variance.mul_((count - 1) / count).add_(before, alpha=self.momentum / count)
        return outputs.reshape(inputs.shape) if flat else outputs.movedim(1, axis)

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        weights = {name: weight.detach() for name, weight in self._parameters.items() if weight is not None}
        own = {name: weight.to(torch.promote_types(weight.dtype, torch.float32)) for name, weight in weights.items()}
        scale = torch.rsqrt(own["moving_variance"] + self.epsilon)
        if "gamma" in own:
            scale = scale * own["gamma"]
        shift = -own["moving_mean"] * scale
        return [Affine(scale, shift + own["beta"] if "beta" in own else shift, self.axis)]

    def _by_moments(self, inputs: torch.Tensor, mask: Any) -> torch.Tensor:
        """The same written out: for masked steps, single numbers, and statistics kept in 16 bits."""
        x = inputs.float() if inputs.dtype.itemsize == 2 else inputs
        axis = self.axis % x.dim()
        others = [other for other in range(x.dim()) if other != axis]
        if mask is None:
            mean, variance = x.mean(others, keepdim=True), x.var(others, unbiased=False, keepdim=True)
        else:
            kept = mask.unsqueeze(-1).to(x.dtype).broadcast_to(x.shape)
            count = kept.sum(others, keepdim=True).clamp_min(config.epsilon())
            mean = (x * kept).sum(others, keepdim=True) / count
            variance = ((x - mean).square() * kept).sum(others, keepdim=True) / count
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            followed = moving.detach().to(x.dtype) * self.momentum + batch.detach().flatten() * (1 - self.momentum)
            moving.data.copy_(followed)
        outputs = (x - mean) * torch.rsqrt(variance + self.epsilon)
        along = [-1 if dim == axis else 1 for dim in range(x.dim())]
        if self.gamma is not None:
            outputs = outputs * self.gamma.to(x.dtype).reshape(along)
        if self.beta is not None:
            outputs = outputs + self.beta.to(x.dtype).reshape(along)
        return outputs.to(self._compute_type)


@public("layers")
class LayerNormalization(_Normalizing):
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta`, over `axis` of each example. Ba et al. 2016.

    Shapes: the input's. Parameters: 2 times the product of the normalised axes' sizes. Computed in the variables' type
    and given in the compute type. `rms_scaling` (deprecated in Keras) is `gamma * x / sqrt(variance + epsilon)`.
    Errors: after it was built, another size of `axis` is a ShapeError.

    >>> import lamina
    >>> norm = lamina.layers.LayerNormalization()
    >>> norm(lamina.Input((20, 64))).shape, norm.count_params()
    ((None, 20, 64), 128)
    """

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        rms_scaling: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.autocast = False
        if not isinstance(axis, int | list | tuple):
            raise TypeError(f"LayerNormalization: axis is a whole number or a list of them; got {axis!r}.")
        self.__dict__["axis"] = axis if isinstance(axis, int) else list(axis)
        self.epsilon, self.rms_scaling = epsilon, rms_scaling
        if rms_scaling:
            warnings.warn(
                "LayerNormalization(rms_scaling=True) divides by the standard deviation, not by the root mean square. "
                "Keras keeps it for old models only.",
                DeprecationWarning,
                stacklevel=outside_frame(),
            )
        parts = {
            "beta_initializer": beta_initializer,
            "gamma_initializer": gamma_initializer,
            "beta_regularizer": beta_regularizer,
            "gamma_regularizer": gamma_regularizer,
            "beta_constraint": beta_constraint,
            "gamma_constraint": gamma_constraint,
        }
        self._take_affine(center, scale, parts)

    def build(self, input_shape: Any) -> None:
        inputs = Axes(self.axis_names(len(input_shape)), tuple(input_shape))
        self.__dict__["axis"] = [self.axis] if isinstance(self.axis, int) else sorted(self.axis)
        axes = positions(self, inputs, self.axis)
        shape, names = (
            tuple(known_size(self, inputs, axis) for axis in axes),
            tuple(inputs.names[axis] for axis in axes),
        )
        self._make_affine(shape, names)

    def _affine_names(self) -> list[str]:
        return ["gamma"] if self.rms_scaling else super()._affine_names()

    def taken_together(self, inputs: Axes) -> list[int]:
        return positions(self, inputs, self.axis)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        x = inputs.to(getattr(torch, self.variable_dtype))
        axes = [axis % x.dim() for axis in self.axis]
        ends = list(range(-len(axes), 0))
        last = axes == list(range(x.dim() - len(axes), x.dim()))
        x = x if last else x.movedim(axes, ends)
        if self.rms_scaling:
            x = x * torch.rsqrt(x.var(ends, unbiased=False, keepdim=True) + self.epsilon) * self.gamma
        else:
            x = functional.layer_norm(x, x.shape[-len(axes) :], self.gamma, self.beta, self.epsilon)
        x = x if last else x.movedim(ends, axes)
        return x.to(self._compute_type)


@public("layers")
class GroupNormalization(_Normalizing):
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta`, over each of `groups` groups of channels. Wu and He 2018.

    Shapes: the input's. Parameters: 2·channels. `groups=-1` makes a group of each channel (instance normalisation), 1
    one of all. Errors: groups that do not divide the channels are a ShapeError.

    >>> import lamina
    >>> norm = lamina.layers.GroupNormalization(groups=4)
    >>> norm(lamina.Input((28, 28, 16))).shape, norm.count_params()
    ((None, 28, 28, 16), 32)
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.autocast = False
        self.groups, self.axis, self.epsilon = groups, axis, epsilon
        parts = {
            "beta_initializer": beta_initializer,
            "gamma_initializer": gamma_initializer,
            "beta_regularizer": beta_regularizer,
            "gamma_regularizer": gamma_regularizer,
            "beta_constraint": beta_constraint,
            "gamma_constraint": gamma_constraint,
        }
        self._take_affine(center, scale, parts)

    def build(self, input_shape: Any) -> None:
        inputs = Axes(self.axis_names(len(input_shape)), tuple(input_shape))
        axis = position(self, inputs, self.axis)
        channels = known_size(self, inputs, axis)
        if self.groups == -1:
            self.groups = channels
        if self.groups < 1 or channels % self.groups:
            raise ShapeError(
                f"{self.title} cannot make {self.groups} groups of {channels} {inputs.names[axis]}.",
                layer=self.name,
                expected=f"a number of {inputs.names[axis]} that {self.groups} divides",
                because="all groups have the same size, so their number divides the channels",
                mend=f"choose groups from {', '.join(str(n) for n in range(1, channels + 1) if channels % n == 0)}",
            )
        self._make_affine((channels,), (inputs.names[axis],))

    def taken_together(self, inputs: Axes) -> list[int]:
        return list(range(1, inputs.rank))

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        x = inputs.to(getattr(torch, self.variable_dtype)).movedim(self.axis, 1)
        beside = self.beta if self.gamma is not None else None  # torch has no gradient for a beta without a gamma
        outputs = functional.group_norm(x, self.groups, self.gamma, beside, self.epsilon).movedim(1, self.axis)
        if self.beta is not None and beside is None:
            outputs = outputs + self.beta.reshape([-1 if a == self.axis % x.dim() else 1 for a in range(x.dim())])
        return outputs.to(self._compute_type)


@public("layers")
class UnitNormalization(SameShape):
    """`x / sqrt(sum(x²))` along `axis`, or along several axes together: vectors of length 1.

    Shapes: the input's. No weights.

    >>> import lamina
    >>> lamina.layers.UnitNormalization()(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """

    def __init__(self, axis: Any = -1, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(axis, int | list | tuple):
            raise TypeError(f"UnitNormalization: axis is a whole number or a list of them; got {axis!r}.")
        self.__dict__["axis"] = axis if isinstance(axis, int) else list(axis)

    def shape_rule(self, inputs: Axes) -> Axes:
        positions(self, inputs, self.axis)
        return inputs

    def taken_together(self, inputs: Axes) -> list[int]:
        return positions(self, inputs, self.axis)

    def output_dtype(self, *inputs: str) -> str:
        return self.compute_dtype

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        x = inputs.to(self._compute_type)
        if isinstance(self.axis, int):
            return functional.normalize(x, dim=self.axis, eps=1e-12)
        return x / torch.linalg.vector_norm(x, dim=self.axis, keepdim=True).clamp_min(1e-12)
