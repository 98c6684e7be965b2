"""The page of a set: what it says of good and bad sets, and what a person does with one."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import recoup
from recoup.web import set_changes
from recoup.web._site import Site
from unit.web.browsing import Browser, browsing, idle, site_of, text_of
from unit.web.running import through
from web_access import TOKEN, accounts

HOSTILE = "<script>alert('x')</script>\" onload=\"1\" \x07\u202eevil & 'more'"


@pytest.fixture
def site(stack_folder: Path) -> Site:
    return idle(stack_folder / "recoup.yaml")


def names(folder: Path, repository: str = "backups") -> list[str]:
    return sorted(path.name for path in (folder / repository).glob("backup_*"))


@pytest.fixture
def newest(stack_folder: Path) -> str:
    return f"/sets/local/{names(stack_folder)[-1]}"


@pytest.fixture
def oldest(stack_folder: Path) -> str:
    return f"/sets/local/{names(stack_folder)[0]}"


def configured(folder: Path, change: Callable[[str], str]) -> Site:
    config = folder / "recoup.yaml"
    config.write_text(change(config.read_text()))
    return idle(config)


def command_of(page: str, verb: str) -> list[str]:
    text = text_of("".join(re.findall(rf"<code>recoup [^<]* {verb} [^<]*</code>", page)[:1]))
    return shlex.split(text)


# --- looking ------------------------------------------------------------------------------------------------------------


def test_a_set_is_shown_with_its_parts_hashes_facts_cut_and_note(
    client: Browser, newest: str, stack_folder: Path
) -> None:
    page = client.get(newest).text
    manifest = json.loads((stack_folder / "backups" / newest.rpartition("/")[2] / "manifest.json").read_text())
    for source in manifest["sources"].values():
        assert all(part["sha256"] in page for part in source["parts"])
    said = text_of(page)
    for words in ("with a second note", "✓ complete", "• not proven", "table messages rows 5", "It was never drilled"):
        assert words in said
    assert "While in use, over a time, was read: notes." in said
    assert 'class="interval"' in page
    assert 'class="moment"' in page
    assert "style=" not in page


def test_each_thing_that_a_page_does_has_its_command_line_and_that_line_is_right(
    client: Browser, newest: str, stack_folder: Path
) -> None:
    name, page = newest.rpartition("/")[2], client.get(newest).text
    config = ["-c", str(stack_folder / "recoup.yaml")]
    assert command_of(page, "verify") == ["recoup", *config, "verify", name]
    assert command_of(page, "pin") == ["recoup", *config, "pin", name, "--reason=TEXT"]
    assert command_of(page, "show") == ["recoup", *config, "show", name]


def test_the_manifest_is_given_out_byte_by_byte_as_it_is_stored(
    client: Browser, newest: str, stack_folder: Path
) -> None:
    answer = client.get(f"{newest}/manifest.json")
    name = newest.rpartition("/")[2]
    assert answer.content == (stack_folder / "backups" / name / "manifest.json").read_bytes()
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}.manifest.json"'


def test_what_is_no_set_is_not_found_whatever_it_would_be_as_a_path(client: Browser, newest: str) -> None:
    name = newest.rpartition("/")[2]
    for path in (
        "/sets/local/backup_20000101_000000",
        f"/sets/elsewhere/{name}",
        "/sets/local/..%2F..%2Frecoup.yaml",
        f"/sets/..%2Fbackups/{name}",
        f"/sets/local/{name}%00",
        f"/sets/local/{name}/nothing",
    ):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert "Not found" in answer.text


def test_a_hostile_note_tag_and_reason_are_text_and_nothing_else(stack_folder: Path, site: Site) -> None:
    stack = recoup.open(stack_folder / "recoup.yaml")
    name = stack.backup(note=HOSTILE, tags={HOSTILE: HOSTILE}).repositories[0].set
    stack.note(name, HOSTILE)
    stack.pin(name, HOSTILE)
    with browsing(site) as client:
        for path in ("", "/inside", "/changes", "/delete"):
            page = client.get(f"/sets/local/{name}{path}").text
            assert "<script>alert" not in page
            assert 'onload="1"' not in page
            assert "\u202e" not in page
            assert "\x07" not in page
        assert "&lt;script&gt;alert(" in client.get(f"/sets/local/{name}").text


def test_a_set_whose_manifest_is_damaged_is_said_to_be_unreadable_and_shows_nothing_green(
    stack_folder: Path, newest: str
) -> None:
    (stack_folder / "backups" / newest.rpartition("/")[2] / "manifest.json").write_text("{")
    with browsing(idle(stack_folder / "recoup.yaml")) as client:
        page = client.get(newest).text
        assert "✗ unreadable" in text_of(page)
        assert "This set cannot be read" in page
        assert "✓" not in page
        assert client.get(f"{newest}/inside").status_code == 404
        assert client.get(f"{newest}/manifest.json").status_code >= 400


def test_what_checks_found_is_said_at_the_top(stack_folder: Path, newest: str, site: Site) -> None:
    (next((stack_folder / "backups" / newest.rpartition("/")[2]).rglob("chat.db"))).write_bytes(b"not that")
    (report,) = recoup.open(stack_folder / "recoup.yaml").verify(newest.rpartition("/")[2])
    assert report.damage
    with browsing(site) as client:
        said = text_of(client.get(newest).text)
    assert "✗ damaged" in said
    assert "A hash check found damage" in said
    assert "✗ Hash check failed" in said


def test_an_incomplete_set_says_so_and_why(stack_folder: Path) -> None:
    (stack_folder / "chat.db").write_bytes(b"this is no database")
    stack = recoup.open(stack_folder / "recoup.yaml")
    name = stack.backup().repositories[0].set
    with browsing(idle(stack_folder / "recoup.yaml")) as client:
        said = text_of(client.get(f"/sets/local/{name}").text)
    assert "✗ incomplete" in said
    assert "This set is incomplete." in said
    assert "✗ not in the cut chat (failed)" in said
    assert "nothing is stored" in said


# --- what changed -------------------------------------------------------------------------------------------------------


def test_what_changed_since_the_set_before_is_told_by_part_member_and_fact(client: Browser, newest: str) -> None:
    said = text_of(client.get(f"{newest}/changes").text)
    assert "sub/second.txt" in said
    assert "1 member added, 0 removed" in said
    assert "notes: folder files 1 2" in said


def test_the_oldest_set_has_none_before_it_and_that_is_said(client: Browser, oldest: str, newest: str) -> None:
    assert "Compare with the one before" not in client.get(oldest).text
    answer = client.get(f"{oldest}/changes")
    assert answer.status_code == 400
    assert "there is no set before" in answer.text
    other = client.get(f"{oldest}/changes?before={newest.rpartition('/')[2]}")
    assert "1 removed" in text_of(other.text)
    assert client.get(f"{newest}/changes?before=../../x").status_code == 404


def test_sets_that_take_long_to_compare_are_compared_by_a_job(
    site: Site, newest: str, oldest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_changes, "QUICK_MEMBERS", 1)
    with browsing(site) as client:
        page = client.get(f"{newest}/changes").text
        assert "A job can do it." in page
        assert "the same" not in text_of(page).replace("The same in a terminal", "")
        before = oldest.rpartition("/")[2]
        assert client.post_form(f"{newest}/changes", before=before).status_code == 303
    (job,) = site.jobs.all()
    assert job.arguments == ("diff", before, newest.rpartition("/")[2])


# --- doing --------------------------------------------------------------------------------------------------------------


def test_a_pin_a_note_and_their_end_are_written_and_shown(client: Browser, newest: str, stack_folder: Path) -> None:
    assert client.post_form(f"{newest}/pin", reason=" before the move ").headers["location"] == newest
    assert client.post_form(f"{newest}/note", text="--looked at").status_code == 303
    said = text_of(client.get(newest).text)
    assert "It is pinned: before the move." in said
    assert "Note: --looked at" in said
    client.post_form(f"{newest}/unpin")
    stack = recoup.open(stack_folder / "recoup.yaml")
    assert not stack.show().standing.pinned
    assert stack.show().standing.notes == ("--looked at",)
    client.post_form(f"{newest}/pin", reason="", until="2999-01-31")
    assert stack.marks(stack.show())[0].fields["until"].startswith("2999-01-3")


def test_what_makes_no_sense_is_refused_in_a_sentence_and_changes_nothing(
    client: Browser, newest: str, stack_folder: Path
) -> None:
    for what, fields, words in (
        ("pin", {"until": "2001-01-31"}, "would have ended"),
        ("pin", {"until": "soon"}, "soon"),
        ("note", {"text": "  "}, "is empty"),
        ("note", {"text": "x" * 1001}, "at most 1000"),
        ("accept", dict[str, str](), "only a suspicious set can be accepted"),
        ("copy", {"to": "elsewhere"}, "is no other repository"),
        ("copy", {"to": "local"}, "is no other repository"),
    ):
        answer = client.post_form(f"{newest}/{what}", **fields)
        assert answer.status_code == 400, what
        assert words in text_of(answer.text)
    stack = recoup.open(stack_folder / "recoup.yaml")
    assert stack.marks(stack.show()) == ()


def test_a_suspicious_set_is_accepted_by_a_person(stack_folder: Path, site: Site) -> None:
    config = stack_folder / "recoup.yaml"
    with browsing(site) as client:
        for text in (stack_folder / "notes").rglob("*.txt"):
            text.unlink()
        (stack_folder / "notes" / "left.txt").write_text("x")
        stack = recoup.open(config)
        stack.backup()
        info = stack.show("latest")
        assert info.manifest is not None
        assert info.manifest.outcome == "suspicious"
        page = client.get(f"/sets/local/{info.name}").text
        assert "This set is suspicious." in page
        assert client.post_form(f"/sets/local/{info.name}/accept").status_code == 303
        assert "✓ accepted" in text_of(client.get(f"/sets/local/{info.name}").text)


def test_a_hash_check_is_a_job_and_a_second_one_meanwhile_is_told(stack_folder: Path, newest: str) -> None:
    site = site_of(stack_folder / "recoup.yaml", ("/bin/sh", "-c", "exec sleep 60", "recoup"))
    with browsing(site) as client:
        begun = client.post_form(f"{newest}/verify")
        (job,) = site.jobs.all()
        assert begun.headers["location"] == f"/jobs/{job.id}"
        assert job.arguments == ("verify", newest.rpartition("/")[2])
        second = client.post_form(f"{newest}/verify")
        assert second.status_code == 409
        assert "another job of this stack runs" in text_of(second.text)
        site.jobs.cancel(job.id)
        through(site.jobs, job)
    assert site.jobs.all() == (site.jobs.job(job.id),)


def test_a_delete_wants_the_name_typed_and_protected_sets_say_why_they_stay(
    site: Site, newest: str, oldest: str
) -> None:
    name = oldest.rpartition("/")[2]
    with browsing(site) as client:
        assert "It is protected: newest complete" in text_of(client.get(newest).text)
        assert "It is not deleted: newest complete" in text_of(client.get(f"{newest}/delete").text)
        assert "It goes for good." in client.get(f"{oldest}/delete").text
        for typed in ("", "yes", name[:-1]):
            refused = client.post_form(f"{oldest}/delete", typed=typed)
            assert refused.status_code == 400
            assert "Nothing was deleted." in refused.text
        assert site.jobs.all() == ()
        assert client.post_form(f"{oldest}/delete", typed=name).status_code == 303
    (job,) = site.jobs.all()
    assert job.arguments == ("delete", name)


def test_a_deleted_set_is_in_the_trash_and_taken_back_by_a_job(stack_folder: Path, oldest: str) -> None:
    site = configured(stack_folder, lambda text: text.replace("{path: backups}", "{path: backups, trash_days: 7}"))
    name = oldest.rpartition("/")[2]
    with browsing(site) as client:
        assert "The trash is empty." in client.get("/trash").text
        stack = recoup.open(stack_folder / "recoup.yaml")
        stack.delete(stack.plan_delete([name]))
        assert name in client.get("/trash").text
        assert client.get(oldest).status_code == 404
        assert client.post_form("/trash", repository="local", name="backup_20000101_000000").status_code == 404
        assert client.post_form("/trash", repository="../x", name=name).status_code == 404
        assert client.post_form("/trash", repository="local", name=name).status_code == 303
    (job,) = site.jobs.all()
    assert job.arguments == ("undelete", name)


@pytest.fixture
def two(stack_folder: Path) -> Iterator[tuple[Site, Browser, str]]:
    """A stack of two repositories, of which the second has one set, and the second one's name of it."""
    site = configured(stack_folder, lambda text: f"{text}  second: {{path: second}}\n")
    stack = recoup.open(stack_folder / "recoup.yaml")
    stack.create_repositories()
    oldest = names(stack_folder)[0]
    stack.copy(stack.plan_copy("second", [oldest], origin="local"))
    with browsing(site) as client:
        yield site, client, oldest


