"""`Input` and `InputLayer`: where a graph begins."""

from __future__ import annotations

from typing import Any

from lamina.base.registry import public
from lamina.engine.dtypes import standardize_dtype
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node
from lamina.layers.layer import Layer


@public("layers")
class InputLayer(Layer):
    """The beginning of a graph: an input of a shape without the batch axis.

    Parameters: `shape`, e.g. (224, 224, 3), None for an open size; `batch_size`; `dtype`; `batch_shape`, with the batch
    axis, in place of the first two; `input_tensor`, a symbolic tensor to begin with. No weights.
    """

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Any = None,
        input_tensor: KerasTensor | None = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ):
        if shape is None and "input_shape" in kwargs:
            shape = kwargs.pop("input_shape")
        batch_shape = kwargs.pop("batch_input_shape", batch_shape)
        super().__init__(name=name, **kwargs)
        if input_tensor is not None:
            batch_shape, dtype = input_tensor.shape, dtype or input_tensor.dtype
        if (shape is None) == (batch_shape is None):
            raise ValueError(
                f"{self.title} takes shape= (without the batch axis) or batch_shape= (with it), one of them."
            )
        if shape is not None:
            batch_shape = (batch_size, *((shape,) if isinstance(shape, int) else shape))
        for size in batch_shape:
            if size is not None and (isinstance(size, bool) or int(size) != size or size < 0):
                raise ValueError(f"{self.title}: a shape holds whole numbers and None; got {tuple(batch_shape)}.")
        self.__dict__["batch_shape"] = tuple(batch_shape)
        self.__dict__["_dtype"] = standardize_dtype(dtype)
        self.sparse, self.ragged, self.optional = bool(sparse), bool(ragged), optional
        tensor = KerasTensor(self.batch_shape, self._dtype, name=self.name if input_tensor is None else None)
        self.built = True
        Node(self, (), {}, tensor)
        if input_tensor is not None:
            input_tensor._keras_history = tensor._keras_history
            self._inbound_nodes[0].outputs = input_tensor
            self._inbound_nodes[0].output_tensors = [input_tensor]

    def call(self) -> None:
        raise TypeError(f"{self.title} is not called: it stands for what the model is given.")

    @property
    def dtype(self) -> str:
        return self._dtype

    def get_config(self) -> dict[str, Any]:
        return {
            "batch_shape": self.batch_shape,
            "dtype": self.dtype,
            "sparse": self.sparse,
            "ragged": self.ragged,
            "name": self.name,
            "optional": self.optional,
        }


def Input(
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    batch_shape: Any = None,
    name: str | None = None,
    tensor: KerasTensor | None = None,
    optional: bool = False,
    **kwargs: Any,
) -> KerasTensor:
    """A symbolic tensor with which a functional model begins.

    Parameters: `shape` without the batch axis (None for an open size); or `batch_shape` with it; `dtype`, float32 by
    default; `name`. Errors: neither or both of the shapes is a ValueError.

    >>> import lamina
    >>> lamina.Input((28, 28, 1)).shape
    (None, 28, 28, 1)
    """
    options: dict[str, Any] = {"batch_size": batch_size, "dtype": dtype, "sparse": sparse, "optional": optional}
    layer = InputLayer(shape, batch_shape=batch_shape, input_tensor=tensor, name=name, **options, **kwargs)
    return layer._inbound_nodes[0].outputs
