"""The other end of `recoup.system.subprocesses.Child`: runs one function, answers JSON lines on stdout.

Started as `python -m recoup.system.child module:function`. Reads its arguments, then questions, one JSON line each.
"""

import inspect
import json
import os
import sys
from typing import Any, BinaryIO

from recoup.errors import RecoupError
from recoup.system.plugs import function_named


def main() -> None:
    """Serves until the questions end."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever an engine prints must not look like an answer
    try:
        _serve(sys.stdin.buffer, answers)
    except Exception as error:  # noqa: BLE001 - every failure is the parent's to judge
        message = {"error": str(error) or type(error).__name__, "kind": type(error).__name__, "hint": _hint(error)}
        answers.write(json.dumps(message).encode() + b"\n")


def _hint(error: Exception) -> str:
    return error.hint if isinstance(error, RecoupError) else ""


def _serve(questions: BinaryIO, answers: Any) -> None:
    function = function_named(sys.argv[1])
    result = function(*json.loads(questions.readline()))
    if not inspect.isgenerator(result):
        answers.write(json.dumps({"answer": result}).encode() + b"\n")
        return
    try:
        answer = next(result)
        while True:
            answers.write(json.dumps({"answer": answer}).encode() + b"\n")
            question = questions.readline()
            if not question:
                break
            answer = result.send(json.loads(question))
    except StopIteration:
        pass
    finally:
        result.close()


if __name__ == "__main__":
    main()
