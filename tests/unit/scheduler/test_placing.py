"""Files of ours among those of others."""

import os
from pathlib import Path

import pytest

from recoup.errors import RecoupError, RefusedError
from recoup.scheduler import placing
from recoup.scheduler._installed import SCHEDULE, WRAPPERS, installed
from recoup.system.markedfiles import MarkedFile, Standing, judged, marked


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def file(tmp_path: Path) -> MarkedFile:
    folder = tmp_path / "cron.d"
    folder.mkdir()
    return MarkedFile(folder / "recoup-s", "s", "# says\n* * * * * root true\n")


def install(
    *files: MarkedFile, purpose: str = SCHEDULE, instead: tuple[str, ...] | None = None, force: bool = False
) -> placing.Plan:
    plan = placing.plan_install("s", purpose, files, "me", instead=instead, force=force)
    placing.carry_out(plan)
    return plan


def remove(purpose: str = SCHEDULE, *, force: bool = False) -> placing.Plan:
    plan = placing.plan_removal("s", purpose, "me", force=force)
    placing.carry_out(plan)
    return plan


def acts(plan: placing.Plan) -> list[str]:
    return [step.act for step in plan.steps]


def test_the_mark_is_the_first_line_and_the_second_one_of_a_script() -> None:
    assert marked("a\n", "s").splitlines()[1:] == [b"a"]
    script = marked("#!/bin/sh\ntrue\n", "s")
    assert script.splitlines()[::2] == [b"#!/bin/sh", b"true"]
    assert judged(script, "s") is Standing.OURS
    assert judged(script.replace(b"true", b"false"), "s") is Standing.EDITED
    assert judged(script, "t") is Standing.FOREIGN
    assert judged(b"true\n", "s") is Standing.FOREIGN


def test_what_was_installed_is_there_with_its_rights_and_goes_without_a_trace(file: MarkedFile) -> None:
    before = os.umask(0o077)
    try:
        assert acts(install(file)) == ["write"]
    finally:
        os.umask(before)
    assert file.path.stat().st_mode & 0o7777 == 0o644, "cron reads nothing else"
    assert file.path.read_bytes().endswith(b"# says\n* * * * * root true\n")
    assert installed("s", SCHEDULE) == (str(file.path),)
    assert acts(remove()) == ["remove"]
    assert list(file.path.parent.iterdir()) == []
    assert installed("s", SCHEDULE) == ()


def test_installing_again_changes_nothing_and_mends_rights(file: MarkedFile) -> None:
    install(file)
    inode = file.path.stat().st_ino
    assert acts(install(file)) == ["keep"]
    assert file.path.stat().st_ino == inode
    file.path.chmod(0o666)
    assert acts(install(file)) == ["replace"]
    assert file.path.stat().st_mode & 0o777 == 0o644


def test_what_is_not_ours_is_neither_replaced_nor_removed(file: MarkedFile) -> None:
    file.path.write_text("* * * * * root something else\n")
    for force in (False, True):
        with pytest.raises(RefusedError, match="not of this stack"):
            install(file, force=force)
    other = MarkedFile(file.path, "t", file.text)
    file.path.unlink()
    other.put()
    with pytest.raises(RefusedError, match="not of this stack"):
        install(file)
    assert remove().steps == ()
    assert other.is_current()


def test_a_link_is_not_followed(file: MarkedFile, tmp_path: Path) -> None:
    aim = tmp_path / "aim"
    aim.write_bytes(marked(file.text, "s"))
    file.path.symlink_to(aim)
    with pytest.raises(RefusedError, match="not of this stack"):
        install(file, force=True)
    assert file.path.is_symlink()


def test_a_folder_in_the_way_is_said(file: MarkedFile) -> None:
    file.path.mkdir()
    with pytest.raises(RefusedError, match="is no file"):
        install(file)


