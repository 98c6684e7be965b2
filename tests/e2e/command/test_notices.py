"""Whom `notify` names is told what goes wrong, once, and once when it is over; a receiver that fails harms no backup."""

import json
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import recoup
from e2e.command.conftest import Recoup, command, environment
from notice_receivers import HttpReceiver, free_port, http_receiver, mail_server
from recoup.errors import ExitCode
from recoup.scheduler.metrics import serve
from recoup.sinks import _http, _telling
from recoup.system.statefile import state_path

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # one of Apprise's services

CONFIG = """\
version: 1
stack: small
sources:
  chat: {{kind: sqlite, path: data/chat.db}}
  uploads: {{kind: files, path: data/uploads}}
repositories:
  local: {{path: backups}}
events: {{jsonl: events.jsonl}}
notify:
{entries}
"""

Typed = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "_PAUSE", 0.0)


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as known:
        yield known


@pytest.fixture
def typed(fresh: Path, inside: Recoup) -> Typed:
    """Types a command in the stack's folder; its exit code, and all that it prints."""

    def run(*arguments: str) -> tuple[int, str]:
        done = inside(fresh, *arguments)
        return done.returncode, done.stdout + done.stderr

    return run


def configure(folder: Path, *entries: str, **more: str) -> None:
    text = CONFIG.format(entries="\n".join(f"  - {{{entry}}}" for entry in entries))
    text += "".join(f"{key}: {value}\n" for key, value in more.items())
    (folder / "recoup.yaml").write_text(text)


def hook(receiver: HttpReceiver, more: str = "") -> str:
    return f'kind: webhook, url: "{receiver.url}/hook"{more}'


def told(receiver: HttpReceiver) -> list[tuple[str, str]]:
    """Events and messages that came since the last time."""
    documents = [json.loads(one.body) for one in receiver.requests if one.path.startswith("/hook")]
    receiver.requests.clear()
    return [(one["event"], one["message"]) for one in documents]


def spoil(folder: Path) -> None:
    (folder / "data" / "chat.db").rename(folder / "data" / "away.db")


def mend(folder: Path) -> None:
    (folder / "data" / "away.db").rename(folder / "data" / "chat.db")


@pytest.mark.requirement("CI-8", "CI-9", "SR-12", "CO-2")
def test_a_backup_that_fails_night_after_night_is_told_once_and_once_when_it_is_right_again(
    fresh: Path, typed: Typed, receiver: HttpReceiver
) -> None:
    configure(fresh, hook(receiver))
    spoil(fresh)
    assert typed("backup")[0] == 3
    (began,) = told(receiver)
    assert began[0] == "problem_began"
    assert began[1].startswith("chat was not backed up: ")
    assert typed("backup")[0] == 3
    assert told(receiver) == []
    assert typed("backup", "--source", "uploads")[0] == 0
    assert told(receiver) == []
    mend(fresh)
    assert typed("backup")[0] == 0
    assert told(receiver) == [("problem_ended", f"over: {began[1]}")]
    assert typed("backup")[0] == 0
    assert told(receiver) == []


@pytest.mark.requirement("SR-12")
def test_a_mail_and_a_ping_tell_of_a_failed_run(fresh: Path, typed: Typed, receiver: HttpReceiver) -> None:
    with mail_server() as mails:
        url = f"mailto://127.0.0.1:{mails.port}?from=recoup@example.org&to=someone@example.org&mode=insecure"
        configure(fresh, f'kind: apprise, url: "{url}"', f'kind: healthchecks, url: "{receiver.url}/check"')
        shutil.rmtree(fresh / "backups")
        code, _said = typed("backup")
        (mail,) = mails.mails
    assert code == 10
    assert str(mail["Subject"]).startswith("[small] backup failed: ")
    start, end = receiver.requests
    assert start.path.startswith("/check/start?rid=")
    assert end.path == start.path.replace("/start", "/10")
    assert b"ERROR: backup failed: " in end.body


