"""Prints the number of code lines (no blank lines, comments or docstrings) of each package and in all."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def code_lines(source: str) -> int:
    """The number of lines with code.

    >>> code_lines('x = 1  # one\\n\\n# nothing\\ndef f():\\n    "doc"\\n    return x\\n')
    3
    """
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines.difference_update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)


def main() -> None:
    counts: Counter[str] = Counter()
    for path in sorted((ROOT / "src" / "lamina").rglob("*.py")):
        parts = path.relative_to(ROOT / "src" / "lamina").parts
        counts[parts[0] if len(parts) > 1 else "lamina"] += code_lines(path.read_text())
    tests = sum(code_lines(path.read_text()) for path in (ROOT / "tests").rglob("*.py"))
    print(f"code lines: {sum(counts.values()):,} in lamina, {tests:,} in tests")
    print("  " + ", ".join(f"{name} {count:,}" for name, count in counts.most_common()))


if __name__ == "__main__":
    main()
