"""Going back after a restore, and taking back what killed restores left."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from recoup.errors import RestoreError
from recoup.sources._base import Site
from recoup.sources.qdrant._cleanup import cleanup
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._restore_back import last_switch, rollback, steps_back
from recoup.sources.qdrant._restore_options import RestoreOptions
from recoup.system.clock import SystemClock

from .conftest import Asking, Rig, Set, path_of

ASKED = ("docs", "current")


def go_back(rig: Rig, name: str = "") -> str:
    site = Site("vectors", rig.folder, rig.folder / "staging", SystemClock())
    with Server(rig.server.url) as server:
        return rollback([server], site, rig.source().copying, name)


def test_aliases_lead_back_to_the_old_collection(rig: Rig, a_set: Set) -> None:
    rig.server.ask("POST", f"{path_of('docs')}/points/delete", {"points": [1, 3]}, wait="true")
    rig.restore(a_set)
    with Server(rig.server.url) as server:
        assert "current lead to docs again" in steps_back(last_switch([server])[1])[0]
    with Asking(rig.server.url, "current", 58) as asking:
        told = go_back(rig)
    assert asking.wrong == []
    assert "current lead to docs again" in told
    assert (rig.aliases(), rig.count("current")) == ({"current": "docs"}, 58)
    with pytest.raises(RestoreError, match="no switch that could be taken back"):
        go_back(rig)


def test_a_replaced_collection_comes_back_from_its_copy(rig: Rig, a_set: Set) -> None:
    rig.server.ask("POST", "/collections/aliases", {"actions": [{"delete_alias": {"alias_name": "current"}}]})
    rig.server.ask("POST", f"{path_of('docs')}/points/delete", {"points": [1, 3]}, wait="true")
    rig.restore(a_set)
    assert rig.count("docs") == 60
    assert "is back from its copy" in go_back(rig, "docs")
    assert rig.count("docs") == 58
    assert rig.leaves_nothing()


def test_an_old_collection_that_is_gone_is_told(rig: Rig, a_set: Set) -> None:
    rig.restore(a_set)
    rig.server.ask("DELETE", path_of("docs"))
    with pytest.raises(RestoreError, match="is no longer on the server"):
        go_back(rig)
    assert rig.count("current") == 60


def test_only_switches_of_the_name_that_was_given_are_taken_back(rig: Rig, a_set: Set) -> None:
    rig.restore(a_set)
    with pytest.raises(RestoreError, match="no switch of other"):
        go_back(rig, "other")


# --- killed --------------------------------------------------------------------------------------------------------


def restore_killed_before(step: int, rig: Rig, a_set: Set, mode: str) -> bool:
    """Restores in a forked child that is killed before its `step`-th request that changes something; True when it ended first."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _count_and_kill(step)
            rig.source().restore(a_set.parts, RestoreOptions.model_validate({"mode": mode}))
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may run on into the parent's code
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert status == 0
    return True


def _changes(method: str, path: str) -> bool:
    return method != "GET" and not path.endswith(("/count", "/scroll", "/query", "/points"))


def _count_and_kill(step: int, counts: Callable[[str, str], bool] = _changes) -> None:
    """Ends this process before its n-th request of those that count leaves it."""
    import httpx

    left = step
    send = httpx.Client.send

    def counted(self: httpx.Client, request: httpx.Request, **options: object) -> httpx.Response:
        nonlocal left
        if counts(request.method, request.url.path):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return send(self, request, **options)  # type: ignore[arg-type]

    httpx.Client.send = counted  # type: ignore[method-assign]


def clean(rig: Rig) -> tuple[str, ...]:
    with Server(rig.server.url) as server:
        return cleanup([server])


@pytest.mark.slow
def test_a_restore_killed_at_any_request_loses_nothing_and_the_next_cleanup_tidies_up(rig: Rig, a_set: Set) -> None:
    for step in range(1, 40):
        ended = restore_killed_before(step, rig, a_set, "alias")
        assert rig.count("docs") == rig.count("current") == 60
        told = clean(rig)
        assert rig.leaves_nothing(staging=ended)
        if ended:
            assert step > 5
            return
        if rig.aliases() == {"current": "docs"}:
            assert rig.server.collections() == ["docs"], told
        else:
            rig.alias("docs", "current")
            for name in rig.restored():
                rig.server.ask("DELETE", path_of(name))
    raise AssertionError("no end")


@pytest.mark.slow
def test_a_replacement_killed_at_any_request_is_taken_back_or_finished(rig: Rig, a_set: Set, tmp_path: Path) -> None:
    rig.server.ask("POST", "/collections/aliases", {"actions": [{"delete_alias": {"alias_name": "current"}}]})
    finished = 0
    for step in range(1, 60):
        ended = restore_killed_before(step, rig, a_set, "replace")
        clean(rig)
        rig.source().recover()
        assert rig.count("docs") == 60
        assert rig.leaves_nothing(staging=ended)
        if rig.aliases():
            finished += 1
            (made,) = rig.server.collections()
            assert rig.aliases() == {"docs": made, "current": made}
            rig.server.ask("DELETE", path_of(made))
            rig.fill()
        else:
            assert rig.server.collections() == ["docs"]
        if ended:
            assert finished >= 2  # killed between the deletion and the alias, and the run that ended
            return
    raise AssertionError("no end")


@pytest.mark.parametrize("there", [True, False])
def test_points_go_on_where_a_killed_run_stopped(
    rig: Rig, a_set: Set, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recoup.sources.qdrant import _upserting

    monkeypatch.setattr(_upserting, "_POINTS", 10)
    if not there:
        rig.server.ask("DELETE", path_of("docs"))
    assert not restore_killed_at_the_upsert(4, rig, a_set)
    assert rig.source().recover() == ()
    (half,) = {*rig.server.collections()} - {"docs"} if there else rig.server.collections()
    assert rig.count(half) == 30
    rig.restore(a_set, via="points")
    assert rig.events("restore_resumed")[0].message.startswith("30 points are in")
    assert (rig.count("current"), rig.aliases()) == (60, {"current": half})
    assert rig.stays_equal_after_upserting_again("current")
    assert clean(rig) == ()
    assert rig.leaves_nothing()


def test_half_written_points_of_another_restore_are_removed(
    rig: Rig, a_set: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recoup.sources.qdrant import _upserting

    monkeypatch.setattr(_upserting, "_POINTS", 10)
    rig.server.ask("DELETE", path_of("docs"))
    assert not restore_killed_at_the_upsert(4, rig, a_set)
    rig.source().recover()
    rig.restore(a_set)
    assert rig.events("restore_resumed") == []
    assert (rig.count("current"), rig.server.collections()) == (60, ["docs"])
    assert clean(rig) == ()
    assert rig.leaves_nothing(staging=False)


def restore_killed_at_the_upsert(n: int, rig: Rig, a_set: Set) -> bool:
    """Restores point by point in a forked child, which is killed before its n-th batch; True when it ended first."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _count_and_kill(n, lambda method, path: method == "PUT" and path.endswith("/points"))
            rig.source().restore(a_set.parts, RestoreOptions(via="points"))
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may run on into the parent's code
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return not os.WIFSIGNALED(status)
