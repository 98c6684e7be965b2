"""What a start spares, and what a person sees who stops the program meanwhile."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recoup.errors import ExitCode

_WAITS = """
import sys, time, types
late = types.ModuleType("recoup.cli.main")
def _wait(_name):
    print("loading", flush=True)
    time.sleep(60)
late.__getattr__ = _wait
sys.modules["recoup.cli.main"] = late
from recoup.__main__ import main
main()
"""


@pytest.mark.parametrize("ignored", [False, True], ids=["in a terminal", "where somebody wants it ignored"])
def test_a_key_press_while_the_program_loads_ends_it_at_once_without_a_traceback(*, ignored: bool) -> None:
    program = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"] if ignored else []
    process = subprocess.Popen(
        [*program, sys.executable, "-c", _WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    if ignored:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.kill()
        process.communicate()
        return
    _, told = process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED
    assert told == "Error: interrupted\n"


_LOOKS = """
import sys
from recoup.__main__ import main
try:
    main()
except SystemExit as ended:
    heavy = {"duckdb", "httpx", "importlib.metadata", "numpy", "obstore", "ssl"} & {*sys.modules}
    print(ended.code, *sorted(heavy), file=sys.stderr)
"""


@pytest.mark.parametrize("verb", ["list", "status"])
def test_looking_at_the_sets_of_a_dedup_repository_loads_no_library_for_their_content(
    tmp_path: Path, verb: str
) -> None:
    (tmp_path / "secret").write_bytes(bytes(range(32)))
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("a")
    (tmp_path / "recoup.yaml").write_text(
        "version: 1\nstack: letters\nsources: {files: {kind: files, path: files}}\n"
        "repositories: {main: {path: backups, layout: dedup, key_file: secret}}\n"
    )
    for arguments in (["init"], ["backup", "-q"]):
        subprocess.run([sys.executable, "-m", "recoup", *arguments], cwd=tmp_path, check=True, capture_output=True)
    looked = subprocess.run(
        [sys.executable, "-c", _LOOKS, verb], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "backup_" in looked.stdout or verb == "status"
    assert looked.stderr.split() == ["0"]


_PYDANTIC = """
import os, sys
from recoup.system.sparing import spare_plugins_of_pydantic
spare_plugins_of_pydantic()
from pydantic import BaseModel
class Model(BaseModel):
    number: int
print(Model(number="3").number, "importlib.metadata" in sys.modules, os.environ["PYDANTIC_DISABLE_PLUGINS"])
from pydantic.plugin._loader import PYDANTIC_ENTRY_POINT_GROUP
print(PYDANTIC_ENTRY_POINT_GROUP)
"""


@pytest.mark.parametrize(("wished", "loaded"), [(None, False), ("some-plugin", True)], ids=["by itself", "as wished"])
def test_pydantic_looks_for_plugins_only_where_somebody_wishes_it(wished: str | None, *, loaded: bool) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PYDANTIC_DISABLE_PLUGINS"}
    environ |= {"PYDANTIC_DISABLE_PLUGINS": wished} if wished else {}
    told = subprocess.run([sys.executable, "-c", _PYDANTIC], env=environ, check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["3", str(loaded), wished or "__all__", "pydantic"]