def test_what_was_changed_since_is_named_and_left_unless_it_is_forced(file: MarkedFile) -> None:
    install(file)
    file.path.write_bytes(file.path.read_bytes() + b"# mine\n")
    with pytest.raises(RefusedError, match="was changed"):
        install(file)
    plan = remove()
    assert plan.left == (str(file.path),)
    assert file.path.read_bytes().endswith(b"# mine\n")
    assert installed("s", SCHEDULE) == (str(file.path),), "it is still known"
    assert acts(remove(force=True)) == ["remove"]
    assert not file.path.exists()


def test_what_is_gone_already_is_forgotten(file: MarkedFile) -> None:
    install(file)
    file.path.unlink()
    plan = remove()
    assert (plan.steps, plan.gone) == ((), (str(file.path),))
    assert installed("s", SCHEDULE) == ()


def test_a_new_way_of_calling_takes_the_place_of_the_old_one(file: MarkedFile) -> None:
    install(file)
    wrapper = MarkedFile(file.path.with_name("w.sh"), "s", "#!/bin/sh\n", 0o755)
    install(wrapper, purpose=WRAPPERS)
    unit = MarkedFile(file.path.with_name("recoup-s.timer"), "s", "[Timer]\n")
    plan = install(unit, instead=())
    assert [(step.act, step.name) for step in plan.steps] == [("write", unit.name), ("remove", file.name)]
    assert installed("s", SCHEDULE) == (unit.name,)
    assert wrapper.is_current(), "it has another purpose"


def test_what_another_account_installed_goes_too_or_a_job_would_run_twice(file: MarkedFile) -> None:
    file.put()  # recorded in another home
    unit = MarkedFile(file.path.with_name("recoup-s.timer"), "s", "[Timer]\n")
    assert acts(install(unit, instead=placing.found_in([file.path.parent], "s"))) == ["write", "remove"]
    assert not file.path.exists()


def test_what_a_killed_run_was_writing_goes_with_the_next_one(file: MarkedFile) -> None:
    half = file.path.with_name(f".{file.path.name}.0123abcd.tmp")
    half.write_text("# rec")
    install(file)
    assert not half.exists()
    half.write_text("# rec")
    remove()
    assert list(file.path.parent.iterdir()) == []


def test_the_old_way_is_not_taken_away_when_somebody_changed_it(file: MarkedFile) -> None:
    install(file)
    file.path.write_bytes(file.path.read_bytes() + b"# mine\n")
    unit = MarkedFile(file.path.with_name("recoup-s.timer"), "s", "[Timer]\n")
    with pytest.raises(RefusedError, match="was changed"):
        install(unit, instead=())
    assert not unit.path.exists()


def test_files_are_found_by_their_marks_when_the_record_is_lost(file: MarkedFile) -> None:
    install(file)
    MarkedFile(file.path.with_name("recoup-t"), "t", "x\n").put()
    file.path.with_name("foreign").write_text("x\n")
    file.path.with_name("dangling").symlink_to("/nowhere")
    assert placing.found_in([file.path.parent, file.path.parent / "none"], "s") == (str(file.path),)


def test_what_comes_back_after_its_removal_is_said(file: MarkedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else writes the file anew in the same moment."""
    install(file)
    data, unlink = file.path.read_bytes(), Path.unlink

    def written_again(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        if path == file.path:
            path.write_bytes(data)

    monkeypatch.setattr(Path, "unlink", written_again)
    with pytest.raises(RecoupError, match="still there"):
        remove()
    monkeypatch.undo()


def test_a_name_need_not_be_utf8(tmp_path: Path) -> None:
    file = MarkedFile(tmp_path / os.fsdecode(b"w\xff.sh"), "s", f"exec {os.fsdecode(bytes([255]))}\n")
    install(file)
    assert b"exec \xff\n" in file.path.read_bytes()
    assert file.is_current()
    assert acts(install(file)) == ["keep"]
    assert acts(remove()) == ["remove"]


def test_another_accounts_crontab_is_refused(file: MarkedFile) -> None:
    with pytest.raises(RefusedError, match="cannot reach"):
        placing.place_of("crontab of somebody", "s", "me")
