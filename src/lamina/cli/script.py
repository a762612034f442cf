"""Running a script whose `import keras` finds lamina, as if Python itself ran it."""

from __future__ import annotations

import builtins
import io
import os
import sys
import types

from lamina.compat.importing import install


def run_script(path: str, arguments: list[str]) -> int:
    """Runs a script as `__main__` and returns the exit code of an error; `sys.exit` in the script passes through.

    `sys.argv` is the script's path and the arguments, `sys.path[0]` its folder. A traceback begins in the script.
    """
    if not os.path.isfile(path):
        print(f"lamina run: there is no file {path!r}", file=sys.stderr)
        return 2
    install()
    sys.argv = [path, *arguments]
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=builtins, __cached__=None)
    sys.modules["__main__"] = main
    try:
        with io.open_code(os.path.abspath(path)) as file:
            source = file.read()
        code = compile(source, path, "exec", dont_inherit=True)
        exec(code, main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        return _report(error)
    return 0


def _report(error: BaseException) -> int:
    """Shows an error as Python would, without the frames that lie below the script's own."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)
    return 130 if isinstance(error, KeyboardInterrupt) else 1
