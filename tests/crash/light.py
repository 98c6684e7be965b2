"""Runs one case of tests in a process that has loaded little: a fork of pytest's own, which is large, takes ten times as long.

Started as `python -m crash.light module:function ARGUMENTS`, the arguments as JSON. An assertion that fails is its stderr.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_TESTS = str(Path(__file__).parents[1])


def run_light(case: Callable[..., None], *arguments: object) -> None:
    """Runs a module-level function, to its good end.

    Args:
        case: of a module that does not import pytest.
        arguments: JSON values, or paths.

    Raises:
        AssertionError: it raised; its traceback is in the message.
    """
    name = f"{case.__module__}:{case.__name__}"
    done = subprocess.run(
        [sys.executable, "-m", "crash.light", name, json.dumps(arguments, default=str)],
        env={**os.environ, "PYTHONPATH": _TESTS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    module, function = sys.argv[1].split(":")
    getattr(importlib.import_module(module), function)(*json.loads(sys.argv[2]))
