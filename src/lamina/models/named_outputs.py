"""The outputs of a model by place and by name."""

from __future__ import annotations

from itertools import count
from typing import Any

from lamina.base import tree


def unique_names(names: list[str]) -> list[str]:
    """The names, with a number behind one that comes again; a name that comes once stays as it is.

    >>> unique_names(["a", "a", "b", "a_1"])
    ['a', 'a_2', 'b', 'a_1']
    """
    taken = set(names)
    result: list[str] = []
    for name in names:
        if name in result:
            name = next(numbered for number in count(1) if (numbered := f"{name}_{number}") not in taken)
            taken.add(name)
        result.append(name)
    return result


class OutputList(list[Any]):
    """A list of outputs that, asked for one that is not there, says which there are."""

    def __init__(self, outputs: list[Any], names: list[str], model: str):
        super().__init__(outputs)
        self.names, self.model = names, model

    def __getitem__(self, index: Any) -> Any:
        try:
            return super().__getitem__(index)
        except IndexError:
            listed = "\n".join(
                f"  {place}  {name}  {tensor.shape}"
                for place, (name, tensor) in enumerate(zip(self.names, self, strict=True))
            )
            number = "1 output" if len(self) == 1 else f"{len(self)} outputs"
            raise IndexError(
                f"The model {self.model!r} has {number}; there is none at index {index}. They are:\n{listed}"
            ) from None


tree.register_list(OutputList)
