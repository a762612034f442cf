"""EinsumDense: a dense layer whose axes an equation names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lamina.base.errors import ShapeError
from lamina.base.registry import public
from lamina.layers.layer import Layer
from lamina.layers.parts import take_parts
from lamina.layers.same_shape import here_but
from lamina.shapes import Axes, Readings, Size, multiply, value_of

_FORM = re.compile(r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?")


@dataclass(frozen=True)
class Equation:
    """An equation's letters; `open_end` says where the dots stand: "left", "right" or ""."""

    inputs: str
    kernel: str
    outputs: str
    open_end: str

    @classmethod
    def read(cls, text: str) -> Equation:
        """Errors: a ValueError shows the three forms that there are."""
        found = _FORM.fullmatch(text.replace(" ", ""))
        left, inputs, right, kernel, left_out, outputs, right_out = found.groups("") if found else ("",) * 7
        if found is None or left != left_out or right != right_out or (left and right):
            raise ValueError(
                f"EinsumDense: an equation reads 'ab,bc->ac', '...b,bc->...c' or 'ab...,bc->ac...': the input's axes, "
                f"the kernel's, the output's; got {text!r}."
            )
        unknown = set(kernel) - set(inputs) - set(outputs)
        missing = set(outputs) - set(inputs) - set(kernel)
        if unknown or missing:
            letters = ", ".join(sorted(unknown | missing))
            raise ValueError(f"EinsumDense: nothing gives the size of {letters} in {text!r}.")
        return cls(inputs, kernel, outputs, "left" if left else "right" if right else "")

    @property
    def declared(self) -> str:
        """The output's letters whose sizes `output_shape` lists: all but the batch axis."""
        return self.outputs if self.open_end == "left" else self.outputs[1:]

    @property
    def summed_last(self) -> int | None:
        """How many axes, the input's last and the kernel's first, meet as in a matrix product whose other axes stay in
        their order ("abc,cde->abde": 1); None for an equation of another form."""
        added = "".join(letter for letter in self.kernel if letter not in self.inputs)
        summed = self.kernel[: len(self.kernel) - len(added)]
        kept = self.inputs[: len(self.inputs) - len(summed)]
        matrix = self.inputs == kept + summed and self.kernel == summed + added and self.outputs == kept + added
        distinct = len(set(self.inputs + added)) == len(self.inputs + added)
        return len(summed) if matrix and distinct and summed and added and self.open_end != "right" else None


