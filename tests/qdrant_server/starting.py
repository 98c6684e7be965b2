"""Starting servers on loopback ports, alone or as a cluster, and ending them."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx

from qdrant_server import real
from qdrant_server.choosing import Choice, Keys, Ports, free_ports
from qdrant_server.running import PATIENCE, Faults, Qdrant

_TESTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Launch:
    """How to start one node.

    Attributes:
        choice: which program.
        folder: where its storage, its snapshots and its log go.
        ports: where it listens.
        keys: what it demands.
        cluster: ports of all nodes of its cluster in their order, itself included; empty: it runs alone.
        settings: further settings of the stand-in.
    """

    choice: Choice
    folder: Path
    ports: Ports
    keys: Keys
    cluster: tuple[Ports, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    def command(self) -> Sequence[str]:
        """The argument list."""
        return real.command(self) if self.choice.real else self._standin()

    def environment(self) -> dict[str, str]:
        """The environment variables."""
        own = real.environment(self) if self.choice.real else {"PYTHONPATH": str(_TESTS), "OPENBLAS_NUM_THREADS": "1"}
        return {**os.environ, **own}

    def _standin(self) -> Sequence[str]:
        return [
            *(sys.executable, "-m", "qdrant_server.standin", "--storage", str(self.folder)),
            *(
                "--port",
                str(self.ports.http),
                "--grpc-port",
                str(self.ports.grpc),
                "--admin-port",
                str(self.ports.extra),
            ),
            *("--config", json.dumps(self._standin_settings())),
        ]

    def _standin_settings(self) -> dict[str, object]:
        settings: dict[str, object] = {"ends_with_parent": True, "grpc_when_asked": True}
        if self.keys.full:
            settings |= {"api_key": self.keys.full, "read_only_api_key": self.keys.read_only, "jwt_rbac": True}
        if self.cluster:
            settings["peers"] = [f"http://127.0.0.1:{ports.http}" for ports in self.cluster]
        return settings | dict(self.settings)


class Started(Qdrant):
    """A server that we started ourselves."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(
            f"http://127.0.0.1:{launch.ports.http}", launch.ports.grpc, launch.keys, real=launch.choice.real
        )
        self._launch = launch
        self._process: subprocess.Popen[bytes] | None = None
        self._grpc_asked = False

    @property
    def grpc_port(self) -> int:
        """Port of its gRPC interface, which the stand-in serves from when it is asked for; waits until somebody listens there."""
        if not self.real:
            httpx.post(f"{self._admin}/grpc", timeout=PATIENCE).raise_for_status()
            self._grpc_asked = True
        return super().grpc_port

    @property
    def _admin(self) -> str:
        return f"http://127.0.0.1:{self._launch.ports.extra}"

    @property
    def faults(self) -> Faults:
        """Its switches; a test that asks for them is skipped where the server has none."""
        return super().faults if self.real else Faults(self._admin)

    @property
    def folder(self) -> Path:
        """Where its storage, its snapshots and its log are."""
        return self._launch.folder

    @property
    def snapshots(self) -> Path:
        """Its snapshots folder."""
        return self._launch.folder / "snapshots"

    @property
    def storage(self) -> Path:
        """Its storage folder."""
        return self._launch.folder / "storage"

    def launch(self) -> None:
        """Starts the process, without waiting until it answers."""
        self._launch.folder.mkdir(parents=True, exist_ok=True)
        with (self._launch.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._launch.command(),
                cwd=self._launch.folder,
                env=self._launch.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Waits until it answers.

        Raises:
            RuntimeError: it ended, or does not come up; its last words are in the message.
        """
        latest = time.monotonic() + PATIENCE
        while not self.alive:
            ended = not self.running
            if ended or time.monotonic() > latest:
                raise RuntimeError(f"the server at {self.url} {'ended' if ended else 'does not answer'}:\n{self.log()}")
            time.sleep(0.02)
        if self._grpc_asked:
            self.grpc_port  # noqa: B018 - a new process has to be asked anew

    def log(self) -> str:
        """The end of what it said."""
        return (self._launch.folder / "log").read_text(errors="replace")[-4000:]

    def start(self) -> None:
        """Starts it again, on the same storage and ports, and waits until it answers."""
        self.launch()
        self.wait()

    def kill(self) -> None:
        """Ends it with SIGKILL, and waits for that."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Asks it to end with SIGTERM, and waits for that; after a minute it is killed."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def clear_faults(self) -> None:
        """Switches all faults off; the real one has none."""
        if not self.real:
            self.faults.clear()

    def freshen(self) -> None:
        """Makes it run, without faults and empty; with a storage of its own where what was there keeps it from that."""
        try:
            if not self.running:
                self.start()
            self.clear_faults()
            self.clean()
        except (AssertionError, RuntimeError, httpx.HTTPError):
            self.empty_storage()
            self.start()

    def close(self) -> None:
        """Ends it and gives back what this object holds."""
        self.kill()
        super().close()

    def empty_storage(self) -> None:
        """Ends it and forgets what it stored."""
        self.kill()
        for folder in (self.storage, self.snapshots):
            shutil.rmtree(folder, ignore_errors=True)


_S = TypeVar("_S", "Started", "Cluster")


def _at_free_ports(make: Callable[[int], _S]) -> _S:
    for attempt in range(3):
        server = make(attempt)
        try:
            server.start()
        except RuntimeError:  # somebody took a port in between
            server.close()
            if attempt == 2:
                raise
        else:
            return server
    raise AssertionError("unreachable")


def start(choice: Choice, folder: Path, keys: Keys, settings: Mapping[str, object] | None = None) -> Started:
    """Starts a server that runs alone.

    Args:
        choice: which program.
        folder: where its files go.
        keys: what it shall demand.
        settings: further settings of the stand-in.

    Raises:
        RuntimeError: it does not come up.
    """
    return _at_free_ports(
        lambda attempt: Started(Launch(choice, folder / str(attempt), free_ports(), keys, settings=settings or {}))
    )


class Cluster:
    """Nodes that form one cluster.

    Attributes:
        nodes: its servers.
    """

    def __init__(self, nodes: Sequence[Started]) -> None:
        self.nodes = tuple(nodes)

    @property
    def urls(self) -> list[str]:
        """The nodes' URLs."""
        return [node.url for node in self.nodes]

    def start(self) -> None:
        """Starts all nodes, and waits until each knows all."""
        for node in self.nodes:
            if not node.running:
                node.launch()
            if node.real:  # the next one can only join one that is there
                node.wait()
        for node in self.nodes:
            node.wait()
        everyone = len(self.nodes)
        self._agree(
            lambda node: len(node.ask("GET", "/cluster").get("peers", ())) == everyone, "do not find each other"
        )

    def _agree(self, reached: Callable[[Started], bool], fault: str) -> None:
        """Waits until each node says so: they hear of a change one after the other."""
        latest = time.monotonic() + PATIENCE
        while not all(reached(node) for node in self.nodes):
            if time.monotonic() > latest:
                raise RuntimeError(f"the nodes {', '.join(self.urls)} {fault}:\n{self.nodes[-1].log()}")
            time.sleep(0.05)

    def freshen(self) -> None:
        """Makes all nodes run, without faults and empty."""
        try:
            self._revive()
            for node in self.nodes:
                node.drop_snapshots()
            self.nodes[0].clean()
            self._agree(lambda node: not node.collections(), "do not forget what was dropped")
        except (AssertionError, RuntimeError, httpx.HTTPError):
            for node in self.nodes:
                node.empty_storage()
            self.start()

    def _revive(self) -> None:
        self.start()
        for node in self.nodes:
            node.clear_faults()

    def close(self) -> None:
        """Ends all nodes."""
        for node in self.nodes:
            node.close()


def start_cluster(choice: Choice, folder: Path, size: int = 3) -> Cluster:
    """Starts a cluster.

    Raises:
        RuntimeError: it does not come up.
    """

    def make(attempt: int) -> Cluster:
        ports = tuple(free_ports() for _ in range(size))
        return Cluster(
            [
                Started(Launch(choice, folder / f"{attempt}-{number}", own, Keys(), cluster=ports))
                for number, own in enumerate(ports)
            ]
        )

    return _at_free_ports(make)
