"""What cron and systemd are told, read as they read it."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from recoup.errors import UsageError
from recoup.scheduler import _systemd, units
from recoup.scheduler.units import Call, Confinement
from recoup.system.markedfiles import marked

CALL = Call("citadel", ("/usr/bin/recoup",), ("/etc/r.yaml",), "root", {"PATH": "/usr/bin:/bin"})
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)


def as_cron_runs(line: str) -> str:
    """What Vixie cron hands to the shell (do_command.c): up to the first `%` without a backslash, `\\%` as `%`."""
    found, escaped = "", False
    for sign in line:
        if not escaped and sign == "%":
            return found
        found = found[:-1] + sign if escaped and sign == "%" else found + sign
        escaped = not escaped and sign == "\\"
    return found


def commands(text: str, fields: int) -> dict[str, list[str]]:
    """What cron runs, by the words of the time; `fields` is 1 where an account stands before the command."""
    found = {}
    for line in text.split("\n"):
        if line.startswith(("*", "@")) or line[:1].isdecimal():
            times = 1 if line.startswith("@") else 5
            parts = line.split(" ", times + fields)
            found[" ".join(parts[:times])] = shlex.split(as_cron_runs(parts[-1]))
    return found


def unquoted(text: str, dollars: str) -> list[str]:
    """Words of a line as systemd reads them (systemd.syntax(7)): quotes, backslashes, `%%`, and `$$` in commands."""
    words, word, quoted, signs = [], "", False, iter(text)
    for sign in signs:
        if sign == "\\":
            word += next(signs)
        elif sign == '"':
            quoted = not quoted
        elif sign in (" ", "\t") and not quoted:
            words.append(word)
            word = ""
        elif sign == "%" or (sign == "$" and dollars == "$$"):
            assert next(signs) == sign, "a specifier or a variable"
            word += sign
        else:
            word += sign
    return [*words, word]


@pytest.mark.requirement("SR-6", "CI-3")
def test_cron_calls_the_schedule_each_minute_as_the_account_that_was_chosen() -> None:
    text = units.cron_file(CALL)
    assert "* * * * * root /usr/bin/recoup -c /etc/r.yaml -q schedule tick\n" in text
    assert "@reboot root /usr/bin/recoup -c /etc/r.yaml -q recover\n" in text
    assert "SHELL=/bin/sh\nPATH=/usr/bin:/bin\n" in text
    assert "MAILTO" not in text, "whom cron writes to is the machine's own matter"
    assert text.endswith("\n"), "cron passes over a last line without an end"
    hourly = [line for line in text.splitlines() if line.endswith("status --notify")]
    assert [line.split()[1:6] for line in hourly] == [["*", "*", "*", "*", "root"]]


@given(program=WORDS, config=WORDS, home=WORDS)
def test_any_path_reaches_the_program_through_cron_and_shell(program: str, config: str, home: str) -> None:
    call = Call("s", (f"/opt/{program}",), (f"/etc/{config}",), "root", {"PATH": "/bin", "XDG_STATE_HOME": f"/{home}"})
    tick = [f"/opt/{program}", "-c", f"/etc/{config}", "-q", "schedule", "tick"]
    assert commands(units.cron_file(call), 1)["* * * * *"] == tick
    variables = ["/usr/bin/env", "PATH=/bin", f"XDG_STATE_HOME=/{home}"]
    assert commands(units.crontab_lines(call), 0)["* * * * *"] == [*variables, *tick]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20))
@example(" 'x' ")
@example('"')
def test_any_value_of_a_variable_reaches_the_program_through_cron(value: str) -> None:
    assume(not {'"', "'"} <= set(value))
    text = units.cron_file(Call("s", ("/usr/bin/recoup",), (), "root", {"NAME": value}))
    (line,) = [line for line in text.split("\n") if line.startswith("NAME=")]
    read = line.removeprefix("NAME=").strip()  # load_env of Vixie cron: blanks around it go, then a pair of quotes
    assert (read[1:-1] if read[:1] in ('"', "'") and read[-1:] == read[:1] else read) == value


@given(program=WORDS, config=WORDS, home=WORDS)
def test_any_path_reaches_the_program_through_systemd(program: str, config: str, home: str) -> None:
    assume(not set(program) & set("\"'\\"))
    call = Call("s", (f"/opt/{program}",), (f"/etc/{config}",), "root", {"XDG_STATE_HOME": f"/{home}"})
    confined = Confinement(writable=(f"/etc/{home}",))
    unit = units.systemd_units(call, "recoup-s", confined, user=False, daemon=False)["recoup-s.service"]
    lines = dict(line.partition("=")[::2] for line in unit.split("\n") if "=" in line)
    command = [f"/opt/{program}", "-c", f"/etc/{config}"]
    started = lines["ExecStart"].replace(f"/opt/{program}".replace("%", "%%"), "PROGRAM", 1)  # where `$` is no variable
    assert unquoted(started, "$$") == ["PROGRAM", *command[1:], "schedule", "tick", "--grace", "2m"]
    assert unquoted(lines["Environment"], "$") == [f"XDG_STATE_HOME=/{home}"]
    assert unquoted(lines["ReadWritePaths"], "$") == [f"-/etc/{home}"]
    assert lines["ExecStopPost"].startswith("""/bin/sh -c 'test "$$SERVICE_RESULT" = success || exec "$$@"' sh """)
    assert unquoted(lines["ExecStopPost"].split("' sh ", 1)[1], "$$") == [*command, "recover"]


@pytest.mark.parametrize("sign", ["\n", "\r", "\0", "\x7f"])
def test_a_control_character_is_refused_because_it_would_begin_another_line(sign: str) -> None:
    with pytest.raises(UsageError, match="control character"):
        Call("s", ("/usr/bin/recoup",), (f"/etc/a{sign}* * * * * root rm.yaml",))


@pytest.mark.parametrize("sign", ['"', "'", "\\"])
def test_a_program_that_systemd_would_not_start_is_refused(sign: str) -> None:
    with pytest.raises(UsageError, match="quotes or backslashes"):
        units.systemd_units(Call("s", (f"/a{sign}b",), ()), "r", Confinement(), user=False, daemon=False)


def test_a_path_that_is_no_utf8_reaches_cron_byte_by_byte_and_is_refused_for_systemd() -> None:
    call = Call("s", ("/usr/bin/recoup",), (os.fsdecode(b"/etc/\xff.yaml"),), "root")
    assert b" -c '/etc/\xff.yaml' -q schedule tick\n" in marked(units.cron_file(call), "s")
    with pytest.raises(UsageError, match="is not UTF-8"):
        units.systemd_units(call, "r", Confinement(), user=False, daemon=False)


@pytest.mark.parametrize("name", ["recoup.citadel", "", "a b", "../x", "a/b", "ü", "x\n", "a" * 65])
def test_a_name_that_cron_would_pass_over_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no name that cron reads"):
        units.checked_name(name)
    assert units.checked_name("qdrant-backup") == "qdrant-backup"


def test_a_line_that_is_too_long_for_cron_is_refused() -> None:
    with pytest.raises(UsageError, match="cron reads 990"):
        units.cron_file(Call("s", ("/usr/bin/recoup",), ("/" + "a" * 1000,), "root"))


def test_what_lies_in_the_common_tmp_stays_within_reach() -> None:
    assert units.confinement(["path: data/tmp.db", "/srv/tmpfiles", "/opt/tmp"], []).private_tmp
    for text in ("/tmp/data", "postgresql:///x?host=/tmp", "path: /var/tmp/a", "file:///tmp"):
        assert not units.confinement([text], []).private_tmp, text


def test_a_program_that_needs_other_rights_may_get_them() -> None:
    assert units.confinement(["stop: [systemctl, stop, qdrant]", "sudoku"], []).rights
    confined = units.confinement(["stop: [sudo, -n, systemctl, stop, qdrant]"], [])
    assert not confined.rights
    unit = units.systemd_units(CALL, "r", confined, user=False, daemon=False)["r.service"]
    implied = ("NoNewPrivileges", "RestrictRealtime", "LockPersonality", "ProtectKernelModules", "ProtectHostname")
    assert not any(line in unit for line in implied), "each of them takes the way to other rights away as well"


def test_a_repository_below_a_read_only_folder_can_be_written_to() -> None:
    confined = units.confinement([], ["/srv/backups", "/etc/recoup/backups", "/usr/local/backups"])
    assert confined.writable == ("/etc/recoup/backups", "/usr/local/backups")


@pytest.mark.parametrize("user", [False, True])
def test_units_of_an_account_take_away_only_what_its_manager_can(user: bool) -> None:
    call = Call("s", ("/usr/bin/recoup",), ("/etc/r.yaml",), "" if user else "backup")
    made = units.systemd_units(call, "r", Confinement(), user=user, daemon=False)
    unit = made["r.service"]
    assert ("ProtectSystem=full" in unit, "PrivateTmp=yes" in unit, "User=backup" in unit) == (not user,) * 3
    assert "NoNewPrivileges=yes" in unit
    assert "UMask=0077" in unit
    assert ("WantedBy=default.target" in made["r-recover.service"]) == user


@pytest.mark.requirement("SR-6")
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
@pytest.mark.parametrize("daemon", [False, True])
def test_systemd_finds_nothing_wrong_with_the_units(daemon: bool, tmp_path: Path) -> None:
    program = tmp_path / "a b $HOME %h" / "recoup"
    program.parent.mkdir()
    program.symlink_to("/bin/true")
    config = '/etc/a "b" $HOME %h.yaml'
    call = Call("s", (str(program),), (config,), "root", {"PATH": "/bin", "TZ": 'a "b" %n'})
    made = units.systemd_units(call, "recoup-s", Confinement(writable=("/etc/a b",)), user=False, daemon=daemon)
    assert _systemd.faults(made, user=False) == []
    folder = tmp_path / "units"
    folder.mkdir()
    for name, text in made.items():
        (folder / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "--man=no", "verify", *folder.iterdir()], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    wrong = {name: text.replace("Type=", "Tipe=") for name, text in made.items()}
    assert any("Tipe" in sentence for sentence in _systemd.faults(wrong, user=False))


def test_a_daemon_needs_no_timer_and_is_started_again_whatever_it_ended_with() -> None:
    made = units.systemd_units(CALL, "r", Confinement(), user=False, daemon=True)
    assert "r.timer" not in made
    assert "Type=notify\n" in made["r.service"]
    assert "Restart=always\n" in made["r.service"]
    assert "ExecStart=/usr/bin/recoup -c /etc/r.yaml daemon --grace 2m\n" in made["r.service"]
    assert units.started_units("r", daemon=True) == ("r.service", "r-status.timer")


@pytest.mark.parametrize(("result", "said"), [("success", ""), ("signal", "-c /etc/r.yaml recover\n")])
def test_what_a_killed_run_left_is_put_right_at_once(result: str, said: str) -> None:
    call = Call("s", ("/bin/echo",), ("/etc/r.yaml",))
    unit = units.systemd_units(call, "r", Confinement(), user=False, daemon=False)["r.service"]
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStopPost=")]
    command = shlex.split(line.removeprefix("ExecStopPost=").replace("$$", "$"))
    done = subprocess.run(command, env={"SERVICE_RESULT": result}, capture_output=True, text=True, check=True)
    assert done.stdout == said


def test_a_service_that_a_timer_started_is_left_to_end_by_itself() -> None:
    made = units.systemd_units(CALL, "r", Confinement(), user=False, daemon=False)
    (command,) = _systemd.ending(sorted(made), user=False)
    assert command == ["systemctl", "disable", "--now", "r-recover.service", "r-status.timer", "r.timer"]
