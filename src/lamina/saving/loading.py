"""The one way from a file to a model: built on the meta device within a budget, compared, read, then compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.base.collecting import collector_paused
from lamina.base.registry import custom_object_scope
from lamina.base.serialization import compiled_later, deserialize_keras_object
from lamina.base.trust import as_lamina_errors, checked_safe_mode, safe_mode_scope
from lamina.engine.budget import Budget, budget_scope


@dataclass
class Loading:
    """A model on its way out of a file: `build`, then read its weights, then `finish`."""

    budget: Budget
    to_compile: list[Callable[[], Any]]

    def build(self, config: Any) -> Any:
        """The model of a config that `guard.parsed_config` let through. Its weights have shapes and no memory yet."""
        return deserialize_keras_object(config)

    def finish(self) -> None:
        """Initial values for the weights that the file does not hold; then compiles what the config says compiled."""
        self.budget.materialize()
        for step in self.to_compile:
            step()


@contextmanager
def loading(
    source: Path | str,
    custom_objects: dict[str, Any] | None = None,
    safe_mode: bool = True,
    memory_limit: int | None = None,
) -> Iterator[Loading]:
    """A block in which a model is made from a file. Errors that are not lamina's own become one that names
    the source.

    Errors: see `load_model`.
    """
    checked_safe_mode(safe_mode)
    with (
        collector_paused(),
        budget_scope(memory_limit) as budget,
        safe_mode_scope(safe_mode),
        custom_object_scope(custom_objects or {}),
        compiled_later() as to_compile,
        as_lamina_errors(str(source)),
    ):
        yield Loading(budget, to_compile)
