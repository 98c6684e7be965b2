"""The other end of `recoup.system.subprocesses.Child` and of `recoup.system.async_children`: runs one function, answers
JSON lines on stdout.

Started as `python -m recoup.system.child module:function`. Reads its arguments, then questions, one JSON line each.
"""

import inspect
import json
import os
import sys
import threading
from typing import Any, BinaryIO

from recoup.errors import RecoupError
from recoup.system.leaving import Leaving
from recoup.system.plugs import function_named

_ANSWERS = 1  # descriptor of stdout; `main` moves it, since whatever an engine prints must not look like an answer
_ONE_AT_A_TIME = threading.Lock()

_answers = _ANSWERS


def main() -> None:
    """Serves until the questions end."""
    global _answers  # noqa: PLW0603 - there is one stdout
    _answers = os.dup(_ANSWERS)
    os.dup2(2, _ANSWERS)
    try:
        _serve(sys.stdin.buffer)
    except Exception as error:  # noqa: BLE001 - every failure is the parent's to judge
        kinds = [kind.__name__ for kind in type(error).__mro__]
        tell({"error": str(error) or kinds[0], "kind": kinds[0], "kinds": kinds, "hint": _hint(error)})


def tell(message: dict[str, Any]) -> None:
    """Sends a line to the parent: for the function that runs here, what is neither answer nor error (any thread may).

    Args:
        message: JSON values; has none of the keys `answer` and `error`.

    Raises:
        BrokenPipeError: the parent is gone.
    """
    line = memoryview(json.dumps(message).encode() + b"\n")
    with _ONE_AT_A_TIME:
        while line:
            line = line[os.write(_answers, line) :]


def _hint(error: Exception) -> str:
    return error.hint if isinstance(error, RecoupError) else ""


def _serve(questions: BinaryIO) -> None:
    function = function_named(sys.argv[1])
    result = function(*json.loads(questions.readline()))
    if not inspect.isgenerator(result):
        tell({"answer": result})
        return
    try:
        answer = next(result)
        while True:
            tell({"answer": answer})
            question = questions.readline()
            if not question:
                break
            answer = result.send(json.loads(question))
    except StopIteration:
        pass
    finally:
        result.close()


if __name__ == "__main__":
    leaving = Leaving()
    from recoup.system import child  # noqa: PLW0406 - functions that run here know this module by its name

    child.main()
    leaving.with_code(0)