def test_of_several_repositories_each_copy_has_its_page_and_commands_say_which(
    two: tuple[Site, Browser, str], stack_folder: Path
) -> None:
    site, client, name = two
    page = client.get(f"/sets/local/{name}").text
    assert f'href="/sets/second/{name}"' in page
    assert command_of(page, "verify")[-3:] == [name, "-r", "local"]
    assert "Copy it to" not in page
    client.post_form(f"/sets/second/{name}/pin", reason="only here")
    infos = {info.repository: info.standing.pinned for info in site.sets() if info.name == name}
    assert infos == {"local": False, "second": True}
    newest = names(stack_folder)[-1]
    assert client.post_form(f"/sets/local/{newest}/copy", to="second").status_code == 303
    (job,) = site.jobs.all()
    assert job.arguments == ("copy", newest, "--to", "second", "--from", "local")


def test_a_repository_that_is_away_is_said_on_the_page(two: tuple[Site, Browser, str], stack_folder: Path) -> None:
    _, client, name = two
    (stack_folder / "second").rename(stack_folder / "gone")
    said = text_of(client.get(f"/sets/local/{name}").text)
    assert "second was not looked into" in said
    assert "No other repository that could be read has it." in said


# --- who ----------------------------------------------------------------------------------------------------------------


def test_a_reader_sees_sets_and_changes_nothing(stack_folder: Path, newest: str) -> None:
    site = configured(stack_folder, lambda text: f"{text}web:\n{accounts('operator', 'reader')}")
    with browsing(site) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN['reader']}"
        page = client.get(newest).text
        assert "✓ complete" in text_of(page)
        assert "<form" not in page.partition("<main")[2]
        assert client.get(f"{newest}/changes").status_code == 200
        assert client.get(f"{newest}/manifest.json").status_code == 200
        assert client.get(f"{newest}/delete").status_code == 403
        for what in ("pin", "unpin", "note", "accept", "verify", "copy", "delete", "changes"):
            assert client.post(f"{newest}/{what}", data={"typed": newest.rpartition("/")[2]}).status_code == 403
        assert client.post("/trash", data={"repository": "local", "name": "x"}).status_code == 403