def test_a_run_that_could_not_even_begin_is_over_with_one_of_the_same_scope(
    fresh: Path, typed: Typed, receiver: HttpReceiver
) -> None:
    configure(fresh, hook(receiver))
    (fresh / "backups").rename(fresh / "unmounted")
    assert typed("backup")[0] == 10
    assert [event for event, _ in told(receiver)] == ["problem_began"]
    (fresh / "unmounted").rename(fresh / "backups")
    assert typed("backup", "--source", "chat")[0] == 0
    assert told(receiver) == []
    assert typed("backup")[0] == 0
    assert [event for event, _ in told(receiver)] == ["problem_ended"]


def test_what_did_not_arrive_is_said_once_shown_by_status_and_sent_by_the_next_run(
    fresh: Path, typed: Typed, receiver: HttpReceiver
) -> None:
    configure(fresh, hook(receiver))
    spoil(fresh)
    receiver.answers = [500, 500]
    code, said = typed("backup")
    assert code == 3
    assert said.count("notices did not reach webhook: it answers 500") == 1
    assert "notices to webhook do not arrive since" in " ".join(typed("status")[1].split())
    receiver.requests.clear()
    assert typed("backup")[0] == 3
    assert [event for event, _ in told(receiver)] == ["problem_began"]
    assert "do not arrive" not in typed("status")[1]


@pytest.mark.parametrize("how", ["hang", "reset", 500, 302])
def test_a_receiver_that_fails_fails_no_backup(
    fresh: Path, typed: Typed, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, how: str | int
) -> None:
    monkeypatch.setattr(_telling, "AT_THE_END", 0.5)
    configure(fresh, f'kind: healthchecks, url: "{receiver.url}/check"')
    receiver.answers = [how] * 10
    code, said = typed("backup")
    assert code == 0
    assert "notices did not reach healthchecks" in said
    assert len(recoup.open(fresh / "recoup.yaml").sets()) == 1
    lines = [json.loads(line)["event"] for line in (fresh / "events.jsonl").read_text().splitlines()]
    assert lines.count("notice_failed") == 1


def test_an_interrupted_run_waits_for_no_receiver(
    fresh: Path, typed: Typed, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_telling, "AT_THE_END", 600.0)
    monkeypatch.setattr(_telling, "WHEN_STOPPED", 0.05)
    configure(fresh, f'kind: healthchecks, url: "{receiver.url}/check"')
    receiver.answers = ["hang"] * 10
    with monkeypatch.context() as context:
        context.setattr("recoup.app.Stack.backup", interrupted)
        assert typed("backup")[0] == 130


