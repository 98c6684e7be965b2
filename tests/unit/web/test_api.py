"""The REST interface: the same values as the command line's, described by its document, and no way around what protects."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from httpx2 import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

import recoup
from recoup.model.reports import Problem
from recoup.web._api_answers import KINDS
from recoup.web._api_reference import reference
from recoup.web._api_schemas import Schemas, name_of
from recoup.web._site import Site
from recoup.web.api import openapi
from unit.web.browsing import BASE, Browser, browsing, site_of
from unit.web.running import through, until
from web_access import TOKEN, accounts

ROOT = Path(__file__).parents[3]
API = "/api/v1"
NOTHING = ("/bin/sh", "-c", "exit 0", "recoup")
"""A command for jobs that are only looked at."""

Told = dict[str, Any]


@pytest.fixture
def idle(stack_folder: Path) -> Site:
    """A site whose jobs do nothing."""
    return site_of(stack_folder / "recoup.yaml", NOTHING)


@pytest.fixture
def caller(idle: Site) -> Iterator["Caller"]:
    with browsing(idle) as browser:
        yield Caller(browser)


class Caller:
    """A program that asks, and holds what comes back against the document."""

    def __init__(self, browser: Browser, token: str = "") -> None:
        self.browser = browser
        csrf = "" if token else browser.get(f"{API}/session").json()["csrf"]
        self.headers = {"Authorization": f"Bearer {token}"} if token else {"X-CSRF-Token": csrf, "Origin": BASE}

    def get(self, path: str, /, **query: Any) -> Any:
        return self.checked(self.browser.get(API + path, params=query, headers=self.headers), "get").json()

    def post(self, path: str, body: object = None, status: int = 200) -> Any:
        found = self.sent(path, body)
        assert found.status_code == status, found.text
        return found.json()

    def sent(self, path: str, body: object = None) -> Response:
        return self.checked(self.browser.post(API + path, json=body or {}, headers=self.headers), "post")

    def refused(self, path: str, body: object, status: int) -> Told:
        found: Told = self.post(path, body, status)
        assert found["status"] == status
        return found

    def checked(self, found: Response, method: str) -> Response:
        """Compares an answer with what the document says of it."""
        made = openapi()
        said = answers_of(made, found.url.path, method)
        status = str(found.status_code)
        answer = said[status if status in said else "default"]
        media_type, content = next(iter(answer["content"].items()))
        assert found.headers["content-type"].partition(";")[0] == media_type
        if media_type.endswith("json"):
            validate(made, content["schema"], found.json())
        return found


def answers_of(made: Told, path: str, method: str) -> Told:
    """What the document says of the answers to a request."""
    for template, methods in made["paths"].items():
        if method in methods and matches(template, path):
            said: Told = methods[method]["responses"]
            return said
    raise AssertionError(f"{method} {path} is not in the document")


def matches(template: str, path: str) -> bool:
    steps, wanted = path.split("/"), template.split("/")
    return len(steps) == len(wanted) and all(w.startswith("{") or w == s for s, w in zip(steps, wanted, strict=True))


def validate(made: Told, schema: Told, value: object) -> None:
    """Compares a value with a schema of the document; in it, no key is forgotten."""
    components = {name: {**one, "additionalProperties": False} for name, one in made["components"]["schemas"].items()}
    whole = {**schema, "components": {"schemas": components}}
    Draft202012Validator(whole, format_checker=FormatChecker()).validate(value)


# --- the same as --json -------------------------------------------------------------------------------------------------


@pytest.fixture
def typed(
    stack_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., list[Told]]]:
    """Runs a command in this process, and gives the lines that it prints with `--json`, without their types."""
    before = signal.getsignal(signal.SIGTERM)
    interrupt = signal.getsignal(signal.SIGINT)

    def run_here(*arguments: str, code: int = 0) -> list[Told]:
        from recoup.cli.main import run

        capfd.readouterr()
        assert run(["-c", str(stack_folder / "recoup.yaml"), "--json", *arguments]) == code
        lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        return [{key: value for key, value in line.items() if key != "type"} for line in lines]

    yield run_here
    signal.signal(signal.SIGTERM, before)
    signal.signal(signal.SIGINT, interrupt)


PASSING = ("age_seconds", "free_bytes", "days_until_full")


def timeless(value: Any) -> Any:
    """A value without what the passing time changes."""
    if isinstance(value, dict):
        return {key: timeless(one) for key, one in value.items() if key not in PASSING}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def test_looks_have_the_values_of_the_command_line(
    caller: Caller, typed: Callable[..., list[Told]], stack_folder: Path
) -> None:
    names = [one["name"] for one in caller.get("/sets", order="oldest")["sets"]]
    assert len(names) == 2
    caller.get("/sets/local/latest")
    assert timeless(caller.get("/status")) == timeless(typed("status")[0])
    assert caller.get("/sets", order="oldest")["sets"] == typed("list")
    assert caller.get("/sets")["sets"] == typed("list")[::-1]
    assert caller.get(f"/sets/local/{names[0]}") == typed("show", names[0])[0]
    assert caller.get("/sets/local/latest") == typed("show")[0]
    assert caller.get("/sets/local/latest/entries")["entries"] == typed("ls")
    assert caller.get("/sets/local/latest/entries", path="notes")["entries"] == typed("ls", "latest", "notes")
    assert caller.get("/sets/local/latest/diff") == typed("diff", *names)[0]
    assert caller.get(f"/sets/local/{names[0]}/diff", **{"with": names[1]}) == typed("diff", *names[::-1])[0]
    assert caller.get("/repositories/stats")["repositories"] == typed("stats")
    assert caller.get("/config") == typed("config", "show")[0]
    assert caller.get("/config/check") == typed("config", "check")[0]


def test_plans_have_the_rows_of_a_dry_run(caller: Caller, typed: Callable[..., list[Told]]) -> None:
    assert timeless(caller.post("/prune/plan")["rows"]) == timeless(typed("prune", "-n"))
    rows = {row["source"]: row for row in caller.post("/restore/plan", {"where": "place"})["rows"]}
    assert rows == {row["source"]: row for row in typed("restore", "--in-place", "-n")}


def test_a_schedule_has_the_values_of_the_command_line(
    caller: Caller, typed: Callable[..., list[Told]], stack_folder: Path
) -> None:
    with (stack_folder / "recoup.yaml").open("a") as config:
        config.write('schedule:\n  - {run: backup, cron: "0 3 * * *"}\n  - {run: drill, every: 7d}\n')
    told = caller.get("/schedule", next=3)
    assert told["jobs"][0] == typed("schedule", "show", "--next", "3")[0]
    assert [len(job["next"]) for job in told["jobs"]] == [3, 3]
    assert "Nothing under this account runs this schedule" in told["silence"]


def test_a_drills_result_is_that_of_the_command_line(stack_folder: Path, typed: Callable[..., list[Told]]) -> None:
    with browsing(site_of(stack_folder / "recoup.yaml")) as browser:
        caller = Caller(browser)
        job = caller.post("/drill", {"sources": ["notes"]}, 202)
        until(lambda: caller.get(f"/jobs/{job['id']}")["state"] != "running")
        assert caller.get(f"/jobs/{job['id']}")["exit_code"] == 0
        [result] = caller.get(f"/jobs/{job['id']}/results")["results"]
        [past] = caller.get("/drills")["drills"]
        assert (past["job"], past["verdict"], past["sources"]) == (job["id"], "partly", {"notes": True})
    assert result.pop("type") == "drill"
    other = typed("drill", "--source", "notes")[0]
    assert result.keys() == other.keys()
    assert (result["passed"], result["set"]) == (True, other["set"])
    compared = [[source["comparisons"] for source in one["sources"]] for one in (result, other)]
    assert compared[0] == compared[1] != [[]]


# --- looking ------------------------------------------------------------------------------------------------------------


def test_sets_come_page_by_page_and_by_filters(caller: Caller, stack_folder: Path) -> None:
    recoup.open(stack_folder / "recoup.yaml").backup(sources=["notes"], tags={"why": "test"})
    every = caller.get("/sets")
    assert every["total"] == 3
    assert [caller.get("/sets", limit=1, offset=n)["sets"] for n in range(3)] == [[one] for one in every["sets"]]
    assert caller.get("/sets", offset=3)["sets"] == []
    assert caller.get("/sets", tag="why=test")["total"] == 1
    assert caller.get("/sets", source="chat")["total"] == 2
    assert caller.get("/sets", since="2999-01-01")["total"] == 0
    assert caller.get("/sets", repository="local")["total"] == 3


def test_a_repository_that_cannot_be_read_is_said(caller: Caller, stack_folder: Path) -> None:
    (stack_folder / "recoup.yaml").write_text((stack_folder / "recoup.yaml").read_text() + "  gone: {path: nowhere}\n")
    told = caller.get("/sets")
    assert told["total"] == 2
    assert "gone" in told["unread"][0]
    assert "gone" in caller.get("/repositories/stats")["unread"][0]


def test_what_other_tools_put_into_a_keyed_repository_is_listed(
    caller: Caller, typed: Callable[..., list[Told]], stack_folder: Path
) -> None:
    with (stack_folder / "recoup.yaml").open("a") as config:
        config.write("  kept: {path: kept, layout: keyed, key: '{database}/{date}.db'}\n")
    recoup.open(stack_folder / "recoup.yaml").create_repositories()
    (stack_folder / "kept" / "theirs").mkdir()
    (stack_folder / "kept" / "theirs" / "2026-11-20T03-15-00.db").write_bytes(b"by another tool")
    told = caller.get("/foreign")
    assert [one["key"] for one in told["artefacts"]] == ["theirs/2026-11-20T03-15-00.db"]
    assert told["artefacts"][0] in typed("list")
    shutil.rmtree(stack_folder / "kept")
    assert "kept" in caller.get("/foreign")["unread"][0]


def test_entries_come_page_by_page(caller: Caller) -> None:
    every = caller.get("/sets/local/latest/entries", path="notes")
    assert not every["more"]
    first = caller.get("/sets/local/latest/entries", path="notes", limit=1)
    assert (first["entries"], first["more"]) == (every["entries"][:1], True)
    assert caller.get("/sets/local/latest/entries", path="notes", offset=1)["entries"] == every["entries"][1:]


def test_a_file_is_given_whole_or_in_part(caller: Caller) -> None:
    path = f"{API}/sets/local/latest/content"
    whole = caller.browser.get(path, params={"path": "notes/first.txt"})
    assert (whole.status_code, whole.content) == (200, b"the first note\n")
    part = caller.browser.get(path, params={"path": "notes/first.txt"}, headers={"Range": "bytes=4-8"})
    assert (part.status_code, part.content) == (206, b"first")
    assert caller.browser.get(path, params={"path": "notes"}).status_code == 400


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes on POSIX alone")
def test_names_that_are_no_text_get_through(caller: Caller, stack_folder: Path) -> None:
    (stack_folder / "notes" / os.fsdecode(b"caf\xe9.txt")).write_text("latin\n")
    recoup.open(stack_folder / "recoup.yaml").backup()
    paths = [one["path"] for one in caller.get("/sets/local/latest/entries", path="notes")["entries"]]
    [odd] = [path for path in paths if "caf" in path]
    asked = quote(odd, errors="surrogateescape")
    assert caller.browser.get(f"{API}/sets/local/latest/content?path={asked}").content == b"latin\n"


def test_a_manifest_is_the_stored_file(caller: Caller, stack_folder: Path) -> None:
    name = caller.get("/sets")["sets"][0]["name"]
    found = caller.browser.get(f"{API}/sets/local/{name}/manifest")
    assert found.content == (stack_folder / "backups" / name / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/sets/local/backup_20000101_000000", 404),
        ("/sets/local/..%2f..", 404),
        ("/sets/elsewhere/latest", 404),
        ("/sets/%2fetc/latest", 404),
        ("/sets/local/latest/entries?path=nope", 400),
        ("/sets/local/latest/diff?with=nope", 404),
        ("/sets?tag=nope", 400),
        ("/sets?limit=0", 400),
        ("/sets?since=nope", 400),
        ("/sets?repository=nope", 404),
        ("/jobs/../../etc/passwd", 404),
        ("/jobs/20261122T031500-ab12cd", 404),
        ("/nope", 404),
    ],
)
def test_what_is_not_there_is_a_problem(caller: Caller, path: str, status: int) -> None:
    found = caller.browser.get(API + path)
    assert found.status_code == status
    assert found.headers["content-type"] == "application/problem+json"
    told = found.json()
    validate(openapi(), {"$ref": "#/components/schemas/ProblemDetails"}, told)
    assert told["status"] == status
    assert told["detail"]


def test_the_first_set_has_none_before_it(caller: Caller) -> None:
    oldest = caller.get("/sets", order="oldest")["sets"][0]["name"]
    found = caller.browser.get(f"{API}/sets/local/{oldest}/diff")
    assert found.status_code == 404
    assert "no set before" in found.json()["detail"]


def test_a_problem_of_ours_has_the_hint_and_a_link_that_leads_somewhere(caller: Caller) -> None:
    told = caller.refused("/backup", {"sources": ["nope"]}, 400)
    assert told["exit_code"] == 2
    assert told["hint"] == "Known: notes, chat."
    page, _, anchor = told["type"].partition("#")
    assert f'id="{anchor}"' in caller.browser.get(page).text


def test_a_wrong_configuration_is_a_problem_with_its_lines(caller: Caller, stack_folder: Path) -> None:
    with (stack_folder / "recoup.yaml").open("a") as config:
        config.write("nonsense: 1\nstagging: x\n")
    found = caller.browser.get(f"{API}/config/check")
    assert found.status_code == 503
    assert "recoup.yaml:8" in found.json()["detail"]
    assert "recoup.yaml:9" in found.json()["detail"]
    assert caller.get("/sets")["total"] == 2  # by what was right before


# --- doing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "body", "arguments"),
    [
        ("backup", {}, ["backup"]),
        ("backup", {"sources": ["chat"], "note": "-n"}, ["backup", "--source=chat", "--note=-n"]),
        ("backup", {"tags": {"a": "=b"}, "to": ["local"]}, ["backup", "--tag=a==b", "--to=local"]),
        ("backup", {"prune": False}, ["backup", "--no-prune"]),
        ("verify", {}, ["verify"]),
        ("verify", {"set": "latest", "structure_only": True}, ["verify", "SET", "--structure-only"]),
        (
            "verify",
            {"repository": "local", "read_data_subset": "5%"},
            ["verify", "--read-data-subset=5%", "-r", "local"],
        ),
        ("drill", {}, ["drill"]),
        ("drill", {"set": "latest", "sources": ["notes"]}, ["drill", "SET", "--source=notes"]),
        ("drill", {"full": True}, ["drill", "--full"]),
        ("prune", {"sources": ["chat"], "free": "1M"}, ["prune", "--source=chat", "--free=1M"]),
        ("delete", {"sets": ["OLD"]}, ["delete", "OLD"]),
        ("delete", {"sets": ["SET"], "force": True}, ["delete", "SET", "--force"]),
    ],
)
def test_a_change_is_a_command(caller: Caller, idle: Site, verb: str, body: Told, arguments: list[str]) -> None:
    newest, oldest = (one["name"] for one in caller.get("/sets")["sets"])
    names = {"SET": newest, "OLD": oldest}
    filled = {key: [names.get(one, one) for one in value] if key == "sets" else value for key, value in body.items()}
    found = caller.sent(f"/{verb}", filled)
    assert found.status_code == 202, found.text
    assert found.json()["arguments"] == [names.get(one, one) for one in arguments]
    assert caller.browser.get(found.headers["location"]).json()["id"] == found.json()["id"]
    through(idle.jobs, idle.jobs.all()[0])


def test_a_copy_names_both_repositories(stack_folder: Path) -> None:
    config = stack_folder / "recoup.yaml"
    config.write_text(config.read_text() + "  other: {path: other}\n")
    site = site_of(config, NOTHING)
    site.stack.create_repositories()
    with browsing(site) as browser:
        caller = Caller(browser)
        name = caller.get("/sets/local/latest")["name"]
        job = caller.post("/copy", {"to": "other", "from": "local", "sets": ["latest"]}, 202)
        assert job["arguments"] == ["copy", name, "--to", "other", "--from", "local"]
        through(site.jobs, site.jobs.all()[0])
        assert "several repositories" in caller.refused("/pin", {"set": "latest"}, 400)["detail"]
        assert caller.post("/pin", {"set": "latest", "repository": "local"})["set"] == name
        assert "Known: local, other" in caller.refused("/copy", {"to": "/etc"}, 400)["hint"]


@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("backup", {"nope": 1}, 400),
        ("backup", {"sources": []}, 400),
        ("backup", {"to": ["/tmp/x"]}, 400),
        ("backup", {"tags": {"--note": "x"}}, 400),
        ("verify", {"repository": "/tmp"}, 400),
        ("verify", {"set": "nope"}, 404),
        ("verify", {"read_data_subset": "--help"}, 400),
        ("drill", {"full": True, "set": "latest"}, 400),
        ("drill", {"sources": ["nope"]}, 400),
        ("prune", {"free": "much"}, 400),
        ("copy", {}, 400),
        ("delete", {"sets": ["latest"]}, 400),
        ("delete", {"sets": ["../x"]}, 400),
        ("undelete", {"repository": "local", "set": "backup_20000101_000000"}, 404),
        ("pin", {"set": "latest", "until": "2001-01-01"}, 400),
        ("accept", {"set": "latest"}, 400),
        ("restore/plan", {"sources": ["nope"]}, 400),
        ("restore/plan", {"where": "/tmp"}, 400),
        ("restore/plan", {"where": "place", "options": {"notes": {"nope": "1"}}}, 400),
        ("restore", {}, 400),
    ],
)
def test_what_makes_no_sense_begins_nothing(caller: Caller, idle: Site, verb: str, body: Told, status: int) -> None:
    assert caller.refused(f"/{verb}", body, status)["detail"]
    assert idle.jobs.all() == ()


def test_the_newest_set_is_protected_from_deletion(caller: Caller, idle: Site) -> None:
    name = caller.get("/sets")["sets"][0]["name"]
    assert "not deleted" in caller.refused("/delete", {"sets": [name]}, 409)["detail"]
    assert idle.jobs.all() == ()


def test_what_people_say_is_said_at_once(caller: Caller) -> None:
    name = caller.get("/sets/local/latest")["name"]
    assert caller.post("/pin", {"set": "latest", "reason": "why not"}) == {"set": name, "repository": "local"}
    caller.post("/note", {"set": name, "text": "<script>'\""})
    standing = caller.get(f"/sets/local/{name}")["standing"]
    assert (standing["pinned"], standing["pin_reason"], standing["notes"]) == (True, "why not", ["<script>'\""])
    assert [mark["kind"] for mark in caller.get(f"/sets/local/{name}/marks")["marks"]] == ["note", "pin"]
    caller.post("/unpin", {"set": name})
    assert caller.get(f"/sets/local/{name}")["standing"]["pinned"] is False


def test_a_restore_is_that_of_the_plan(caller: Caller, idle: Site, stack_folder: Path) -> None:
    plan = caller.post("/restore/plan", {"sources": ["notes"]})
    name = caller.get("/sets/local/latest")["name"]
    job = caller.post("/restore", {"sources": ["notes"], "plan": plan["seen"]}, 202)
    folder = stack_folder / "restored" / f"restored_{name}"
    assert job["arguments"] == ["restore", name, "--source", "notes", "--target", str(folder)]
    assert job["command"] == plan["command"]
    through(idle.jobs, idle.jobs.all()[0])
    folder.mkdir(parents=True)
    told = caller.refused("/restore", {"sources": ["notes"], "plan": plan["seen"]}, 409)
    assert "has changed" in told["detail"]


def test_a_restore_in_place_wants_the_stacks_name(caller: Caller, idle: Site) -> None:
    body = {"sources": ["notes"], "where": "place"}
    plan = caller.post("/restore/plan", body)
    assert plan["rows"][0]["present"]
    for confirm in ({}, {"confirm": "yes"}):
        assert (
            "replaces what is there"
            in caller.refused("/restore", {**body, **confirm, "plan": plan["seen"]}, 400)["detail"]
        )
    assert idle.jobs.all() == ()
    job = caller.post("/restore", {**body, "confirm": "shop", "plan": plan["seen"]}, 202)
    assert "--in-place" in job["arguments"]
    through(idle.jobs, idle.jobs.all()[0])


def test_a_second_job_is_told_what_runs(stack_folder: Path) -> None:
    site = site_of(stack_folder / "recoup.yaml", ("/bin/sh", "-c", "echo begun >&2; exec sleep 60", "recoup"))
    with browsing(site) as browser:
        caller = Caller(browser)
        job = caller.post("/backup", {"note": "first"}, 202)
        told = caller.refused("/backup", {}, 409)
        assert "first" in told["detail"]
        assert told["exit_code"] == 11
        until(lambda: site.jobs.news(job["id"]).records)
        ended = browser.delete(f"{API}/jobs/{job['id']}", headers=caller.headers)
        assert caller.checked(ended, "delete").status_code == 202
        assert through(site.jobs, site.jobs.all()[0]).exit_code


def test_news_come_piece_by_piece_and_as_they_come(stack_folder: Path) -> None:
    script = """echo '{"event": "one"}' >&2; echo two >&2; echo '{"type": "backup", "x": 1}'; exit 3"""
    site = site_of(stack_folder / "recoup.yaml", ("/bin/sh", "-c", script, "recoup"))
    with browsing(site) as browser:
        caller = Caller(browser)
        job = caller.post("/backup", {}, 202)["id"]
        through(site.jobs, site.jobs.all()[0])
        told = caller.get(f"/jobs/{job}/news")
        assert [one["event"] for one in told["records"]] == ["one", "text"]
        assert caller.get(f"/jobs/{job}/news", after=told["end"])["records"] == []
        assert caller.get(f"/jobs/{job}/results")["results"] == [{"type": "backup", "x": 1}]
        whole = events(browser.get(f"{API}/jobs/{job}/events").text)
        assert [kind for kind, _ in whole] == ["news", "news", "ended"]
        assert whole[-1][1]["exit_code"] == 3
        again = browser.get(f"{API}/jobs/{job}/events", headers={"Last-Event-ID": str(told["end"])})
        assert [kind for kind, _ in events(again.text)] == ["ended"]
        assert browser.get(f"{API}/jobs/nope/events").status_code == 404


def events(text: str) -> list[tuple[str, Told]]:
    """Server-sent events."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((fields["event"], json.loads(fields["data"])))
    return found


