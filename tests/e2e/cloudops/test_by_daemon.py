"""The example's collections backed up by the schedule of Recoup itself: each at its time, none kept from it by another one."""

import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import recoup

from .conftest import EXAMPLE, CloudOps


@pytest.mark.requirement("CO-2", "CO-16", "CO-17")
def test_each_collection_has_its_time_and_one_that_is_broken_is_told(cloudops: CloudOps, tmp_path: Path) -> None:
    for name in ("recoup.yaml", "daemon.yaml"):
        shutil.copy(EXAMPLE / name, tmp_path / name)
    own = {"QDRANT_URL": cloudops.qdrant.url, "CLOUDOPS_DATA": str(cloudops.data)}
    environ = {**os.environ, **own, "XDG_STATE_HOME": str(tmp_path / "state")}
    stack = recoup.open(["recoup.yaml", "daemon.yaml"], environ=environ, cwd=tmp_path)
    jobs = {job.name: job for job in stack.jobs}
    assert jobs["backup-chat_history"].every == timedelta(hours=24)
    assert jobs["backup-aws_estate"].every == timedelta(hours=6)
    stack.create_repositories()

    cloudops.qdrant.ask("DELETE", "/collections/chat_history")
    tick = [sys.executable, "-m", "recoup", "-c", "recoup.yaml", "-c", "daemon.yaml", "schedule", "tick"]
    done = subprocess.run(tick, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no collection matches 'chat_history'" in done.stdout + done.stderr
    found = stack.status()
    assert {row.source: bool(row.set) for row in found.rows} == {"chat_history": False, "aws_estate": True}
    assert {row.source: row.max_age_seconds for row in found.rows} == dict.fromkeys(jobs_sources(stack), 48 * 3600.0)
    assert any(problem.source == "chat_history" for problem in found.problems)
    assert not [problem for problem in found.problems if problem.source == "aws_estate"]


def jobs_sources(stack: recoup.Stack) -> tuple[str, ...]:
    return tuple(source for job in stack.jobs for source in job.sources)
