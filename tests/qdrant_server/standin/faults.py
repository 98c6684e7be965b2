"""The faults of a node, switched over a port of their own.

`POST /faults` with JSON adds to what is on, `DELETE /faults` ends all, `GET /faults` tells them.

Faults of answers (downloads of stored snapshots, streams of shards) end by themselves after `times` answers, where that is given.
"""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Faults:
    """What is switched on.

    Attributes:
        path: only answers to requests whose path contains this are hit by `cut` ... `answer_status`.
        times: how many answers are hit; 0: all.
        cut: bytes of a download or stream after which the connection is dropped.
        cut_member: number of members of a streamed tar after which it ends as if that were all: zero blocks, normal end, 200.
        cut_normally: bytes of a stream after which the chunked answer ends normally, without zero blocks.
        stall: seconds that a download or stream waits in its middle.
        stall_at: bytes after which it waits.
        rate: bytes per second of downloads and streams; 0: no limit.
        flip: position of a byte of a download or stream that is sent with all its bits turned over.
        answer_status: status to answer with instead of doing anything; 0: none.
        answer_after: seconds before any answer.
        max_request: seconds after which a proxy in front answers 504 while the work goes on; 0: no proxy.
        drop: whether to drop the connection instead of answering.
        wrong_checksum: whether creations and lists tell a checksum that is not the file's.
        snapshots_quota: bytes that the snapshots folder holds; 0: no limit.
        storage_quota: bytes that uploads and recoveries may take in the storage folder; 0: no limit.
        exit_at: step at which the process dies: `create`, `stream`, `upload`, `recover`, `switch`, `download`.
        exit_after: how often that step is passed before.
        empty_restore: whether a recovery creates the collection, answers 200 and leaves it empty.
        recovery_delay: seconds for which replicas are in state `Recovery` after a recovery.
        create_delay: seconds that the creation of a snapshot takes longer.
        recover_delay: seconds that a recovery takes longer before it begins.
        replica_states: state by `collection/shard` that this node's replica shows, such as `Dead` or `Partial`.
        lose_segment: whether streams leave out one segment, the biggest, without any sign of it.
        clock_ahead: seconds by which the clock is ahead that names snapshots.
        refuse_manifest: whether the partial manifest is not known (404), as in versions before 1.14.1.
    """

    path: str = ""
    times: int = 0
    cut: int | None = None
    cut_member: int | None = None
    cut_normally: int | None = None
    stall: float = 0
    stall_at: int = 4096
    rate: float = 0
    flip: int | None = None
    answer_status: int = 0
    answer_after: float = 0
    max_request: float = 0
    drop: bool = False
    wrong_checksum: bool = False
    snapshots_quota: int = 0
    storage_quota: int = 0
    exit_at: str = ""
    exit_after: int = 0
    empty_restore: bool = False
    recovery_delay: float = 0
    create_delay: float = 0
    recover_delay: float = 0
    replica_states: Mapping[str, str] | None = None
    lose_segment: bool = False
    clock_ahead: float = 0
    refuse_manifest: bool = False


_OF_REQUESTS = ("answer_status", "answer_after", "drop")
_OF_BODIES = ("cut", "cut_member", "cut_normally", "stall", "rate", "flip", "lose_segment")


class Switches:
    """The faults of one node, and how often they have struck."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.on = Faults()
        self._struck = 0
        self._passed: dict[str, int] = {}

    def set(self, settings: Mapping[str, Any]) -> None:
        """Switches on what is named.

        Raises:
            TypeError: there is no such fault.
        """
        with self._lock:
            self.on = replace(self.on, **settings)
            self._struck = 0
            self._passed = {}

    def clear(self) -> None:
        with self._lock:
            self.on = Faults()

    def shown(self) -> dict[str, Any]:
        return {entry.name: getattr(self.on, entry.name) for entry in fields(Faults)}

    def of_request(self, path: str) -> Faults:
        """The faults that hit this request before it is answered."""
        return self._of(path, _OF_REQUESTS)

    def of_body(self, path: str) -> Faults:
        """The faults that hit this download or stream."""
        return self._of(path, _OF_BODIES)

    def _of(self, path: str, names: tuple[str, ...]) -> Faults:
        with self._lock:
            untouched = {name: getattr(Faults(), name) for name in names}
            if all(getattr(self.on, name) == value for name, value in untouched.items()):
                return self.on
            if self.on.path not in path or (self.on.times and self._struck >= self.on.times):
                return replace(self.on, **untouched)
            self._struck += 1
            return self.on

    def pass_step(self, step: str) -> None:
        """Ends the process, as SIGKILL does, where a fault says so of this step."""
        with self._lock:
            if self.on.exit_at != step:
                return
            passed = self._passed.get(step, 0)
            self._passed[step] = passed + 1
        if passed >= self.on.exit_after:
            os._exit(137)
