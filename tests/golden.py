"""Golden files: texts that a test holds a result against, kept under `tests/golden/`.

`LAMINA_GOLDEN_OVERWRITE=1 python -m pytest tests/test_x.py` writes what the tests produce instead of comparing; look at
the difference in git before you commit it.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"
OVERWRITE = "LAMINA_GOLDEN_OVERWRITE"


def check_golden(name: str, text: str) -> None:
    """Holds `text` against `tests/golden/<name>.txt`; trailing blanks of lines and of the text do not count."""
    text = "\n".join(line.rstrip() for line in text.rstrip().split("\n")) + "\n"
    path = FOLDER / f"{name}.txt"
    if os.environ.get(OVERWRITE) == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    if not path.exists():
        raise AssertionError(f"there is no golden file {path}; {OVERWRITE}=1 writes it. The text is:\n{text}")
    expected = path.read_text(encoding="utf-8")
    if text != expected:
        lines = difflib.unified_diff(expected.splitlines(), text.splitlines(), str(path), "now", lineterm="")
        raise AssertionError("\n".join([f"the text differs; if the new one is right, {OVERWRITE}=1 keeps it", *lines]))
