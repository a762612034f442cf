"""What `model.check()` returns: findings, and the text that groups those that say the same of many layers."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from lamina.explain.report import Report

_WIDTH = 80
_INDENT = " " * 11


@dataclass(frozen=True)
class Finding:
    """Something in a model that can hardly be meant.

    `code` is stable (`W401`) and has a page, docs/findings/W401.md; `name` says the same in words; `layer` is where,
    with the path into nested models (`encoder/conv`), or None for the model as a whole; `what` is so, `why` it matters,
    and what to do (`mend`).
    """

    code: str
    name: str
    layer: str | None
    what: str
    why: str
    mend: str


@dataclass(frozen=True)
class Findings(Report):
    """The findings of one check, in the order of their codes. Empty, and false, where nothing was found.

    `unseen` says what could not be looked at: the calls inside a subclassed model.

    >>> import lamina
    >>> x = lamina.Input((4,))
    >>> y = lamina.layers.BatchNormalization(name="norm")(lamina.layers.Dense(3, name="dense")(x))
    >>> found = lamina.Model(x, y).check()
    >>> len(found), found.codes, found.findings[0].layer
    (1, ('W401',), 'dense')
    """

    model: str
    findings: tuple[Finding, ...]
    unseen: str = ""

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes that were found, each once."""
        return tuple(dict.fromkeys(finding.code for finding in self.findings))

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def parts(self) -> Iterator[str]:
        count = len(self.findings)
        yield f"{count or 'No'} finding{'s' * (count != 1)} in the model {self.model!r}."
        for group in self._groups():
            yield ""
            yield from _lines(group)
        if self.findings:
            yield ""
            code = self.codes[0]
            yield f'`lamina finding {code}` shows a page on it; check(ignore=["{code}"]) leaves it out.'
        if self.unseen:
            yield ""
            yield self.unseen

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _groups(self) -> list[list[Finding]]:
        """Findings that differ only in the layer and in what is so there."""
        groups: dict[tuple[str, str, str], list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault((finding.code, finding.why, finding.mend), []).append(finding)
        return list(groups.values())

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "findings": [asdict(finding) for finding in self.findings],
            "unseen": self.unseen or None,
        }


def _lines(group: list[Finding]) -> Iterator[str]:
    first, others = group[0], [finding.layer for finding in group[1:] if finding.layer]
    layer = f"  {first.layer}" if first.layer else ""
    more = f" and {len(others)} more" if others else ""
    yield f"{first.code} {first.name}{layer}{more}"
    yield from _wrapped("what", first.what)
    if others:
        listed = ", ".join(others[:3])
        rest = f" and {len(others) - 3} more" if len(others) > 3 else ""
        yield from _wrapped("", f"The same holds of {listed}{rest}.")
    yield from _wrapped("why", first.why)
    yield from _wrapped("to mend", first.mend)


_SHAPE = re.compile(r"\((?:None|\d+)(?:, (?:None|\d+))*,?\)")


def _wrapped(label: str, text: str) -> list[str]:
    """The text in lines behind its label; a shape is not parted."""
    whole = _SHAPE.sub(lambda shape: shape.group().replace(" ", "\xa0"), text)
    start, options = f"  {label:<9}", {"break_long_words": False, "break_on_hyphens": False}
    lines = textwrap.wrap(whole, _WIDTH, initial_indent=start, subsequent_indent=_INDENT, **options)  # type: ignore[arg-type]
    return [line.replace("\xa0", " ") for line in lines]
