"""Embedding: rows of a table by their numbers."""

from __future__ import annotations

from typing import Any

import torch

from lamina.base.errors import LaminaError
from lamina.base.registry import public
from lamina.graph.record import op
from lamina.layers.layer import Layer
from lamina.layers.parts import positive_integer, take_parts
from lamina.layers.same_shape import here_but
from lamina.shapes import Axes, Readings, Size, axis_names


@public("layers")
class Embedding(Layer):
    """Looks up a row of `output_dim` features for each whole number below `input_dim`.

    Shapes: (batch, steps) of integers → (batch, steps, output_dim), for any number of axes.
    Parameters: input_dim·output_dim. With `mask_zero` the number 0 means padding, and the output carries the mask
    `inputs != 0`. Errors: on the CPU a number outside the table is a LaminaError (an IndexError too).

    >>> import lamina
    >>> lamina.layers.Embedding(1000, 16)(lamina.Input((20,), dtype="int32")).shape
    (None, 20, 16)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**{**kwargs, "autocast": False})
        self.input_dim = positive_integer(input_dim, "Embedding: input_dim")
        self.output_dim = positive_integer(output_dim, "Embedding: output_dim")
        take_parts(
            self,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
        )
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        self.embeddings: Any = None

    def build(self, input_shape: Any = None) -> None:
        self.embeddings = self.add_weight(
            (self.input_dim, self.output_dim),
            self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
            name="embeddings",
            axes=("rows", "features"),
        )

    def axis_names(self, rank: int) -> tuple[str, ...]:
        return axis_names(rank + 1)[:-1]

    def shape_rule(self, inputs: Axes) -> Axes:
        return Axes((*inputs.names, "features"), (*inputs.sizes, self.output_dim))

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        return 0  # rows are looked up

    def readings(self, *inputs: Axes) -> Readings | None:
        return here_but(inputs[0], [])

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return _is_not_zero(inputs) if self.mask_zero else None

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.dtype not in (torch.int32, torch.int64):
            inputs = inputs.to(torch.int32)
        # Read past the cast of mixed precision: casting the looked-up rows costs less than casting the table.
        table = self._parameters["embeddings"]
        assert table is not None
        try:
            rows = torch.nn.functional.embedding(inputs, table)
        except IndexError as error:
            raise RowError(
                f"{self.title} has rows 0 to {self.input_dim - 1} (input_dim={self.input_dim}) and got numbers from "
                f"{int(inputs.min())} to {int(inputs.max())}. Give it an input_dim above the largest number."
            ) from error
        return rows.to(self._compute_type)


class RowError(LaminaError, IndexError):
    """A number for which an embedding has no row."""


@op
def _is_not_zero(inputs: torch.Tensor) -> torch.Tensor:
    return inputs.ne(0)
