"""SimpleRNN: the fully connected recurrent layer."""

from __future__ import annotations

from typing import Any

import torch

from lamina import activations
from lamina.base.registry import public
from lamina.engine import recurrent
from lamina.layers.recurrent.base import RNN, cell_options
from lamina.layers.recurrent.cells import FusedKernel, RecurrentCell, Tensors


@public("layers")
class SimpleRNNCell(RecurrentCell):
    """One step of `SimpleRNN`: `h = activation(inputs · kernel + h · recurrent_kernel + bias)`.

    Shapes: (batch, features), states [(batch, units)] → (batch, units), the same as the new state.
    Parameters: features·units + units·units + units.

    >>> import lamina
    >>> output, states = lamina.layers.SimpleRNNCell(4)(torch.ones(2, 3), [torch.zeros(2, 4)])
    >>> output.shape, len(states)
    (torch.Size([2, 4]), 1)
    """

    gates = 1

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
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
        self._take(
            units,
            use_bias,
            dropout,
            recurrent_dropout,
            seed,
            activation=activation,
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

    def step(self, projected: torch.Tensor, states: Tensors, training: bool | None) -> tuple[torch.Tensor, Tensors]:
        before = self.dropped(states[0], "recurrent_dropout", training)
        output = self.activation(projected + before @ self.recurrent_kernel)
        return output, [output]

    def fused_kernel(self) -> FusedKernel | None:
        if self.activation is not activations.tanh:
            return None

        def run(x: torch.Tensor, states: Tensors) -> tuple[torch.Tensor, Tensors]:
            outputs, last = recurrent.simple_rnn(x, states[0], self.kernel, self.recurrent_kernel, self.bias)
            return outputs, [last]

        return run


@public("layers")
class SimpleRNN(RNN):
    """`h = activation(inputs · kernel + h · recurrent_kernel + bias)` at each step of a sequence. Elman 1990.

    Shapes: (batch, steps, features) → (batch, units), or (batch, steps, units) with `return_sequences`; with
    `return_state` also the last state (batch, units). Parameters: features·units + units·units + units.
    Masks, `initial_state` and the other arguments: see `RNN`. With tanh and no recurrent_dropout all steps run in one
    kernel. Errors: after it was built, another number of features is a ShapeError.

    >>> import lamina
    >>> layer = lamina.layers.SimpleRNN(16)
    >>> layer(lamina.Input((20, 8))).shape, layer.count_params()
    ((None, 16), 400)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: Any = None,
        **kwargs: Any,
    ):
        given = locals()
        cell = SimpleRNNCell(**cell_options(SimpleRNNCell, given), name="simple_rnn_cell")
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

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("seed", None)  # Keras does not write it for this one of the three
        return config
