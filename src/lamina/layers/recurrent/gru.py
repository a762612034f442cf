"""GRU: the gated recurrent unit."""

from __future__ import annotations

from typing import Any

import torch

from lamina import activations
from lamina.base.registry import public
from lamina.engine import recurrent
from lamina.layers.recurrent.base import RNN, cell_options
from lamina.layers.recurrent.cells import FusedKernel, RecurrentCell, Tensors


@public("layers")
class GRUCell(RecurrentCell):
    """One step of `GRU`: `h = update·h + (1 - update)·candidate`.

    The three gates (update, reset, candidate) are the thirds of the kernels. The reset gate scales what the candidate
    takes from h: behind the product with `recurrent_kernel`, as cuDNN has it, or before it with `reset_after=False`.
    Shapes: (batch, features), states [(batch, units)] → (batch, units), the same as the new state.
    Parameters: 3·(features·units + units·units + 2·units), or 3·(features·units + units·units + units) with
    `reset_after=False`, which needs one bias instead of two.

    >>> import lamina
    >>> output, states = lamina.layers.GRUCell(4)(torch.ones(2, 3), [torch.zeros(2, 4)])
    >>> output.shape, len(states)
    (torch.Size([2, 4]), 1)
    """

    gates = 3

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
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
        reset_after: bool = True,
        seed: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.reset_after = reset_after
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

    def bias_rows(self) -> int:
        return 2 if self.reset_after else 1

    def _biases(self) -> tuple[Any, Any]:
        """Of the inputs and of the states."""
        bias = self.bias
        return (None, None) if bias is None else (bias[0], bias[1]) if self.reset_after else (bias, None)

    def project(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(inputs, self.kernel.t(), self._biases()[0])

    def step(self, projected: torch.Tensor, states: Tensors, training: bool | None) -> tuple[torch.Tensor, Tensors]:
        before = states[0]
        held = self.dropped(before, "recurrent_dropout", training)
        turned, gate, both = self.recurrent_kernel.t(), self.recurrent_activation, 2 * self.units
        of_gates, of_candidate = projected[..., :both], projected[..., both:]
        if self.reset_after:
            own = torch.nn.functional.linear(held, turned, self._biases()[1])
            update, reset = gate(of_gates + own[..., :both]).chunk(2, dim=-1)
            candidate = self.activation(of_candidate + reset * own[..., both:])
        else:
            update, reset = gate(of_gates + torch.nn.functional.linear(held, turned[:both])).chunk(2, dim=-1)
            candidate = self.activation(of_candidate + torch.nn.functional.linear(reset * held, turned[both:]))
        output = update * before + (1 - update) * candidate
        return output, [output]

    def fused_kernel(self) -> FusedKernel | None:
        usual = self.activation is activations.tanh and self.recurrent_activation is activations.sigmoid
        if not usual or not self.reset_after:
            return None

        def run(x: torch.Tensor, states: Tensors) -> tuple[torch.Tensor, Tensors]:
            outputs, last = recurrent.gru(x, states[0], self.kernel, self.recurrent_kernel, self.bias)
            return outputs, [last]

        return run


@public("layers")
class GRU(RNN):
    """Gated recurrent units over a sequence. Cho et al. 2014.

    Shapes: (batch, steps, features) → (batch, units), or (batch, steps, units) with `return_sequences`; with
    `return_state` also the last state (batch, units).
    Parameters: 3·(features·units + units·units + 2·units); see `GRUCell` for the gates and `reset_after`.
    Masks, `initial_state` and the other arguments: see `RNN`. With tanh, sigmoid, `reset_after` and no
    recurrent_dropout all steps run in one kernel; `use_cudnn=False` goes step by step.
    Errors: after it was built, another number of features is a ShapeError.

    >>> import lamina
    >>> layer = lamina.layers.GRU(128)
    >>> layer(lamina.Input((100, 64))).shape, layer.count_params()
    ((None, 128), 74496)
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
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ):
        given = locals()
        cell = GRUCell(**cell_options(GRUCell, given), name="gru_cell")
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
