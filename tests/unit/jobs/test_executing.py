"""Jobs for real workers: who is fit, what comes back, and what a person reads when something is wrong."""

import socket
import subprocess
import sys
from importlib.metadata import version

import pytest

from dask_cluster.running import Cluster
from recoup.errors import ConfigError, RefusedError, WorkersError
from recoup.system.executing import workers

HERE = version("recoup")
RUN = "recoup.jobs:run"
ORDER = {"job": "capture", "stack": "small", "repository": "s3", "location": "s3://b", "arguments": {}}
CONFIG = "version: 1\nstack: {stack}\nrepositories: {{s3: {{path: sets}}}}\n"


def test_both_workers_are_found_fit_and_do_jobs_by_their_own_configuration(cluster: Cluster) -> None:
    cluster.config.write_text(CONFIG.format(stack="another"))
    with workers(cluster.address, RUN, HERE) as found:
        assert len(found.names) == 2
        outcomes = list(found.begin([ORDER, ORDER, ORDER]))
    assert sorted(outcome.job for outcome in outcomes) == [0, 1, 2]
    for outcome in outcomes:
        assert outcome.answer is None
        assert isinstance(outcome.error, RefusedError)
        assert "'another'" in outcome.error.message
        assert "RECOUP_CONFIG" in outcome.error.hint


def test_a_worker_that_has_just_gone_is_left_out(cluster: Cluster) -> None:
    cluster.kill("one")
    with workers(cluster.address, RUN, HERE) as found:
        assert len(found.names) == 1


def test_workers_of_whom_none_answers_are_no_help(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> dict[str, object]:
        return {"tcp://127.0.0.1:1": ConnectionResetError("Stream is closed")}

    monkeypatch.setattr("distributed.Client.run", gone)
    with pytest.raises(WorkersError, match="do not answer"), workers(cluster.address, RUN, HERE):
        pass


def test_a_worker_without_a_configuration_says_so(cluster: Cluster) -> None:
    with workers(cluster.address, RUN, HERE) as found:
        [outcome] = found.begin([ORDER])
    assert isinstance(outcome.error, ConfigError)
    assert "recoup.yaml" in outcome.error.message


def test_another_version_is_refused_before_anything_is_done(cluster: Cluster) -> None:
    with (
        pytest.raises(WorkersError, match=f"has Recoup {HERE}, this machine has 0.0.0"),
        workers(cluster.address, RUN, "0.0.0"),
    ):
        pass


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recoup.system.executing._PATIENCE", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        with (
            pytest.raises(WorkersError, match=f"no Dask worker can be reached by {address}") as error,
            workers(address, RUN, HERE),
        ):
            pass
    assert "execution.dask" in error.value.hint


def test_a_scheduler_without_workers_is_no_help(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recoup.system.executing._PATIENCE", 0.5)
    cluster.kill("one")
    cluster.kill("two")
    with pytest.raises(WorkersError, match="no Dask worker can be reached"), workers(cluster.address, RUN, HERE):
        pass


def test_nobody_waits_for_ever_when_all_workers_are_gone(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recoup.system.executing._COUNT", 0.2)
    monkeypatch.setattr("recoup.system.executing._ALONE", 1.0)
    with workers(cluster.address, RUN, HERE) as found:
        cluster.kill("one")
        cluster.kill("two")
        outcomes = list(found.begin([ORDER, ORDER]))
    assert sorted(outcome.job for outcome in outcomes) == [0, 1]
    for outcome in outcomes:
        assert isinstance(outcome.error, WorkersError)


def test_what_is_no_function_of_recoup_is_not_called(cluster: Cluster) -> None:
    with workers(cluster.address, "os:system", HERE) as found:
        [outcome] = found.begin([ORDER])
    assert isinstance(outcome.error, ConfigError)
    assert "not a function of Recoup" in outcome.error.message


def test_an_error_that_nobody_foresaw_is_told_and_no_answer(cluster: Cluster) -> None:
    cluster.config.write_text(CONFIG.format(stack="small"))
    with workers(cluster.address, RUN, HERE) as found:
        [outcome] = found.begin([{"stack": "small"}])
    assert isinstance(outcome.error, WorkersError)
    assert "KeyError" in outcome.error.message


def test_dask_is_not_loaded_where_nobody_asks_for_it() -> None:
    code = "import sys, recoup.app, recoup.cli.main, recoup.jobs; sys.exit('distributed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