# --- who may ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(stack_folder: Path) -> Iterator[Browser]:
    """A page with both accounts, under a prefix."""
    config = stack_folder / "recoup.yaml"
    config.write_text(f"{config.read_text()}web:\n  path: /recoup\n{accounts('operator', 'reader')}")
    with browsing(site_of(config, NOTHING)) as browser:
        yield browser


def bearer(role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN[role]}"}


def test_nobody_asks_without_a_token_and_a_reader_changes_nothing(guarded: Browser) -> None:
    looked = 0
    for path, methods in openapi()["paths"].items():
        for method in methods:
            filled = "/recoup" + path.replace("{repository}", "local").replace("{name}", "latest").replace("{id}", "x")
            assert guarded.request(method, filled).status_code in (401, 403)
            as_reader = guarded.request(method, filled, headers=bearer("reader"))
            if method != "get" or path.endswith("/content"):
                assert as_reader.status_code == 403, filled
                assert as_reader.headers["content-type"] == "application/problem+json"
            else:
                assert as_reader.status_code in (200, 404), filled
                looked += 1
    assert looked > 15


def test_a_token_is_all_that_a_program_needs(guarded: Browser) -> None:
    found = guarded.post("/recoup/api/v1/backup", json={}, headers=bearer("operator"))
    assert found.status_code == 202
    assert found.json()["by"] == "operator"
    assert found.headers["location"].startswith("/recoup/api/v1/jobs/")
    assert guarded.get(found.headers["location"], headers=bearer("reader")).status_code == 200
    session = guarded.get("/recoup/api/v1/session", headers=bearer("reader")).json()
    assert session == {"name": "reader", "may_operate": False, "csrf": ""}
    until(lambda: guarded.get(found.headers["location"], headers=bearer("reader")).json()["state"] == "ended")


