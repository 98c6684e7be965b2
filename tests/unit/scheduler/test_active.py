"""Whether anybody goes by what was installed."""

import os
from pathlib import Path

import pytest

from recoup.scheduler import _systemd, active, installing, placing
from recoup.scheduler._installed import SCHEDULE
from recoup.system.markedfiles import MarkedFile


def installed(path: Path, text: str = "x\n") -> MarkedFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = MarkedFile(path, "s", text)
    placing.carry_out(placing.plan_install("s", SCHEDULE, [file], "me"))
    return file


def fault(environ: dict[str, str] | None = None) -> str:
    (entry,) = active.entries("s", os.environ if environ is None else environ)
    assert bool(entry.fault) == bool(entry.hint)
    return entry.fault


@pytest.mark.requirement("CI-15")
def test_what_is_gone_or_changed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert active.entries("s") == ()
    file = installed(tmp_path / "recoup-s")
    if installing.cron_runs():
        assert fault() == ""
    else:
        assert "no cron is running" in fault()
    file.path.write_bytes(file.path.read_bytes() + b"mine\n")
    assert "was changed" in fault()
    file.path.write_text("another's\n")
    assert "something else" in fault()
    file.path.unlink()
    assert "is gone" in fault()


@pytest.mark.requirement("CI-15")
def test_a_timer_that_systemd_does_not_have_active_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    installed(tmp_path / "systemd/user/recoup-s.timer")
    monkeypatch.setattr(_systemd, "_BOOTED", tmp_path / "none")
    assert "systemd does not run here" in fault(environ)
    monkeypatch.setattr(_systemd, "_BOOTED", tmp_path)
    program = tmp_path / "systemctl"
    program.write_text('#!/bin/sh\n[ "$*" = "--user is-active --quiet recoup-s.timer" ] || exit 9\nexit $ANSWER\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ANSWER", "3")
    assert fault(environ) == "systemd does not have it active"
    monkeypatch.setenv("ANSWER", "0")
    assert fault(environ) == ""


def test_a_service_that_a_timer_starts_need_not_be_active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_systemd, "_BOOTED", tmp_path / "none")
    installed(tmp_path / "recoup-s.service", "[Service]\nType=oneshot\n")
    assert fault() == ""
    installed(tmp_path / "recoup-s.service", "[Service]\nType=notify\n")
    assert "systemd does not run here" in fault()