@public("layers")
class EinsumDense(Layer):
    """`activation(einsum(equation, inputs, kernel) + bias)`.

    Shapes: as `equation` says, e.g. "abc,cd->abd": (batch, steps, features) → (batch, steps, units). `output_shape` is
    without the batch axis, None where the input gives the size. Parameters: the product of the kernel's axes, and of
    the axes in `bias_axes`. Errors: an equation of another form is a ValueError; an input that does not fit it is a
    ShapeError.

    >>> import lamina
    >>> lamina.layers.EinsumDense("abc,cd->abd", (None, 64), bias_axes="d")(lamina.Input((32, 128))).shape
    (None, 32, 64)
    """

    words: Mapping[str, str] = {}  # what letters stand for, where a layer that holds this one knows it

    def __init__(
        self,
        equation: str,
        output_shape: Any,
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.equation, self.bias_axes = equation, bias_axes
        self._letters = Equation.read(equation)
        shape = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)
        if len(shape) != len(self._letters.declared):
            raise ValueError(
                f"EinsumDense: output_shape lists the sizes of {', '.join(self._letters.declared)} in {equation!r} (no "
                f"batch axis); got {shape}."
            )
        stray = set(bias_axes or "") - set(self._letters.outputs)
        if stray:
            raise ValueError(f"EinsumDense: bias_axes names {sorted(stray)}, which the output of {equation!r} has not.")
        self.output_shape = shape
        # Where the equation is a matrix product, it runs as one: on a CPU einsum costs more than it does.
        summed = self._letters.summed_last
        every = self._letters.kernel[summed:]
        self._summed = summed if bias_axes is None or set(bias_axes) == set(every) else None
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
        self.bias: Any = None

    def build(self, input_shape: Any) -> None:
        inputs = Axes(self.axis_names(len(input_shape)), tuple(input_shape))
        sizes = {letter: value_of(size) for letter, size in self._sizes(inputs).items()}
        named = dict(zip(self._letters.inputs, self._ends(inputs)[1].names, strict=True))
        letters = self._letters
        self.kernel = self.add_weight(
            tuple(sizes[letter] for letter in letters.kernel),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
            axes=tuple(self._word(letter, named) for letter in letters.kernel),
        )
        if self.bias_axes:
            first = min(letters.outputs.index(letter) for letter in self.bias_axes)
            kept = letters.outputs[first:] + "." * (len(self._ends(inputs)[0]) if letters.open_end == "right" else 0)
            self.bias = self.add_weight(
                tuple(sizes[letter] if letter in self.bias_axes else 1 for letter in kept),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
                axes=tuple(self._word(letter, {}) if letter in self.bias_axes else "one for all" for letter in kept),
            )

    def _word(self, letter: str, of_input: Mapping[str, str]) -> str:
        """What a letter stands for in the parameter formula."""
        return self.words.get(letter) or of_input.get(letter) or f"output {letter}"

    def _as_matrix_product(self, inputs: torch.Tensor, summed: int) -> torch.Tensor:
        kernel, bias = self.kernel, self.bias
        more = inputs.dim() - len(self._letters.inputs)
        if inputs.shape[-summed:] != kernel.shape[:summed] or more < 0 or (more and not self._letters.open_end):
            raise RuntimeError("the input does not fit the kernel")  # the shape rule says why
        rows = inputs.flatten(-summed) if summed > 1 else inputs
        matrix = kernel.flatten(0, summed - 1) if summed > 1 else kernel
        outputs = torch.nn.functional.linear(rows, matrix.flatten(1).t(), None if bias is None else bias.flatten())
        added = kernel.shape[summed:]
        return outputs if len(added) == 1 else outputs.unflatten(-1, added)

    def _ends(self, inputs: Axes) -> tuple[list[tuple[str, Size]], Axes]:
        """The axes that the dots stand for, and those that the letters name."""
        count = len(self._letters.inputs)
        pairs = list(inputs)
        if self._letters.open_end == "left":
            dots, named = pairs[: len(pairs) - count], pairs[len(pairs) - count :]
        else:
            dots, named = pairs[count:], pairs[:count]
        if len(named) != count or (dots and not self._letters.open_end):
            least = "at least " if self._letters.open_end else ""
            raise ShapeError(
                f"{self.title} reads inputs of {least}{count} axes and got {inputs.rank}.",
                layer=self.name,
                expected=f"{least}{count} axes, one for each letter",
                because=f"its equation is {self.equation!r}",
                mend="write an equation for this input, or reshape the input to the letters of this one",
            )
        return dots, Axes(tuple(name for name, _ in named), tuple(size for _, size in named))

    def _sizes(self, inputs: Axes) -> dict[str, Size]:
        """The size of each letter: from the input, else from `output_shape`, else from the built kernel."""
        sizes: dict[str, Size] = dict(zip(self._letters.inputs, self._ends(inputs)[1].sizes, strict=True))
        sources = [("output_shape says", zip(self._letters.declared, self.output_shape, strict=True))]
        if self.kernel is not None:
            sources.append(("its kernel has", zip(self._letters.kernel, self.kernel.shape, strict=True)))
        for source, pairs in sources:
            for letter, size in pairs:
                known = value_of(sizes.get(letter))
                if size is not None and known is not None and size != known:
                    raise ShapeError(
                        f"{self.title}: axis {letter!r} of {self.equation!r} has the size {known} and {source} {size}.",
                        layer=self.name,
                        expected=f"{size} on axis {letter!r}",
                        because="one letter stands for one size",
                        mend=f"give it an input with {size} on axis {letter!r}, or make a layer for {known}",
                    )
                if known is None and size is not None:
                    sizes[letter] = size
                else:
                    sizes.setdefault(letter, None)
        return sizes

    def shape_rule(self, inputs: Axes) -> Axes:
        sizes = self._sizes(inputs)
        dots, named = self._ends(inputs)
        names = dict(zip(self._letters.inputs, named.names, strict=True))
        pairs = [(names.get(letter, f"output {letter}"), sizes[letter]) for letter in self._letters.outputs]
        pairs = [*dots, *pairs] if self._letters.open_end == "left" else [*pairs, *dots]
        return Axes(tuple(name for name, _ in pairs), tuple(size for _, size in pairs))

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        sizes = self._sizes(inputs[0])
        added = [sizes[letter] for letter in self._letters.kernel if letter not in self._letters.inputs]
        return multiply([*inputs[0].sizes[1:], *added])

    def readings(self, *inputs: Axes) -> Readings | None:
        letters = self._letters
        named = zip(letters.inputs, self._ends(inputs[0])[1].names, strict=True)
        summed = [name for letter, name in named if letter in letters.kernel or letter not in letters.outputs]
        return here_but(inputs[0], [inputs[0].names.index(name) for name in summed])

    def call(self, inputs: torch.Tensor, training: bool | None = None) -> torch.Tensor:
        if self._summed is not None:
            return self.activation(self._as_matrix_product(inputs, self._summed))
        outputs = torch.einsum(self.equation, inputs, self.kernel)
        if self.bias is not None:
            outputs = outputs + self.bias
        return self.activation(outputs)