def test_a_change_without_the_sessions_token_is_refused(caller: Caller, idle: Site) -> None:
    for headers in ({}, {"X-CSRF-Token": "0" * 64}):
        found = caller.browser.post(f"{API}/backup", json={}, headers={"Origin": BASE, **headers})
        assert found.status_code == 403
        assert found.headers["content-type"] == "application/problem+json"
    assert idle.jobs.all() == ()


def test_no_answer_has_a_secret(guarded: Browser, stack_folder: Path) -> None:
    (stack_folder / ".env").write_text("API_TOKEN=planted-hunter2\n")
    config = stack_folder / "recoup.yaml"
    config.write_text(
        config.read_text()
        + "notify:\n  - {kind: webhook, url: 'https://u:planted-hunter3@example.org/planted-hunter4'}\n"
    )
    sent = guarded.post(
        "/recoup/api/v1/note", json={"set": "latest", "text": "by planted-hunter4"}, headers=bearer("operator")
    )
    assert sent.status_code == 200
    seen = ""
    for path, methods in openapi()["paths"].items():
        if "get" in methods and "{id}" not in path:
            filled = "/recoup" + path.replace("{repository}", "local").replace("{name}", "latest")
            seen += guarded.get(filled, headers=bearer("operator")).text
    assert "example" in seen or "***" in seen
    assert not any(secret in seen for secret in ("hunter", TOKEN["operator"], TOKEN["reader"]))


