"""Layers around a layer: Wrapper, Bidirectional and TimeDistributed."""

from __future__ import annotations

from typing import Any

import torch

from lamina.base import tree
from lamina.base.errors import ShapeError
from lamina.base.registry import public
from lamina.base.serialization import deserialize_keras_object
from lamina.layers import symbolic
from lamina.layers.layer import Layer
from lamina.layers.parts import expect_rank
from lamina.layers.recurrent.base import RNN
from lamina.shapes import HERE, Axes, Readings, Size, value_of


@public("layers")
class Wrapper(Layer):
    """The base of layers that wrap one: it holds the layer, builds it and writes it into configs.

    Shapes and parameters: those of the wrapped layer. Errors: anything but a layer is a TypeError.

    >>> import lamina
    >>> lamina.layers.Wrapper(lamina.layers.Dense(4))(lamina.Input((3,))).shape
    (None, 4)
    """

    def __init__(self, layer: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.layer = expect_layer(layer, type(self).__name__)

    def build(self, input_shape: Any = None) -> None:
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True

    def call(self, inputs: Any, **kwargs: Any) -> Any:
        return self.layer(inputs, **kwargs)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        given = {**config, "layer": deserialize_keras_object(config["layer"])}
        if given.get("backward_layer") is not None:
            given["backward_layer"] = deserialize_keras_object(given["backward_layer"])
        return super().from_config(given)


def expect_layer(layer: Any, what: str) -> Layer:
    if not isinstance(layer, Layer):
        raise TypeError(f"{what} takes a layer; got {layer!r}.")
    return layer


def _rule_of(layer: Layer, inputs: Axes) -> list[Axes]:
    """The outputs of an inner layer from its rule, or, of a layer without one, from what it says of plain shapes."""
    if layer._has_rule:
        found = layer.shape_rule(inputs)
        return [found] if isinstance(found, Axes) else list(found)
    found = layer.compute_output_shape(inputs.shape)
    shapes = [found] if tree.is_shape(found) else found
    return [Axes(layer.axis_names(len(shape)), tuple(shape)) for shape in shapes]


@public("layers")
class TimeDistributed(Wrapper):
    """A layer on each step of a sequence.

    Shapes: (batch, steps, ...) → (batch, steps, ...), the wrapped layer's on (batch, ...). Parameters: the wrapped
    layer's. The steps of all examples go through the layer as one batch; a layer that keeps statistics or states (a
    BatchNormalization in training) gets one step after the other. Errors: inputs of less than 3 axes are a ShapeError.

    >>> import lamina
    >>> frames = lamina.Input((10, 32, 32, 3))
    >>> lamina.layers.TimeDistributed(lamina.layers.Conv2D(8, 3))(frames).shape
    (None, 10, 30, 30, 8)
    """

    supports_masking = True

    def axis_names(self, rank: int) -> tuple[str, ...]:
        if rank < 3:
            return super().axis_names(rank)
        batch, *others = self.layer.axis_names(rank - 1)
        return (batch, "outer steps" if "steps" in others else "steps", *others)

    def build(self, input_shape: Any = None) -> None:
        expect_rank(self, Axes(self.axis_names(len(input_shape)), tuple(input_shape)), at_least=3)
        super().build((input_shape[0], *input_shape[2:]))

    def _one_step(self, inputs: Axes) -> Axes:
        expect_rank(self, inputs, at_least=3)
        names = self.layer.axis_names(inputs.rank - 1)
        return Axes(names, (inputs.sizes[0], *inputs.sizes[2:]))

    def shape_rule(self, inputs: Axes) -> Axes | list[Axes]:
        outputs = [
            Axes((one.names[0], inputs.names[1], *one.names[1:]), (one.sizes[0], inputs.sizes[1], *one.sizes[1:]))
            for one in _rule_of(self.layer, self._one_step(inputs))
        ]
        return outputs[0] if len(outputs) == 1 else outputs

    def output_dtype(self, *inputs: str) -> str:
        return self.layer.output_dtype(*inputs)

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        drop = [Axes((one.names[0], *one.names[2:]), (one.sizes[0], *one.sizes[2:])) for one in outputs]
        own = self.layer.multiply_accumulates([self._one_step(inputs[0])], drop)
        steps = inputs[0].sizes[1]
        return None if own is None or steps is None else steps * own

    def readings(self, *inputs: Axes) -> Readings | None:
        own = self.layer.readings(self._one_step(inputs[0])) if self.layer._has_rule else None
        return None if own is None else [{**own[0], inputs[0].names[1]: HERE}]

    def call(  # type: ignore[override]  # the arguments that Keras's has
        self, inputs: torch.Tensor, training: bool | None = None, mask: Any = None
    ) -> Any:
        options: dict[str, Any] = {"training": training} if self.layer._signature.takes_training else {}
        takes_mask = mask is not None and self.layer._signature.takes_mask
        if mask is not None and tuple(mask.shape[:2]) != tuple(inputs.shape[:2]):
            raise ShapeError(
                f"{self.title} got a mask of {tuple(mask.shape)} for an input of {tuple(inputs.shape)}.",
                layer=self.name,
                expected=f"a mask of {tuple(inputs.shape[:2])}",
                because="a mask has a truth value for each step of each example",
                mend="give a mask (batch, steps), or none",
            )
        if self._step_by_step(training):
            masks = torch.as_tensor(mask, device=inputs.device).unbind(1) if takes_mask else [None] * inputs.shape[1]
            runs = [
                self.layer(step, **options, **({"mask": own} if takes_mask else {}))
                for step, own in zip(inputs.unbind(1), masks, strict=True)
            ]
            return tree.map_structure(lambda *steps: torch.stack(steps, dim=1), *runs)
        if takes_mask:
            options["mask"] = torch.as_tensor(mask, device=inputs.device).flatten(0, 1)
        outputs = self.layer(inputs.flatten(0, 1), **options)
        return tree.map_structure(lambda one: one.unflatten(0, inputs.shape[:2]), outputs)

    def _step_by_step(self, training: bool | None) -> bool:
        """Whether what the layer keeps depends on how the steps are put together."""
        inner = [one for one in self.layer._flatten_layers() if isinstance(one, Layer)]
        if any(getattr(one, "stateful", False) is True for one in inner):
            return True
        return bool(training) and any(not getattr(w, "declared_trainable", True) for w in self.layer.weights)


_MERGES = ("sum", "mul", "ave", "concat", None)


@public("layers")
class Bidirectional(Layer):
    """A recurrent layer that reads a sequence from both ends. Schuster and Paliwal 1997.

    Shapes: those of the layer, with the outputs of both directions side by side (`merge_mode="concat"`: 2·units), added
    ("sum"), averaged ("ave"), multiplied ("mul"), or both in a tuple (None); with `return_state` the states of the
    forward, then of the backward direction follow. Parameters: those of the layer, twice.

    `layer` is copied for the forward direction, and for the backward one unless `backward_layer` is given. With
    `return_sequences` the outputs of the backward direction are turned round, and those of masked steps are zeros.
    `initial_state` of a call holds the states of the forward, then of the backward layer.
    Errors: layers that do not belong together are a ValueError.

    >>> import lamina
    >>> both = lamina.layers.Bidirectional(lamina.layers.LSTM(16, return_sequences=True))
    >>> both(lamina.Input((20, 8))).shape
    (None, 20, 32)
    """

    supports_masking = True

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ):
        for one in (layer, backward_layer):
            if one is not None and not all(hasattr(one, name) for name in ("go_backwards", "stateful", *_SHARED)):
                raise ValueError(f"Bidirectional takes a recurrent layer (RNN, LSTM, GRU, ...); got {one!r}.")
        if merge_mode not in _MERGES:
            raise ValueError(f"Bidirectional: merge_mode is one of {_MERGES}; got {merge_mode!r}.")
        super().__init__(**kwargs)
        self.merge_mode = merge_mode
        self.forward_layer = _copied(layer, "forward_", layer.go_backwards)
        self.backward_layer = _copied(layer, "backward_", True) if backward_layer is None else backward_layer
        self._expect_a_pair()
        for one in (self.forward_layer, self.backward_layer):
            if hasattr(one, "zero_output_for_mask"):
                one.zero_output_for_mask = layer.return_sequences
        if weights:
            half = len(weights) // 2
            self.forward_layer.__dict__["_initial_weights"] = list(weights[:half])
            self.backward_layer.__dict__["_initial_weights"] = list(weights[half:])
        self.return_sequences, self.return_state = layer.return_sequences, layer.return_state
        self.stateful = layer.stateful

    def _expect_a_pair(self) -> None:
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ValueError(
                f"Bidirectional reads from both ends, and both layers have go_backwards={forward.go_backwards}. "
                f"Give backward_layer go_backwards={not forward.go_backwards}."
            )
        for name in ("stateful", *_SHARED):
            if getattr(forward, name) != getattr(backward, name):
                raise ValueError(
                    f"Bidirectional joins what both layers give, and they differ in {name}: {getattr(forward, name)} "
                    f"forward, {getattr(backward, name)} backward."
                )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("weights", None)
        return config

    def _config_value(self, name: str) -> Any:
        return self.forward_layer if name == "layer" else super()._config_value(name)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        layers = {
            name: deserialize_keras_object(config[name]) for name in ("layer", "backward_layer") if config.get(name)
        }
        return super().from_config({**config, **layers})

    # Shapes.

    def axis_names(self, rank: int) -> tuple[str, ...]:
        return self.forward_layer.axis_names(rank)

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        for one in (self.forward_layer, self.backward_layer):
            if not one.built:
                one.build(sequences_shape)
                one.built = True

    def shape_rule(self, sequences: Axes, *states: Axes) -> Axes | list[Axes]:
        one, *first = _rule_of(self.forward_layer, sequences)
        other, *second = _rule_of(self.backward_layer, sequences)
        found = [one, other]
        if self.merge_mode == "concat":
            found = [one.replace_at(-1, one[-1] + other[-1])]
        elif self.merge_mode is not None:
            self._expect_same_units(one, other)
            found = [one]
        found += first + second
        return found[0] if len(found) == 1 else found

    def _expect_same_units(self, one: Axes, other: Axes) -> None:
        if value_of(one.sizes[-1]) != value_of(other.sizes[-1]):
            raise ShapeError(
                f"{self.title} cannot merge {one.shape[-1]} units forward with {other.shape[-1]} backward.",
                layer=self.name,
                expected="as many units in both directions",
                because=f"merge_mode={self.merge_mode!r} joins the two outputs number by number",
                mend="give both layers the same units, or use merge_mode='concat'",
            )

    def _packed(self, found: Any) -> Any:
        return tuple(found) if isinstance(found, list) else found

    def compute_output_spec(self, sequences: Any, *args: Any, **kwargs: Any) -> Any:
        return self._packed(symbolic.output_spec(self, (sequences,), {}))

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        return self._packed(symbolic.output_shape(self, sequences_shape))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        mask = tree.flatten(previous_mask)[0] if self.return_sequences else None
        outputs = 2 if self.merge_mode is None else 1
        return [mask] * outputs + [None] * 8 if self.return_state else [mask] * outputs

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        found: list[Any] = [
            one.multiply_accumulates(inputs, outputs) for one in (self.forward_layer, self.backward_layer)
        ]
        return None if None in found else found[0] + found[1]

    def readings(self, *inputs: Axes) -> Readings | None:
        if self.return_state or self.merge_mode is None:
            return None
        return [{"batch": HERE} for _ in inputs]  # from both ends: every step is read

    # The computation.

    @property
    def states(self) -> Any:
        """The states of both layers, forward first; None while there are none."""
        found = [one.states for one in (self.forward_layer, self.backward_layer)]
        return None if None in found else tuple(found[0] + found[1])

    def reset_state(self) -> None:
        """Puts the states of both layers back to those before the first step."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    def call(
        self, sequences: torch.Tensor, initial_state: Any = None, mask: Any = None, training: bool | None = None
    ) -> Any:
        half = 0 if initial_state is None else len(initial_state) // 2
        first: tuple[Any, Any] = (initial_state[:half], initial_state[half:]) if half else (None, None)
        options = {"mask": mask, "training": training}
        one, other = (
            layer(sequences, initial_state=states, **options)
            for layer, states in zip((self.forward_layer, self.backward_layer), first, strict=True)
        )
        states = ()
        if self.return_state:
            one, other, states = one[0], other[0], (*one[1:], *other[1:])
        if self.return_sequences:
            other = other.flip(1)
        if self.merge_mode is None:
            return one, other, *states
        merged = _merge(one, other, self.merge_mode)
        return (merged, *states) if self.return_state else merged


_SHARED = ("return_sequences", "return_state")


def _copied(layer: Any, direction: str, go_backwards: bool) -> Any:
    """A fresh layer of the same config, named for its direction."""
    config = {**layer.get_config(), "name": direction + layer.name.removeprefix(direction)}
    twin = type(layer).from_config({**config, "go_backwards": go_backwards})
    if isinstance(layer, RNN):
        twin.use_cudnn = layer.use_cudnn
    return twin


def _merge(one: torch.Tensor, other: torch.Tensor, mode: str) -> torch.Tensor:
    if mode == "concat":
        return torch.cat([one, other], dim=-1)
    if mode == "mul":
        return one * other
    return one + other if mode == "sum" else (one + other) / 2
