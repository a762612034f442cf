"""LSTM: long short-term memory."""

from __future__ import annotations

from typing import Any

import torch

from lamina import activations, initializers
from lamina.base.registry import public
from lamina.engine import recurrent
from lamina.layers.recurrent.base import RNN, cell_options
from lamina.layers.recurrent.cells import FusedKernel, RecurrentCell, Tensors


@public("layers")
class LSTMCell(RecurrentCell):
    """One step of `LSTM`.

    `c = forget·c + input·activation(candidate)`, `h = output·activation(c)`, where the four gates (input, forget,
    candidate, output) are the quarters of `inputs · kernel + h · recurrent_kernel + bias`, three of them through
    `recurrent_activation`.
    Shapes: (batch, features), states [h, c], each (batch, units) → h, [h, c].
    Parameters: 4·(features·units + units·units + units).

    >>> import lamina
    >>> output, states = lamina.layers.LSTMCell(4)(torch.ones(2, 3), [torch.zeros(2, 4), torch.zeros(2, 4)])
    >>> output.shape, len(states)
    (torch.Size([2, 4]), 2)
    """

    gates = 4
    states_number = 2

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.unit_forget_bias = unit_forget_bias
        self._take(
            units,
            use_bias,
            dropout,
            recurrent_dropout,
            seed,
            activation=activation,
            recurrent_activation=recurrent_activation,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
        )

    def first_bias(self) -> Any:
        return self._open_forget_gate if self.unit_forget_bias else self.bias_initializer

    def _open_forget_gate(self, shape: Any, dtype: Any = None) -> torch.Tensor:
        """The bias with ones for the forget gate, so that the memory is kept at first."""
        units = self.units
        parts = [
            (self.bias_initializer, units),
            (initializers.get("ones"), units),
            (self.bias_initializer, 2 * units),
        ]
        return torch.cat([torch.as_tensor(make((size,), dtype=dtype)) for make, size in parts])

    def step(self, projected: torch.Tensor, states: Tensors, training: bool | None) -> tuple[torch.Tensor, Tensors]:
        before = self.dropped(states[0], "recurrent_dropout", training)
        gates = projected + before @ self.recurrent_kernel
        entering, forget, candidate, leaving = gates.chunk(4, dim=-1)
        gate = self.recurrent_activation
        memory = gate(forget) * states[1] + gate(entering) * self.activation(candidate)
        output = gate(leaving) * self.activation(memory)
        return output, [output, memory]

    def fused_kernel(self) -> FusedKernel | None:
        if self.activation is not activations.tanh or self.recurrent_activation is not activations.sigmoid:
            return None

        def run(x: torch.Tensor, states: Tensors) -> tuple[torch.Tensor, Tensors]:
            outputs, *last = recurrent.lstm(x, states[0], states[1], self.kernel, self.recurrent_kernel, self.bias)
            return outputs, last

        return run


@public("layers")
class LSTM(RNN):
    """Long short-term memory over a sequence. Hochreiter and Schmidhuber 1997; the forget gate: Gers et al. 2000.

    Shapes: (batch, steps, features) → (batch, units), or (batch, steps, units) with `return_sequences`; with
    `return_state` also the last h and c, each (batch, units).
    Parameters: 4·(features·units + units·units + units); see `LSTMCell` for the gates.
    Masks, `initial_state` and the other arguments: see `RNN`. With tanh, sigmoid and no recurrent_dropout all steps run
    in one kernel (oneDNN, cuDNN); `use_cudnn=False` goes step by step.
    Errors: after it was built, another number of features is a ShapeError.

    >>> import lamina
    >>> layer = lamina.layers.LSTM(128, return_sequences=True)
    >>> layer(lamina.Input((100, 64))).shape, layer.count_params()
    ((None, 100, 128), 98816)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ):
        given = locals()
        cell = LSTMCell(**cell_options(LSTMCell, given), name="lstm_cell")
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.use_cudnn = use_cudnn