def test_the_document_names_the_prefix(guarded: Browser) -> None:
    found = guarded.get("/recoup/api/v1/openapi.json", headers=bearer("reader")).json()
    assert found["servers"] == [{"url": "/recoup"}]


# --- the document -------------------------------------------------------------------------------------------------------


def test_the_document_says_everything_of_every_route() -> None:
    made = openapi()
    assert made["openapi"] == "3.1.0"
    ids = [one["operationId"] for methods in made["paths"].values() for one in methods.values()]
    assert len(ids) == len(set(ids)) > 30
    for path, methods in made["paths"].items():
        for method, one in methods.items():
            assert one["summary"]
            assert one["description"]
            assert "401" in one["responses"], path
            assert ("403" in one["responses"]) == (method != "get" or path.endswith("/content")), path
            assert ("404" in one["responses"]) or "{" not in path, path
            assert all(parameter["description"] for parameter in one.get("parameters", ()))


def test_every_schema_is_one_and_every_key_is_explained() -> None:
    schemas = openapi()["components"]["schemas"]
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(schema)
        assert schema["description"], name
        for key, one in schema["properties"].items():
            assert one.get("description"), f"{name}.{key}"
    text = json.dumps(schemas)
    named = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert named <= schemas.keys()


def test_no_two_kinds_of_values_have_one_name() -> None:
    seen: dict[str, object] = {}
    schemas = Schemas()
    for kind in KINDS.values():
        schemas.of(kind)
    bodies = set(openapi()["components"]["schemas"]) - set(schemas.components) - {"ProblemDetails"}
    assert not bodies & set(schemas.components)
    assert all(seen.setdefault(name_of(kind), kind) is kind for kind in KINDS.values())


