"""RNN: a cell over the steps of a sequence."""

from __future__ import annotations

from typing import Any

import torch

from lamina import initializers
from lamina.base import tree
from lamina.base.errors import ShapeError
from lamina.base.registry import public
from lamina.base.serialization import constructor_names, deserialize_keras_object
from lamina.engine.recurrent import after, squeezed
from lamina.engine.variable import Variable
from lamina.graph.probe import in_trial
from lamina.layers import symbolic
from lamina.layers.layer import Layer
from lamina.layers.parts import expect_rank
from lamina.layers.recurrent.cells import (
    FusedKernel,
    RecurrentCell,
    StackedRNNCells,
    call_cell,
    check_cell,
    first_state,
    nested_like,
    output_size,
    state_sizes,
)
from lamina.shapes import HERE, Axes, Readings, Size, axis_names, value_of


def cell_options(cell_class: type, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a layer's constructor that are its cell's."""
    given = {**given, **given["kwargs"]}
    names = (*constructor_names(cell_class), "dtype", "trainable")
    return {name: given[name] for name in names if name in given and name not in ("name", "activity_regularizer")}


@public("layers")
class RNN(Layer):
    """A cell, or several in a list, over the steps of a sequence.

    Shapes: (batch, steps, features) → the last output (batch, units), or all, (batch, steps, units), with
    `return_sequences`; with `return_state` a tuple of the output and the last states. Parameters: those of the cell.

    The cell is a Layer or any object that is called on (inputs, states) and returns (output, new states), with a
    `state_size` (a whole number, or a list of one for each state), and `output_size` and
    `get_initial_state(batch_size=)` if they are others than the first state's size and zeros.
    `initial_state` of a call is a tensor, or a list of one for each state. `go_backwards` reads the steps from the last
    to the first, and gives the outputs in that order. A masked step leaves the states as they are, and its output is
    the one before, or zeros with `zero_output_for_mask`. `stateful` layers begin each batch with the states in which
    the last one ended, until `reset_state()`. `unroll` changes nothing: loops are not compiled here.
    Errors: `stateful` needs a known batch size, and states need a row for each sequence; both are ShapeErrors.

    >>> import lamina
    >>> layer = lamina.layers.RNN(lamina.layers.LSTMCell(16), return_state=True)
    >>> [tensor.shape for tensor in layer(lamina.Input((20, 8)))]
    [(None, 16), (None, 16), (None, 16)]
    """

    supports_masking = True
    use_cudnn: Any = "auto"  # what Keras calls it; False: no fused kernel, on any device

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        cell = StackedRNNCells(cell) if isinstance(cell, list | tuple) else cell
        check_cell(cell, type(self).__name__)
        self.cell = cell
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful, self.unroll = go_backwards, stateful, unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.__dict__["states"] = None  # Variables of a stateful layer, nested like the states; no weights

    def __getattr__(self, name: str) -> Any:
        """LSTM and its like have the arguments of their cell: `layer.units`, `layer.activation`."""
        cls: Any = type(self)
        try:
            return super().__getattr__(name)
        except AttributeError:
            cell = self.__dict__.get("_modules", {}).get("cell")
            if cell is not None and cls is not RNN and name in constructor_names(cls):
                return getattr(cell, name)
            raise

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("use_cudnn", None)
        if "units" in config:
            config.pop("cell", None)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        if "cell" in config:
            config = {**config, "cell": deserialize_keras_object(config["cell"])}
        return super().from_config(config)

    @property
    def state_size(self) -> list[Any]:
        size = self.cell.state_size
        return list(size) if isinstance(size, list | tuple) else [size]

    # Shapes.

    def axis_names(self, rank: int) -> tuple[str, ...]:
        return ("batch", "steps", *axis_names(rank - 1)[1:]) if rank > 2 else super().axis_names(rank)

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        sequences = Axes(self.axis_names(len(sequences_shape)), tuple(sequences_shape))
        self._expect_sequences(sequences)
        if isinstance(self.cell, Layer) and not self.cell.built:
            self.cell.build(sequences.drop("steps").shape)
        if self.stateful:
            self._make_states(sequences)

    def _expect_sequences(self, sequences: Axes) -> None:
        if isinstance(self.cell, RecurrentCell):
            expect_rank(self, sequences, 3)
        else:
            expect_rank(self, sequences, at_least=3)
        if value_of(sequences["steps"]) == 0:
            raise ShapeError(
                f"{self.title} needs at least one step and got none.",
                layer=self.name,
                expected="sequences of one step or more",
                because="the output is the one of the last step",
                mend="leave empty sequences out, or pad them to one step and mask it",
            )

    def shape_rule(self, sequences: Axes, *states: Axes) -> Axes | list[Axes]:
        self._expect_sequences(sequences)
        first = self.cell.cells[0] if isinstance(self.cell, StackedRNNCells) else self.cell
        if isinstance(first, RecurrentCell):
            first.expect_features(self, sequences)
        batch, steps, *_ = sequences.sizes
        last = Axes(("batch", "features"), (batch, output_size(self.cell)))
        output = Axes(("batch", "steps", "features"), (batch, steps, last.sizes[1])) if self.return_sequences else last
        if not self.return_state:
            return output
        return [output, *[last.replace_at(1, size) for size in tree.flatten(state_sizes(self.cell))]]

    def _nested(self, flat: Any) -> Any:
        """The output, and the states nested as the cell has them."""
        if not self.return_state:
            return flat
        output, *states = flat
        return output, *nested_like(state_sizes(self.cell), iter(states))

    def compute_output_spec(self, sequences: Any, *args: Any, **kwargs: Any) -> Any:
        self._first_states(sequences, args[0] if args else kwargs.get("initial_state"))
        return self._nested(symbolic.output_spec(self, (sequences,), {}))

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        return self._nested(symbolic.output_shape(self, sequences_shape))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        mask = tree.flatten(previous_mask)[0] if self.return_sequences else None
        return [mask, *[None] * len(tree.flatten(state_sizes(self.cell)))] if self.return_state else mask

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        if not isinstance(self.cell, RecurrentCell | StackedRNNCells) or inputs[0]["steps"] is None:
            return None
        own = self.cell.multiply_accumulates([inputs[0].drop("steps")], [])
        return None if own is None else inputs[0]["steps"] * own

    def readings(self, *inputs: Axes) -> Readings | None:
        if self.return_state:
            return None
        # an output of a step reads all steps up to it: as many as stand before
        found: Readings = [{"batch": HERE} for _ in inputs]
        if self.return_sequences:
            found[0]["steps"] = None
        return found

    # States.

    def get_initial_state(self, batch_size: int | None) -> list[Any]:
        """The states before the first step, nested as the cell has them: zeros, unless the cell says otherwise."""
        return first_state(self.cell, batch_size)

    def _make_states(self, sequences: Axes) -> None:
        batch = value_of(sequences["batch"])
        if batch is None:
            raise ShapeError(
                f"{self.title} is stateful, and the number of its sequences is open.",
                layer=self.name,
                expected="a known batch size",
                because="stateful=True keeps a state for each sequence of a batch until the next batch",
                mend="give the model's input a batch size: Input(shape, batch_size=32)",
            )

        def variable(size: int) -> Variable:
            zeros, path = initializers.get("zeros"), f"{self.name}/rnn_state"
            return Variable(zeros, (batch, size), self.variable_dtype, False, name="rnn_state", path=path)

        self.__dict__["states"] = tree.map_structure(variable, state_sizes(self.cell))
        self.reset_state()

    def reset_state(self) -> None:
        """Puts the states of a stateful layer back to those before the first step."""
        if self.states is None:
            return
        kept = tree.flatten(self.states)
        if kept[0].device.type != "meta":
            for variable, value in zip(kept, tree.flatten(self.get_initial_state(len(kept[0]))), strict=True):
                variable.assign(value.to(variable.device))

    reset_states = reset_state

    def _first_states(self, sequences: Any, given: Any) -> list[Any]:
        """The states with which a call begins. Errors: a ShapeError where they do not fit the sequences."""
        kept = given is None and self.stateful
        if kept:
            given = self._states_on(sequences.device) if isinstance(sequences, torch.Tensor) else self.states
        elif given is None:
            if not isinstance(sequences, torch.Tensor):
                return []
            made = self.get_initial_state(sequences.shape[0])
            return tree.map_structure(lambda state: state.to(sequences.device, self._compute_type), made)
        given = list(given) if tree.is_nested(given) else [given]
        flat, sizes = tree.flatten(given), tree.flatten(state_sizes(self.cell))
        wanted = [(sequences.shape[0], size) for size in sizes]
        fits = len(flat) == len(wanted) and all(
            len(state.shape) != 2
            or all(None in pair or pair[0] == pair[1] for pair in zip(state.shape, want, strict=True))
            for state, want in zip(flat, wanted, strict=True)
        )
        if not fits:
            raise ShapeError(
                f"{self.title} cannot begin with states of {', '.join(str(tuple(state.shape)) for state in flat)}.",
                layer=self.name,
                expected=f"states of {', '.join(map(str, wanted))}",
                because="its cell has these states, with a row for each sequence"
                + (", and a stateful layer has them from the batch before" if kept else ""),
                mend=f"give every batch {len(flat[0])} sequences: a stateful layer is made for one number of them"
                if kept
                else f"initial_state takes {len(wanted)} of these, in a list",
            )
        if not isinstance(sequences, torch.Tensor):
            return []
        flat = [state.detach().clone() if kept else state for state in flat]
        ready = iter([torch.as_tensor(state).to(sequences.device, self._compute_type) for state in flat])
        return nested_like(state_sizes(self.cell), ready)

    def _states_on(self, device: torch.device) -> list[Any]:
        """The kept states, which follow a layer that moved or got its memory later."""
        kept = tree.flatten(self.states)
        if kept[0].device != device and not in_trial():
            bare = kept[0].device.type == "meta"
            values = tree.flatten(self.get_initial_state(len(kept[0]))) if bare else kept
            moved = [
                old.like(value.detach().to(device, old.dtype, copy=True))
                for old, value in zip(kept, values, strict=True)
            ]
            self.__dict__["states"] = nested_like(self.states, iter(moved))
        return self.states  # type: ignore[no-any-return]

    def _keep_states(self, states: list[Any]) -> None:
        if not in_trial():
            for variable, state in zip(tree.flatten(self.states), tree.flatten(states), strict=True):
                variable.assign(state.detach())

    # The computation.

    def call(
        self, sequences: torch.Tensor, initial_state: Any = None, mask: Any = None, training: bool | None = False
    ) -> Any:
        sequences = sequences.to(self._compute_type)
        if not self._fits(sequences):  # some kernels of torch would read past the end
            self.shape_rule(Axes(self.axis_names(sequences.dim()), tuple(sequences.shape)))
        states = self._first_states(sequences, initial_state)
        mask = _step_mask(mask, sequences.device)
        if self.go_backwards:
            sequences, mask = sequences.flip(1), None if mask is None else mask.flip(1)
        self._forget_dropout()
        fused = self._fused_kernel(mask is not None, training)
        if fused is not None:
            sequences = self.cell.dropped(sequences, "dropout", training)
            outputs, states = self._run_fused(fused, sequences, states, mask)
        else:
            outputs, states = self._run_steps(sequences, states, mask, training)
        self._forget_dropout()
        if self.stateful:
            self._keep_states(states)
        outputs = outputs.to(self._compute_type)
        return (outputs, *states) if self.return_state else outputs

    def _fits(self, sequences: torch.Tensor) -> bool:
        if not isinstance(self.cell, RecurrentCell):
            return sequences.dim() > 2 and sequences.shape[1] > 0
        features = self.cell._parameters["kernel"].shape[0]  # type: ignore[union-attr]
        return sequences.dim() == 3 and sequences.shape[1] > 0 and sequences.shape[2] == features

    def _forget_dropout(self) -> None:
        if isinstance(self.cell, Layer):
            for cell in self.cell._flatten_layers():
                if isinstance(cell, RecurrentCell):
                    cell.reset_dropout_mask()
                    cell.reset_recurrent_dropout_mask()

    def _fused_kernel(self, masked: bool, training: bool | None) -> FusedKernel | None:
        """The kernel for all steps, where there is one for the cell and what is asked of it."""
        cell = self.cell
        if not _is_own(cell) or self.use_cudnn is False or (training and cell.recurrent_dropout):
            return None
        if masked and cell.states_number > 1 and (self.return_state or self.stateful):
            return None  # of the states that are no outputs, kernels give the last one only
        return cell.fused_kernel()

    def _run_fused(
        self, kernel: FusedKernel, sequences: torch.Tensor, states: list[Any], mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, list[Any]]:
        if mask is None:
            outputs, last = kernel(sequences, states)
            return outputs if self.return_sequences else outputs[:, -1], last
        sequences, counts = squeezed(sequences, mask)
        outputs, _ = kernel(sequences, states)
        last = [after(outputs, counts[:, -1:], states[0])[:, 0]]
        if not self.return_sequences:
            counts, mask = counts[:, -1:], mask[:, -1:]
        shown = after(outputs, counts)
        if self.zero_output_for_mask:
            shown = shown * mask.unsqueeze(-1)
        return shown if self.return_sequences else shown[:, 0], last

    def _run_steps(
        self, sequences: torch.Tensor, states: list[Any], mask: torch.Tensor | None, training: bool | None
    ) -> tuple[torch.Tensor, list[Any]]:
        cell, own = self.cell, _is_own(self.cell)
        if own:
            sequences = cell.project(cell.dropped(sequences, "dropout", training))
        shown, outputs = None, []
        for step, inputs in enumerate(sequences.unbind(1)):
            if own:
                output, new = cell.step(inputs, states, training)
            else:
                output, new = call_cell(cell, inputs, states, training)
            if mask is not None:
                here = mask[:, step]
                otherwise = torch.zeros_like(output) if shown is None or self.zero_output_for_mask else shown
                output = _where(here, output, otherwise)
                new = tree.map_structure(lambda a, b, here=here: _where(here, a, b), new, states)
            states, shown = new, output
            if self.return_sequences:
                outputs.append(output)
        assert shown is not None  # the shape rule wants a step
        return torch.stack(outputs, dim=1) if self.return_sequences else shown, states


def _is_own(cell: Any) -> bool:
    """Whether a cell computes as lamina's do: a user's subclass may do anything in its `call`."""
    return isinstance(cell, RecurrentCell) and type(cell).__module__.startswith("lamina.")


def _step_mask(mask: Any, device: torch.device) -> torch.Tensor | None:
    """A mask as booleans (batch, steps)."""
    mask = tree.flatten(mask)[0]
    if mask is None:
        return None
    mask = torch.as_tensor(mask, device=device).bool()
    return mask.reshape(mask.shape[:2]) if mask.dim() > 2 else mask


def _where(here: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """By example."""
    return torch.where(here.reshape(-1, *[1] * (one.dim() - 1)), one, other)
