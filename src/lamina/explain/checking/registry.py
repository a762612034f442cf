"""The table of checks: a code, a name, a sentence, and the function that looks."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lamina.explain.checking.subject import Subject


class Problem(NamedTuple):
    """A finding without its code: the layer (None for the model), what is so, why it matters, what to do."""

    layer: str | None
    what: str
    why: str
    mend: str


Look = Callable[[Subject], Iterator[Problem]]


@dataclass(frozen=True)
class Check:
    """One check: its stable code, its name, a sentence for the index of the pages, and the function that looks."""

    code: str
    name: str
    summary: str
    look: Look


CHECKS: dict[str, Check] = {}


def check(code: str, name: str, summary: str) -> Callable[[Look], Look]:
    """Decorator: the function looks for this finding. Each code is a page, docs/findings/<code>.md."""

    def add(look: Look) -> Look:
        assert code not in CHECKS, f"the code {code} is taken"
        CHECKS[code] = Check(code, name, summary, look)
        return look

    return add


def chosen(ignore: str | Iterable[str]) -> list[Check]:
    """All checks but those to be ignored, named by code or by name. Errors: an unknown one is a ValueError.

    >>> from lamina.explain.checking import chosen
    >>> chosen(["W4010"])
    Traceback (most recent call last):
    ValueError: There is no finding 'W4010'. Did you mean 'W401'?
    """
    left = dict(CHECKS)
    by_name = {check.name: code for code, check in CHECKS.items()}
    for given in [ignore] if isinstance(ignore, str) else ignore:
        code = by_name.get(str(given), str(given).upper())
        if code not in CHECKS:
            raise ValueError(f"There is no finding {given!r}.{_nearest(str(given), [*CHECKS, *by_name])}")
        left.pop(code, None)
    return [left[code] for code in sorted(left)]


def _nearest(given: str, known: list[str]) -> str:
    close = difflib.get_close_matches(given.upper(), known, 1) or difflib.get_close_matches(given.lower(), known, 1)
    return f" Did you mean {close[0]!r}?" if close else f" The codes are {', '.join(sorted(CHECKS))}."