def test_a_schema_says_what_a_value_says_of_its_fields() -> None:
    schemas = Schemas()
    assert schemas.of(Problem) == {"$ref": "#/components/schemas/Problem"}
    level = schemas.components["Problem"]["properties"]["level"]
    assert level["enum"] == ["warning", "critical"]
    assert level["description"].startswith("`warning` (a backup is there, and something is doubtful)")
    assert level["description"].endswith("lose much).")


def test_the_page_lists_every_route_and_value(caller: Caller) -> None:
    page = caller.browser.get("/api")
    assert page.status_code == 200
    made = openapi()
    for methods in made["paths"].values():
        assert all(f'id="{one["operationId"]}"' in page.text for one in methods.values())
    linked = {part.split('"')[0] for part in page.text.split('href="#')[1:]}
    anchors = {part.split('"')[0] for part in page.text.split(' id="')[1:]}
    assert linked - {"content"} <= anchors


def test_the_reference_in_the_documents_is_that_of_the_code() -> None:
    file = ROOT / "docs" / "reference" / "rest.md"
    if os.environ.get("RECOUP_UPDATE_GOLDEN"):
        file.write_text(reference(openapi()))
    assert file.read_text() == reference(openapi()), "write it anew with RECOUP_UPDATE_GOLDEN=1 pytest tests/unit/web"


