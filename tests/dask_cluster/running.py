"""A scheduler and its workers as processes, each with an environment of its own, as on several machines."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PATIENCE = 60.0  # seconds that a start may take on a loaded machine

_ENDING_WITH_PARENT = """
import ctypes, os, runpy, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[2:]])
"""
"""PR_SET_PDEATHSIG (prctl(2)): none of them outlives the tests."""


_NO_PROFILER = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false"}
"""Dask's profiler can bring a process to a standstill (docs/howto/workers.md)."""


class Cluster:
    """A running scheduler and its workers.

    Args:
        folder: for logs, and for what workers keep.
        config: the configuration that workers have; may be written later.
        environ: what else is in their environment.
        threads: jobs that a worker does at a time.
    """

    def __init__(self, folder: Path, config: Path, environ: Mapping[str, str], threads: int = 2) -> None:
        self.folder, self.config, self._threads = folder, config, threads
        self._environ = {"PATH": os.environ["PATH"], "HOME": str(folder), **_NO_PROFILER}
        self._environ |= {**environ, "RECOUP_CONFIG": str(config)}
        self._file = folder / "scheduler.json"
        arguments = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self._file)]
        self._scheduler = self._started("scheduler", "distributed.cli.dask_scheduler", arguments)
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self.address = self._told_address()

    def _started(self, name: str, module: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _ENDING_WITH_PARENT, str(os.getpid()), module, *arguments],
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _told_address(self) -> str:
        latest = time.monotonic() + _PATIENCE
        while time.monotonic() < latest and self._scheduler.poll() is None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                return str(json.loads(self._file.read_text())["address"])
            time.sleep(0.02)
        raise RuntimeError(f"the scheduler does not come up:\n{self.log('scheduler')}")

    def start(self, *names: str) -> None:
        """Starts workers, those that are up stay as they are; returns when all of them have said that they are there."""
        for name in names:
            if name not in self._workers or self._workers[name].poll() is not None:
                self._begin(name)
        latest = time.monotonic() + _PATIENCE
        while missing := [name for name in names if "Registered to:" not in self.log(name)]:
            if time.monotonic() > latest:
                raise RuntimeError("the workers do not come up:\n" + "\n".join(map(self.log, names)))
            for name in missing:
                if self._workers[name].poll() is not None:  # a scheduler under load may have answered too late
                    self._begin(name)
            time.sleep(0.02)

    def _begin(self, name: str) -> None:
        (self.folder / f"{name}.log").unlink(missing_ok=True)
        settings = {"scheduler-file": self._file, "name": name, "nthreads": self._threads, "host": "127.0.0.1"}
        arguments = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
        arguments += ["--no-nanny", "--no-dashboard", "--local-directory", str(self.folder / f"of-{name}")]
        self._workers[name] = self._started(name, "distributed.cli.dask_worker", arguments)

    def kill(self, name: str) -> None:
        """Ends a worker at once, as a power cut does."""
        process = self._workers.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def pid(self, name: str) -> int:
        """Process number of a worker."""
        return self._workers[name].pid

    def log(self, name: str) -> str:
        """What one of them said."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        """Ends all."""
        for name in list(self._workers):
            self.kill(name)
        self._scheduler.kill()
        self._scheduler.wait()
