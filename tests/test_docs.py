"""Every program of the documentation runs and prints what the page shows; every link leads somewhere.

`LAMINA_DOCS_OVERWRITE=1 python -m pytest tests/test_docs.py` writes what the programs print into the pages; look at the
difference in git before you commit it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from page_runner import Page, PageError, agree

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
README = ROOT / "README.md"
QUESTIONS = ["parameter-count", "where-is-the-image", "first-layers", "declared-shape", "smallest-image"]


@pytest.mark.parametrize("path", [README, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_shows_what_its_programs_print(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = Page(path)
    if os.environ.get("LAMINA_DOCS_OVERWRITE") == "1":
        page.overwrite()
    else:
        page.check()


@pytest.mark.parametrize("name", QUESTIONS)
def test_each_question_has_a_page_with_programs(name):
    page = Page(ROOT / "docs" / "why" / f"{name}.md")
    assert sum(block.language == "python" for block in page.blocks) >= 3
    assert sum(block.language == "" for block in page.blocks) >= 3


def test_the_site_is_built_without_a_dead_link(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in PAGES:
        assert (tmp_path / page.relative_to(ROOT / "docs").with_suffix(".html")).exists(), page


# The runner itself.

GOOD = """
```python
import lamina
print("one  ")
print("two")
print()
print("three")
```

```
one
…
three
```

```python
inputs = lamina.Input((1, 32, 32))
print(lamina.layers.Conv2D(10, 8, padding="same")(inputs).shape)
```

```
(None, 1, 32, 10)
ShapeWarning: Conv2D 'conv2d' reads its input as a 1×32 image of 32 channels.
…
  to mend    Input((32, 32, 1)), or Conv2D(..., data_format="channels_first")
```

```python
print("before")
raise lamina.ShapeError("it does not fit", received="(None, 3)")
```
```
before
ShapeError: it does not fit
  received   (None, 3)
```

```python
made = 1
```

```text
This is not compared.
```

```console
$ lamina run missing.py
lamina run: there is no file 'missing.py'
```
"""


def written(folder, text):
    path = folder / "page.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_page_passes(tmp_path):
    assert Page(written(tmp_path, GOOD)).check() == 5


@pytest.mark.parametrize(
    ("good", "bad", "line", "message"),
    [
        ("\none\n", "\nOne\n", 11, "-One\n-…\n+one"),
        ("\nthree\n```", "\nthree\nfour\n```", 11, "something else"),
        ("…\n  to mend", "…\n  received   (None, 1)\n  to mend", 22, "something else"),
        ("ShapeWarning: Conv2D", "DeprecationWarning: Conv2D", 22, "+ShapeWarning: Conv2D"),
        ("before\nShapeError: it", "before\nit", 29, "ends in an error: ShapeError: it does not fit"),
        ("raise lamina.ShapeError", "lamina.ShapeError", 33, "-ShapeError: it does not fit"),
        ("made = 1", "print(1)", 39, "+1"),
        ("made = 1", "import warnings; warnings.warn('old')", 39, "+UserWarning: old"),
        ("made = 1", "made = 1 / 0", 39, "ends in an error: ZeroDivisionError"),
        ("```text", "So:\n\n```", 45, "an output without the program"),
        ("one\n…\nthree\n", "…\n", 11, "something else"),
        ("```text", "~~~text", 42, "a fence here is"),
        ("```text", " ```text", 42, "a fence here is"),
        ("$ lamina run", "$ keras run", 47, "only the commands of lamina"),
        ("no file 'missing.py'\n```", "no file missing.py\n", 46, "not closed"),
    ],
)
def test_a_bad_page_fails_at_its_line(tmp_path, good, bad, line, message):
    assert GOOD.count(good) == 1
    with pytest.raises(PageError) as error:
        Page(written(tmp_path, GOOD.replace(good, bad))).check()
    assert str(error.value).startswith(f"{tmp_path / 'page.md'}:{line}: ")
    assert message in str(error.value)


def test_lines_are_left_out_only_where_the_page_says_so():
    lines = list("abcdef")
    assert agree(lines, lines)
    for shown in ("a…f", "ab…", "…f", "a…d…f", "…c…"):
        assert agree(list(shown), lines), shown
    for shown in ("abcdef…", "…abcdef", "abc…def", "a…f…", "a…b…c", "…", "a…g", "b…f", "abcde", "a…e"):
        assert not agree(list(shown), lines), shown


def test_overwriting_writes_what_is_printed_and_keeps_the_rest(tmp_path):
    stale = (
        GOOD.replace("\none\n", "\nOne\n").replace("made = 1", "print(2)").replace("(None, 3)\n```", "(None, 4)\n```")
    )
    path = written(tmp_path, stale)
    Page(path).overwrite()
    assert path.read_text() == GOOD.replace("made = 1\n```\n", "print(2)\n```\n\n```\n2\n```\n")
    Page(path).check()


def test_overwriting_does_not_write_an_error_that_the_page_did_not_show(tmp_path):
    path = written(tmp_path, GOOD.replace("made = 1", "made = missing"))
    before = path.read_text()
    with pytest.raises(PageError, match="NameError"):
        Page(path).overwrite()
    assert path.read_text() == before