# --- whatever is sent -----------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = (
    "set",
    "sets",
    "sources",
    "repository",
    "to",
    "tags",
    "note",
    "text",
    "path",
    "where",
    "plan",
    "free",
    "options",
)


@pytest.fixture(scope="module")
def anything(tmp_path_factory: pytest.TempPathFactory, _stack_folder: Path) -> Iterator[Caller]:
    """One page for all that is made up: what it does is never worse than an error."""
    folder = shutil.copytree(_stack_folder, tmp_path_factory.mktemp("any") / "stack")
    with browsing(site_of(folder / "recoup.yaml", NOTHING)) as browser:
        yield Caller(browser)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_request_makes_it_fail(anything: Caller, data: st.DataObject) -> None:
    made = openapi()
    path = data.draw(st.sampled_from(sorted(made["paths"])))
    method = data.draw(st.sampled_from(sorted(made["paths"][path])))
    words = st.sampled_from(["latest", "local", "notes", "..", "-x", "\0", "'\"<"]) | st.text(max_size=20)
    filled = path
    for name in ("repository", "name", "id"):
        filled = filled.replace(f"{{{name}}}", quote(data.draw(words), safe=""))
    query = {
        p["name"]: data.draw(words) for p in made["paths"][path][method].get("parameters", ()) if p["in"] == "query"
    }
    body = data.draw(
        st.dictionaries(st.sampled_from(KEYS), JSON | words | st.lists(words, max_size=2), max_size=3) | JSON
    )
    if method == "get":
        found = anything.browser.get(filled, params=query, headers=anything.headers)
    else:
        found = anything.browser.request(method, filled, json=body, headers=anything.headers)
    assert found.status_code < 500, found.text
    if found.status_code >= 400 and found.headers["content-type"] != "text/plain; charset=utf-8":
        validate(made, {"$ref": "#/components/schemas/ProblemDetails"}, found.json())
