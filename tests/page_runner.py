"""Runs the programs of a Markdown page and holds what they print against what the page shows.

- ` ```python ` blocks of a page run in order in one namespace. A plain ` ``` ` block behind one is what it prints.
- A ` ```console ` block holds commands, `$ lamina …`, each with what it prints below it.
- Behind the printed lines stand the warnings, `ShapeWarning: …`, as a terminal shows them, and, where the program
  ends in an error that the page shows, its last lines, `ShapeError: …`. Other errors fail.
- Lines are compared exactly, blanks at their ends aside. A line `…` stands for one or more lines left out.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.base.names import reset_names

LEFT_OUT = "…"
_FENCE = re.compile(r"^(\s*)(```|~~~)(.*)$")


class PageError(AssertionError):
    """A page that does not show what its programs print, or that cannot be run as it is written."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language ("" for none), its lines, and the number of the line at which the first stands."""

    language: str
    lines: tuple[str, ...]
    line: int
    follows: Block | None  # the block before it, if nothing but blank lines lies between

    @property
    def last_line(self) -> int:
        return self.line + len(self.lines)


class Page:
    """A Markdown page and its blocks."""

    def __init__(self, path: Path):
        self.path = path
        self.lines = path.read_text(encoding="utf-8").splitlines()
        self.blocks = list(self._parsed())

    def _parsed(self) -> Iterator[Block]:
        before: Block | None = None
        start, language = None, ""
        for number, line in enumerate(self.lines, start=1):
            fence = _FENCE.match(line)
            if start is None:
                if fence is None:
                    before = None if line.strip() else before
                    continue
                indent, marks, language = fence.groups()
                if indent or marks != "```" or not re.fullmatch(r"\w*", language):
                    raise self.error(number, "a fence here is ```, ```python or another single word, not indented")
                start = number + 1
            elif line.rstrip() == "```":
                before = Block(language, tuple(self.lines[start - 1 : number - 1]), start, before)
                yield before
                start = None
        if start is not None:
            raise self.error(start - 1, "a block that is not closed")

    def error(self, line: int, what: str) -> PageError:
        return PageError(f"{self.path}:{line}: {what}")

    def results(self) -> Iterator[tuple[Block, Block | None, list[str]]]:
        """Runs the page: for each program the block that shows its result (None if none does) and the result."""
        shown = {id(block.follows): block for block in self.blocks if block.language == "" and block.follows}
        programs = [block for block in self.blocks if block.language == "python"]
        for block in self.blocks:
            if block.language == "" and (block.follows is None or block.follows.language != "python"):
                raise self.error(block.line, "an output without the program that prints it; ```text is not compared")
        reset_names()  # a page starts as a new process does
        namespace: dict[str, Any] = {"__name__": "__main__"}
        for block in self.blocks:
            if block in programs:
                output = shown.get(id(block))
                yield block, output, self._run(block, output, namespace)
            elif block.language == "console":
                yield block, block, self._commands(block)

    def _run(self, block: Block, output: Block | None, namespace: dict[str, Any]) -> list[str]:
        """What a program prints, warns of and, if the page shows an error, ends in."""
        code = compile("\n" * (block.line - 1) + "\n".join(block.lines), str(self.path), "exec")
        printed, ending = io.StringIO(), ""
        with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
            warnings.simplefilter("default")
            try:
                exec(code, namespace)
            except Exception as error:
                ending = f"{type(error).__name__}: {error}"
                said = () if output is None else output.lines
                if not any(line.startswith(f"{type(error).__name__}: ") for line in said):
                    raise self.error(block.line, f"the program ends in an error: {ending}") from error
        warned = [f"{one.category.__name__}: {one.message}" for one in caught]
        return _trimmed("\n".join([printed.getvalue().rstrip("\n"), *warned, ending]).lstrip("\n").split("\n"))

    def _commands(self, block: Block) -> list[str]:
        result: list[str] = []
        commands = [line for line in block.lines if line.startswith("$ ")]
        if not commands or not block.lines[0].startswith("$ "):
            raise self.error(block.line, "a console block begins with a command: $ lamina …")
        for command in commands:
            program, *arguments = shlex.split(command[2:])
            if program != "lamina":
                raise self.error(block.line, f"{command!r}: only the commands of lamina are run")
            result += [command, *_trimmed(_run_command(arguments).split("\n"))]
        return result

    def check(self) -> int:
        """Runs all programs and returns their number. Errors: a PageError at the first that prints something else."""
        number = 0
        for block, output, got in self.results():
            number += 1
            expected = [] if output is None else _trimmed(output.lines)
            if not agree(expected, got):
                difference = difflib.unified_diff(expected, got, "the page", "the program", lineterm="")
                line = (block if output is None else output).line
                raise self.error(line, "the program prints something else\n" + "\n".join(difference))
        return number

    def overwrite(self) -> None:
        """Runs the page and writes what the programs print into it; lines that were left out stay left out."""
        lines = list(self.lines)
        for block, output, got in reversed(list(self.results())):
            if output is None:
                lines[block.last_line : block.last_line] = ["", "```", *got, "```"] if got else []
            elif not agree(_trimmed(output.lines), got):
                kept = self._shortened(output, got)
                lines[output.line - 1 : output.last_line - 1] = kept
        self.path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _shortened(self, output: Block, got: list[str]) -> list[str]:
        """The lines that a block is to show, as many from the start and the end as it showed before its `…`."""
        marks = [place for place, line in enumerate(output.lines) if line.strip() == LEFT_OUT]
        if not marks:
            return got
        if len(marks) > 1:
            raise self.error(output.line, "lines are left out at several places: write this block by hand")
        first, last = marks[0], len(output.lines) - marks[0] - 1
        return [*got[:first], LEFT_OUT, *got[len(got) - last :]]


def agree(expected: list[str], got: list[str]) -> bool:
    """Whether lines are the expected ones, where a line `…` stands for one or more.

    >>> agree(["a", "…", "d"], ["a", "b", "c", "d"]), agree(["a", "…"], ["a"]), agree(["…"], ["a"])
    (True, False, False)
    """
    if LEFT_OUT not in (line.strip() for line in expected):
        return expected == got
    parts: list[list[str]] = [[]]
    for line in expected:
        if line.strip() == LEFT_OUT:
            parts.append([])
        else:
            parts[-1].append(line)
    if not any(parts):
        return False  # nothing is shown
    first, *middle, last = parts
    if got[: len(first)] != first or len(first) + len(last) >= len(got) or got[len(got) - len(last) :] != last:
        return False
    rest = got[len(first) : len(got) - len(last)]
    for part in middle:
        place = next((n for n in range(1, len(rest) - len(part) + 1) if rest[n : n + len(part)] == part), None)
        if place is None:
            return False
        rest = rest[place + len(part) :]
    return bool(rest)


def _trimmed(lines: Any) -> list[str]:
    """The lines without blanks at their ends, and without empty ones at the end."""
    return "\n".join(line.rstrip() for line in lines).rstrip("\n").split("\n") if any(lines) else []


def _run_command(arguments: list[str]) -> str:
    """What a command of lamina prints, run in this process."""
    from lamina.cli import main

    printed, before = io.StringIO(), sys.argv
    sys.argv = ["lamina", *arguments]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            main()
    except SystemExit:
        pass  # its exit code is what tests of the command line look at
    finally:
        sys.argv = before
    return printed.getvalue()
