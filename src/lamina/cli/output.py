"""What a command prints and returns: a report as text or as JSON, warnings and errors in short words, the exit code."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from lamina.base.errors import LaminaError, ShapeError, ShapeWarning

FINE, FOUND, USAGE = 0, 1, 2  # the exit codes; FOUND also means failed
_MISTAKES = (LaminaError, OSError, ValueError, ImportError)  # a user's; anything else is a fault of lamina's


class Misuse(Exception):
    """What was written on the command line means nothing: exit code 2."""


def show(report: Any, as_json: bool) -> None:
    """Prints a report, or its data as one JSON document."""
    if as_json:
        show_data(report.to_dict())
    else:
        show_text(str(report))


def show_text(text: str) -> None:
    """Prints a text in what the terminal can show."""
    print(_encodable(text))


def show_data(data: dict[str, Any]) -> None:
    """Prints one JSON document."""
    print(json.dumps(data, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    """What JSON has no word for: fractions as numbers, anything else is a fault."""
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    raise TypeError(f"{type(value).__name__} {value!r:.80} is no plain data")


def _encodable(text: str) -> str:
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(text: str) -> None:
    """A message on stderr, with the program's name in front; its lines are folded to the terminal's width."""
    wrapper = textwrap.TextWrapper(_width(), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    lines = f"lamina: {text}".split("\n")
    print("\n".join(wrapper.fill(line) if len(line) > wrapper.width else line for line in lines), file=sys.stderr)


def _width() -> int:
    return min(shutil.get_terminal_size((80, 24)).columns, 100)


def guarded(command: Callable[..., int | None], *args: Any, **kwargs: Any) -> int:
    """The exit code of a command. A user's mistake is a message on stderr and code 1, and a warning a line there.

    With LAMINA_TRACEBACK=1 in the environment errors go through, with their traceback.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("default", ShapeWarning)
        warnings.showwarning = _show_warning
        try:
            code = command(*args, **kwargs) or FINE
            sys.stdout.flush()  # while a closed pipe can still be told apart from a fault
            return code
        except BrokenPipeError:  # the reader has seen enough (`| head`): click ends without a word
            raise
        except Misuse as error:
            say(str(error))
            return USAGE
        except _MISTAKES as error:
            if os.environ.get("LAMINA_TRACEBACK") == "1":
                raise
            say(in_words(error))
            return FOUND


def in_words(error: BaseException) -> str:
    """What an error says, without the name of its class where it is lamina's or the system's."""
    if isinstance(error, ShapeError):
        return error.text(_width())
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _show_warning(message: Warning | str, *place: Any, **more: Any) -> None:
    text = message.headline if isinstance(message, ShapeWarning) else str(message).split("\n")[0]
    say(f"warning: {text}")


def warn_of(error: ShapeError, unless: str) -> None:
    """An error that was gone around, as a warning: its headline, its reason and what was done."""
    reason = " ".join((error.because or "").split())
    say(f"warning: {error.headline} {reason[:1].upper()}{reason[1:].rstrip('.')}. {unless}")