def test_who_does_not_want_to_wait_for_notices_has_a_backup_all_the_same(
    fresh: Path, typed: Typed, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(_courier: object, _seconds: float) -> None:
        raise KeyboardInterrupt

    configure(fresh, f'kind: healthchecks, url: "{receiver.url}/check"')
    monkeypatch.setattr("recoup.sinks._courier.Courier.wait", impatient)
    code, said = typed("backup")
    assert code == 0
    assert "notices of it were cut short" in said


@pytest.mark.requirement("DM-11")
def test_no_secret_of_a_receiver_is_shown_or_stored(fresh: Path, typed: Typed, receiver: HttpReceiver) -> None:
    secrets = ["hook-token-123456", "shared-key-77", "bearer-key-88", "mail-pass-99", "check-0815-4711"]
    mail = f"mailto://user:{secrets[3]}@127.0.0.1:{free_port()}?to=a@example.org&mode=insecure"
    (fresh / "url.txt").write_text(f"{receiver.url}/{secrets[4]}\n")
    (fresh / "url.txt").chmod(0o600)
    configure(
        fresh,
        f'kind: webhook, url: "http://127.0.0.1:{free_port()}/{secrets[0]}", secret: {secrets[1]}, bearer: {secrets[2]}',
        f'kind: apprise, url: "{mail}"',
        "kind: healthchecks, url_file: url.txt",
    )
    spoil(fresh)
    receiver.answers = [500] * 10
    said = ""
    for arguments in (["backup"], ["status"], ["notify", "test"], ["config", "show"], ["config", "check"], ["doctor"]):
        said += typed(*arguments, "-vv", "--json")[1] + typed(*arguments)[1]
    said += (fresh / "events.jsonl").read_text() + repr(state_path("small").read_bytes())
    said += "".join(file.read_text() for file in (fresh / "backups").rglob("manifest.json"))
    assert "did not reach webhook" in said
    for secret in secrets:
        assert secret not in said


def test_a_test_notice_says_for_each_whether_it_arrived(fresh: Path, typed: Typed, receiver: HttpReceiver) -> None:
    configure(fresh, hook(receiver, ", name: mine"), f'kind: healthchecks, url: "http://127.0.0.1:{free_port()}/x"')
    code, said = typed("notify", "test")
    assert code == 1
    assert "mine: arrived" in said
    assert "healthchecks: did NOT arrive: no connection" in said
    assert told(receiver) == [("notice_test", "this is a test notice")]
    assert typed("notify", "test", "mine")[0] == 0
    code, said = typed("notify", "test", "yours")
    assert code == 2
    assert "Known: mine, healthchecks" in said


def test_a_test_that_arrives_ends_what_status_shows(fresh: Path, typed: Typed, receiver: HttpReceiver) -> None:
    configure(fresh, hook(receiver))
    receiver.answers = [403]
    assert typed("notify", "test")[0] == 1
    assert "notices to webhook do not arrive" in typed("status")[1]
    assert typed("notify", "test")[0] == 0
    assert "do not arrive" not in typed("status")[1]


def test_without_anybody_to_tell_a_test_is_a_mistake(typed: Typed) -> None:
    code, said = typed("notify", "test")
    assert code == 2
    assert "nobody to tell" in said


def test_a_dry_run_tells_nobody(fresh: Path, typed: Typed, receiver: HttpReceiver) -> None:
    configure(fresh, hook(receiver), f'kind: healthchecks, url: "{receiver.url}/check"')
    spoil(fresh)
    typed("backup", "-n")
    assert "Would send a test notice to webhook" in typed("notify", "test", "-n")[1]
    assert receiver.requests == []


def test_where_only_this_machine_is_allowed_another_one_is_not_told(fresh: Path, typed: Typed) -> None:
    configure(fresh, 'kind: webhook, url: "https://hooks.example.org/x"', allow_remote="false")
    code, said = typed("backup")
    assert code == 0
    assert "allow_remote is false" in said
    code, said = typed("notify", "test")
    assert code == 1
    assert "did NOT arrive" in said


@pytest.mark.requirement("SR-12", "CI-9", "CO-16")
def test_status_tells_those_who_have_cron_alone(fresh: Path, typed: Typed, receiver: HttpReceiver) -> None:
    configure(fresh, hook(receiver))
    assert typed("status")[0] == 1
    assert told(receiver) == []
    typed("status", "--notify")
    began = told(receiver)
    assert [event for event, _ in began] == ["problem_began"] * 2
    assert "chat in local: never backed up" in began[0][1]
    typed("status", "--notify")
    assert told(receiver) == []
    typed("backup")
    typed("status", "--notify", "--nagios")
    assert told(receiver) == [("problem_ended", f"over: {message}") for _, message in began]


def test_a_repository_that_cannot_be_read_ends_no_condition(fresh: Path, typed: Typed, receiver: HttpReceiver) -> None:
    configure(fresh, hook(receiver))
    typed("status", "--notify")
    assert [event for event, _ in told(receiver)] == ["problem_began"] * 2
    (fresh / "backups").rename(fresh / "unmounted")
    typed("status", "--notify")
    assert [event for event, _ in told(receiver)] == ["problem_began"]
    (fresh / "unmounted").rename(fresh / "backups")
    typed("status", "--notify")
    assert [event for event, _ in told(receiver)] == ["problem_ended"]


def values(text: str) -> dict[str, float]:
    families = text_string_to_metric_families(text)
    return {
        f"{one.name} {one.labels.get('source', '')}".strip(): one.value for family in families for one in family.samples
    }


@pytest.mark.requirement("CI-9")
def test_prometheus_finds_numbers_in_a_file_after_each_run(fresh: Path, typed: Typed) -> None:
    configure(fresh, "kind: prometheus, path: recoup.prom")
    spoil(fresh)
    assert typed("backup")[0] == 3
    found = values((fresh / "recoup.prom").read_text())
    assert found["recoup_run_last_exit_code"] == 3
    assert "recoup_run_last_success_timestamp_seconds" not in found
    assert found["recoup_backup_newest_bytes uploads"] == len("first upload")
    typed("status", "--notify")
    found = values((fresh / "recoup.prom").read_text())
    assert found["recoup_backup_newest_timestamp_seconds chat"] == 0
    assert found["recoup_backup_newest_timestamp_seconds uploads"] > 0
    assert found["recoup_repository_readable"] == 1
    mend(fresh)
    assert typed("backup")[0] == 0
    found = values((fresh / "recoup.prom").read_text())
    assert found["recoup_run_last_success_timestamp_seconds"] >= found["recoup_run_last_attempt_timestamp_seconds"]
    assert found["recoup_backup_newest_timestamp_seconds chat"] > 0


def test_a_repository_that_nobody_can_read_has_no_numbers_of_better_times(fresh: Path, typed: Typed) -> None:
    configure(fresh, "kind: prometheus, path: recoup.prom")
    typed("backup")
    typed("status", "--notify")
    (fresh / "backups").rename(fresh / "unmounted")
    assert typed("status", "--notify")[0] == ExitCode.NO_REPOSITORY
    text = (fresh / "recoup.prom").read_text()
    assert values(text)["recoup_repository_readable"] == 0
    assert 'recoup_problems{level="critical",stack="small"} 1.0' in text


def test_metrics_can_be_scraped_while_a_backup_runs(fresh: Path, typed: Typed) -> None:
    configure(fresh, "kind: prometheus, path: recoup.prom")
    stack, done, answers = recoup.open(fresh / "recoup.yaml"), threading.Event(), list[str]()
    with serve(("127.0.0.1", 0), stack.metrics) as place:

        def scrape() -> None:
            while not done.wait(0.01):
                answers.append(scraped(place[1]))

        scraping = threading.Thread(target=scrape)
        scraping.start()
        codes = {typed("backup")[0] for _ in range(3)}
        done.set()
        scraping.join()
        last = values(scraped(place[1]))
    assert codes == {0}
    assert all("recoup_build_info" in values(one) for one in answers)
    assert last["recoup_run_last_exit_code"] == 0


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


def test_a_state_that_cannot_be_written_fails_no_backup_and_everything_wrong_is_told(
    fresh: Path, typed: Typed, receiver: HttpReceiver
) -> None:
    configure(fresh, hook(receiver))
    spoil(fresh)
    state_path("small").parent.parent.mkdir(parents=True, exist_ok=True)
    state_path("small").parent.write_text("a file where the folder should be")
    for _ in range(2):
        code, said = typed("backup")
        assert code == 3
        assert "notices may be sent twice" in said
        assert [event for event, _ in told(receiver)] == ["problem_began"]


def test_the_daemon_answers_prometheus(fresh: Path, tmp_path: Path) -> None:
    configure(fresh, "kind: prometheus, path: recoup.prom", schedule='[{run: backup, cron: "0 2 * * *"}]')
    port = free_port()
    daemon = subprocess.Popen(
        command("daemon", "--metrics", str(port)),
        cwd=fresh,
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert daemon.stderr is not None
    try:
        assert any(f"http://127.0.0.1:{port}/metrics" in line for line in daemon.stderr)
        assert "recoup_job_next_due_timestamp_seconds" in scraped(port)
    finally:
        daemon.terminate()
        daemon.stderr.read()
        daemon.stderr.close()
        assert daemon.wait(60) == 0
