"""The restore wizard: what each step says and refuses, and that what begins is what was seen."""

import html
import json
import re
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recoup
from qdrant_server.running import Qdrant
from recoup.errors import UsageError
from recoup.model.manifest import Host, Manifest, SourceRecord
from recoup.model.reports import RestoreReport, SetInfo
from recoup.operations import restore
from recoup.system.plugs import kinds, load
from recoup.web._plug_forms import Control, controls
from recoup.web._restore_choice import Choice, Offer, Order, fresh_folder, seen
from recoup.web._results import results
from recoup.web._site import Site
from recoup.web.restoring import Planned
from unit.web.browsing import BASE, Browser, browsing, idle, site_of, text_of
from unit.web.running import CLOCK, through
from web_access import accounts


@pytest.fixture
def site(stack_folder: Path) -> Site:
    return idle(stack_folder / "recoup.yaml")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "backups").glob("backup_*"))


def hidden(page: str) -> dict[str, list[str]]:
    """The fields of the form that begins the restore."""
    form = page[page.index('action="/restore"') :]
    found: dict[str, list[str]] = {}
    for name, value in re.findall(
        r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form[: form.index("</form>")]
    ):
        found.setdefault(html.unescape(name), []).append(html.unescape(value))
    return found


def command_of(page: str) -> list[str]:
    found = re.search(r"<code>(recoup .*?)</code>", page, re.DOTALL)
    assert found
    return shlex.split(html.unescape(found[1]))


# --- what ---------------------------------------------------------------------------------------------------------------


def test_the_first_step_says_of_each_source_what_it_would_come_from(client: Browser, stack_folder: Path) -> None:
    page = client.get("/restore")
    assert page.status_code == 200
    old, new = names(stack_folder)
    for name in (old, new):
        assert f'<option value="{name}">' in page.text
    assert f"chat sqlite, 8.0 KiB, from {new}" in text_of(page.text)
    assert f"from {old}" in text_of(client.get(f"/restore?set={old}").text)


def test_a_source_without_a_good_copy_cannot_be_chosen(stack_folder: Path) -> None:
    config = stack_folder / "recoup.yaml"
    config.write_text(config.read_text().replace("sources:\n", "sources:\n  gone: {kind: files, path: nowhere}\n"))
    with browsing(idle(config)) as client:
        page = client.get("/restore").text
        assert re.search(r'value="gone" disabled', page)
        assert "no set holds a good copy of it" in page
        refused = client.get("/restore/where?source=gone&source=notes")
        assert refused.status_code == 400
        assert "gone cannot be restored: no set holds a good copy of it" in text_of(refused.text)
        command = command_of(client.get("/restore/plan?source=notes&source=chat").text)
        assert command[4:-1] == [names(stack_folder)[1], "--target"], "that is all that this set has"


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ("set=backup_20200101_000000", 404, "there is no set backup_20200101_000000"),
        ("set=../../etc/passwd", 404, "there is no set ../../etc/passwd"),
        ("set=%00%1b[2J<script>", 404, "there is no set"),
        ("source=nobody", 400, "latest has no source nobody"),
        ("", 400, "no source is chosen"),
    ],
)
def test_what_is_not_there_leads_back_to_the_first_step(
    client: Browser, query: str, status: int, sentence: str
) -> None:
    for step in ("where", "plan"):
        page = client.get(f"/restore/{step}?{query}")
        assert page.status_code == status
        assert sentence in text_of(page.text)
        assert "Next: where to" in page.text
        assert "<script>" not in page.text
        assert "\x1b" not in page.text


def test_without_any_set_the_wizard_says_so(stack_folder: Path) -> None:
    shutil.rmtree(stack_folder / "backups")
    recoup.open(stack_folder / "recoup.yaml").create_repositories()
    with browsing(idle(stack_folder / "recoup.yaml")) as client:
        page = client.get("/restore").text
    assert "There is no set to restore from." in page
    assert "Next" not in page


def test_a_repository_that_cannot_be_read_is_said(stack_folder: Path) -> None:
    config = stack_folder / "recoup.yaml"
    config.write_text(f"{config.read_text()}  far: {{path: gone}}\n")
    with browsing(idle(config)) as client:
        for path in ("/restore", "/restore/plan?source=notes"):
            assert "Not everything could be looked at. far" in text_of(client.get(path).text)


# --- where to -----------------------------------------------------------------------------------------------------------


def test_the_second_step_offers_what_the_plugs_can_be_asked_for(client: Browser, stack_folder: Path) -> None:
    page = client.get("/restore/where?source=notes&source=chat&where=place&option.notes.overwrite=always").text
    assert str(stack_folder / "restored" / f"restored_{names(stack_folder)[1]}") in page
    assert re.search(r'name="where" value="place" checked', page)
    assert re.search(r'<option value="always" selected>', page)
    assert 'name="option.notes.delete" value="true">' in page
    assert "option.chat." not in page


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("option.notes.overwrite=sometimes", "restore option overwrite of kind files"),
        ("option.notes.target=/etc", "a restore of notes has no option target"),
        ("option.notes.delete=perhaps", "restore option delete of kind files"),
        ("option.chat.drop_old=true", "a restore of chat has no option drop_old"),
    ],
)
def test_an_option_that_its_plug_does_not_take_is_said_where_it_is_chosen(
    client: Browser, option: str, sentence: str
) -> None:
    page = client.get(f"/restore/plan?source=notes&source=chat&where=place&{option}")
    assert page.status_code == 400
    assert sentence in text_of(page.text)
    assert "Next: see the plan" in page.text


def test_no_kind_of_source_asks_a_browser_for_a_path() -> None:
    for kind in kinds("recoup.sources"):
        model = getattr(load("recoup.sources", kind), "RestoreOptions", None)
        offered = {control.key: control for control in controls(kind)}
        paths = (
            {key for key, field in model.model_fields.items() if "Path" in str(field.annotation)} if model else set()
        )
        assert not paths & set(offered)
        assert set(offered) == (set(model.model_fields) - paths if model else set())
    assert controls("of another time") == ()


def test_a_qdrant_collection_can_be_given_another_name_and_way() -> None:
    found = {control.key: control for control in controls("qdrant")}
    assert found["rename"].shape == "text"
    assert found["mode"] == Control(
        "mode", "choice", found["mode"].help, ("auto", "alias", "replace", "new", "merge"), "auto"
    )
    assert "keep" not in found
    choice = Choice.of(
        [
            ("source", "vectors"),
            ("where", "place"),
            ("option.vectors.rename", "docs=docs_copy"),
            ("option.vectors.mode", "new"),
            ("option.vectors.via", "auto"),
        ]
    )
    order = Order(choice, (Offer("vectors", "qdrant", _info("vectors", "qdrant")),))
    assert order.arguments(None) == [
        "restore",
        "backup_20261101_020000",
        "--in-place",
        "--option=vectors.rename=docs=docs_copy",
        "--option=vectors.mode=new",
    ]


def _info(source: str, kind: str) -> SetInfo:
    record = SourceRecord(kind, "complete")
    now = CLOCK.now()
    host = Host("here", "Linux")
    manifest = Manifest(
        "0" * 32, "backup_20261101_020000", "shop", host, "1", "3", now, now, "complete", (source,), {source: record}
    )
    return SetInfo("local", manifest.name, manifest)


# --- the plan -----------------------------------------------------------------------------------------------------------


def test_the_plan_of_files_names_a_new_folder_below_the_configured_one(client: Browser, stack_folder: Path) -> None:
    before = sorted(stack_folder.rglob("*"))
    page = client.get("/restore/plan?source=notes")
    name = names(stack_folder)[1]
    folder = stack_folder / "restored" / f"restored_{name}"
    options = ["-c", str(stack_folder / "recoup.yaml")]
    assert command_of(page.text) == [
        "recoup",
        *options,
        *("restore", name, "--source", "notes", "--target", str(folder)),
    ]
    said = text_of(page.text)
    assert f"To {folder / 'notes'}" in said
    assert "There now nothing" in said
    assert "✓ enough" in said
    assert 'name="typed"' not in page.text
    assert sorted(stack_folder.rglob("*")) == before


def test_a_folder_that_is_there_is_never_restored_into(client: Browser, stack_folder: Path) -> None:
    name = names(stack_folder)[1]
    (stack_folder / "restored" / f"restored_{name}").mkdir(parents=True)
    (stack_folder / "restored" / f"restored_{name}_2").symlink_to("nowhere")
    assert command_of(client.get("/restore/plan?source=notes").text)[-1].endswith(f"restored_{name}_3")


def test_a_folder_for_files_that_is_a_link_is_refused_and_in_place_still_works(
    client: Browser, stack_folder: Path, tmp_path: Path
) -> None:
    (stack_folder / "restored").symlink_to(tmp_path)
    page = client.get("/restore/where?source=notes")
    assert page.status_code == 200
    assert "not possible" in page.text
    assert re.search(r'value="files" disabled', page.text)
    assert "leads through the symbolic link" in text_of(client.get("/restore/plan?source=notes").text)
    assert command_of(client.get("/restore/plan?source=notes&where=place").text)[-1] == "--in-place"


def test_no_path_comes_from_the_browser(client: Browser, stack_folder: Path, tmp_path: Path) -> None:
    page = client.get(f"/restore/plan?source=notes&target={tmp_path}/x&where={tmp_path}/x&folder={tmp_path}/x").text
    assert f"{tmp_path}/x" not in page
    assert command_of(page)[-1].startswith(str(stack_folder / "restored"))


def test_the_plan_in_place_says_what_is_there_and_what_is_kept(client: Browser, stack_folder: Path) -> None:
    said = text_of(client.get("/restore/plan?source=notes&source=chat&where=place").text)
    assert f"To {stack_folder / 'chat.db'}" in said
    assert "There now database file of 8,192 bytes" in said
    assert "There now folder with 2 entries" in said
    assert said.count("kept beside the restored one, as NAME.before-restore-TIME") == 2
    assert "Type the name of the stack, shop" in said


def test_the_plan_says_when_nothing_is_kept(client: Browser) -> None:
    query = "source=notes&where=place&option.notes.overwrite=always&option.notes.delete=true"
    page = client.get(f"/restore/plan?{query}").text
    said = text_of(page)
    assert "What is replaced is not kept. What the backup does not have is removed." in said
    assert "kept beside" not in said
    assert command_of(page)[-2:] == ["--option=notes.overwrite=always", "--option=notes.delete=true"]


def test_sources_of_different_sets_are_restored_from_each_ones_newest(stack_folder: Path) -> None:
    newest = recoup.open(stack_folder / "recoup.yaml").backup(sources=["notes"]).manifest
    assert newest
    with browsing(idle(stack_folder / "recoup.yaml")) as client:
        page = client.get("/restore/plan?source=notes&source=chat").text
        said = text_of(page)
        assert command_of(page)[3:5] == ["restore", "latest"]
        assert f"From {newest.name} in local" in said
        assert f"From {names(stack_folder)[1]} in local" in said
        assert command_of(client.get("/restore/plan?source=chat").text)[4] == names(stack_folder)[1]


def test_what_is_wrong_with_a_set_is_said_before_it_is_restored(stack_folder: Path) -> None:
    name = names(stack_folder)[1]
    damaged = stack_folder / "backups" / name / "chat" / "chat.db"
    damaged.chmod(0o600)
    damaged.write_bytes(bytes(8192))
    assert recoup.open(stack_folder / "recoup.yaml").verify(name)[0].damage
    with browsing(idle(stack_folder / "recoup.yaml")) as client:
        for path in (f"/restore?set={name}", f"/restore/plan?set={name}&source=chat"):
            assert "damaged" in text_of(client.get(path).text)


def test_a_place_that_is_not_configured_is_said(stack_folder: Path) -> None:
    config = stack_folder / "recoup.yaml"
    config.write_text(config.read_text().replace("  chat: {kind: sqlite, path: chat.db}\n", ""))
    name = names(stack_folder)[1]
    with browsing(idle(config)) as client:
        assert "chat is not configured now" in text_of(client.get(f"/restore/where?set={name}&source=chat").text)
        page = client.get(f"/restore/plan?set={name}&source=chat&where=place")
        assert page.status_code == 400
        assert "chat is not configured, so nobody knows where it lives" in text_of(page.text)


def test_too_little_room_is_seen_in_a_plan(site: Site) -> None:
    choice = Choice.of([("source", "notes")])
    with site.reading() as stack:
        plan = stack.plan_restore("latest", ["notes"], target="restored")
    (room,) = restore.rooms(plan)
    assert room.needed == plan.rows[0].bytes > 0
    small = restore.Room(room.place, room.free + 1, room.free)
    assert Planned(plan, (room,), (), seen(plan)).fits
    assert not Planned(plan, (room, small), (), seen(plan)).fits
    assert choice.where == "files"


def test_names_and_places_are_no_markup(stack_folder: Path, tmp_path: Path) -> None:
    evil = stack_folder.rename(tmp_path / "<script>alert('1')<b>&\"x")
    with browsing(idle(evil / "recoup.yaml")) as client:
        for path in (
            "/restore",
            "/restore/where?source=notes",
            "/restore/plan?source=notes",
            "/restore/plan?source=notes&where=place",
            "/restore/plan?source=<script>",
            '/restore/plan?source=notes&where=place&option.notes."><script>=1',
        ):
            page = client.get(path).text
            assert "<script>alert" not in page
            assert "<script>" not in page


# --- beginning ----------------------------------------------------------------------------------------------------------


def test_what_was_seen_begins_as_a_job_of_that_set(client: Browser, site: Site, stack_folder: Path) -> None:
    page = client.get("/restore/plan?source=notes").text
    answer = client.post_form("/restore", **hidden(page))
    assert answer.status_code == 303
    (job,) = site.jobs.all()
    assert answer.headers["location"] == f"/jobs/{job.id}"
    assert shlex.split(job.command) == command_of(page)
    assert job.arguments[:2] == ("restore", names(stack_folder)[1])
    through(site.jobs, job)


def test_in_place_needs_the_name_of_the_stack(client: Browser, site: Site) -> None:
    page = client.get("/restore/plan?source=chat&where=place").text
    for typed in ("", "Shop", "shop2", "yes"):
        answer = client.post_form("/restore", **hidden(page), typed=typed)
        assert answer.status_code == 422
        assert "is not the name of the stack" in answer.text
        assert hidden(answer.text) == hidden(page) | {"csrf": hidden(answer.text)["csrf"]}
    assert site.jobs.all() == ()
    assert client.post_form("/restore", **hidden(page), typed=" shop ").status_code == 303
    (job,) = site.jobs.all()
    assert job.arguments[2:] == ("--source", "chat", "--in-place")
    through(site.jobs, job)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: recoup.open(folder / "recoup.yaml").backup(), id="a newer set"),
        pytest.param(lambda folder: (folder / "chat.db").unlink(), id="another target"),
        pytest.param(lambda folder: (folder / "recoup.yaml").write_text(_ELSEWHERE), id="another configuration"),
    ],
)
def test_a_plan_that_is_not_the_one_that_was_seen_is_shown_again(
    client: Browser, site: Site, stack_folder: Path, change: Callable[[Path], object]
) -> None:
    page = client.get("/restore/plan?source=chat&where=place").text
    change(stack_folder)
    again = client.post_form("/restore", **hidden(page), typed="shop")
    assert again.status_code == 409
    assert "The plan has changed since you looked, so nothing was begun." in again.text
    assert f"it takes {names(stack_folder)[-1]}" in text_of(again.text)
    assert site.jobs.all() == ()
    assert client.post_form("/restore", **hidden(again.text), typed="shop").status_code == 303
    through(site.jobs, site.jobs.all()[0])


_ELSEWHERE = """\
version: 1
stack: shop
sources:
  notes: {kind: files, path: notes}
  chat: {kind: sqlite, path: elsewhere.db}
repositories:
  local: {path: backups}
"""


def test_a_folder_that_was_made_meanwhile_is_not_restored_into(client: Browser, stack_folder: Path) -> None:
    page = client.get("/restore/plan?source=chat").text
    Path(command_of(page)[-1]).mkdir(parents=True)
    again = client.post_form("/restore", **hidden(page))
    assert again.status_code == 409
    assert command_of(again.text)[-1] == f"{command_of(page)[-1]}_2"


def test_a_set_that_went_away_meanwhile_is_said(client: Browser, site: Site, stack_folder: Path) -> None:
    name = names(stack_folder)[0]
    page = client.get(f"/restore/plan?set={name}&source=chat").text
    stack = recoup.open(stack_folder / "recoup.yaml")
    stack.delete(stack.plan_delete([name]))
    answer = client.post_form("/restore", **hidden(page))
    assert answer.status_code == 404
    assert f"there is no set {name}" in text_of(answer.text)
    assert site.jobs.all() == ()


def test_a_second_restore_is_refused_while_one_runs(stack_folder: Path) -> None:
    site = site_of(stack_folder / "recoup.yaml", ("/bin/sh", "-c", "exec sleep 60", "recoup"))
    with browsing(site) as client:
        page = client.get("/restore/plan?source=chat").text
        assert client.post_form("/restore", **hidden(page)).status_code == 303
        (job,) = site.jobs.all()
        again = client.post_form("/restore", **hidden(page))
        assert again.status_code == 409
        assert "restore" in text_of(again.text)
        assert f"/jobs/{job.id}" in again.text
        assert len(site.jobs.all()) == 1
        site.jobs.cancel(job.id)
        through(site.jobs, job)


def test_nothing_begins_without_the_token_of_a_page(client: Browser, site: Site) -> None:
    page = hidden(client.get("/restore/plan?source=notes").text)
    answer = client.post("/restore", data={**page, "csrf": "0" * 64}, headers={"Origin": BASE})
    assert answer.status_code == 403
    assert site.jobs.all() == ()


def test_the_wizard_is_for_operators(stack_folder: Path) -> None:
    config = stack_folder / "recoup.yaml"
    config.write_text(f"{config.read_text()}web:\n{accounts('operator', 'reader')}")
    with browsing(idle(config)) as client:
        client.headers["Authorization"] = "Bearer reader-token-" + "fedcba9876543210" * 2
        for path in ("/restore", "/restore/where?source=notes", "/restore/plan?source=notes"):
            answer = client.get(path)
            assert answer.status_code == 403
            assert "A reader may look at everything and change nothing." in answer.text
        assert client.post("/restore", data={"source": "notes"}).status_code == 403


# --- the whole of it ----------------------------------------------------------------------------------------------------


def test_a_restore_in_place_brings_back_what_was_there(stack_folder: Path, preloaded: Path) -> None:
    site = site_of(stack_folder / "recoup.yaml", (str(preloaded / "recoup"),))
    with sqlite3.connect(stack_folder / "chat.db") as chat:
        chat.execute("DELETE FROM messages")
    chat.close()
    with browsing(site) as client:
        page = client.get("/restore/plan?source=chat&where=place").text
        assert client.post_form("/restore", **hidden(page), typed="shop").status_code == 303
        job = through(site.jobs, site.jobs.all()[0])
    assert job.exit_code == 0
    with sqlite3.connect(stack_folder / "chat.db") as chat:
        assert chat.execute("SELECT count(*) FROM messages").fetchone() == (5,)
    chat.close()
    (result,) = (found for found in results(site.jobs.results(job.id)) if found.kind == "restore")
    assert isinstance(result.report, RestoreReport)
    (restored,) = result.report.sources
    assert Path(restored.kept).name.startswith("chat.db.before-restore-")
    assert Path(restored.kept).exists()


def test_the_command_that_is_shown_plans_the_same(stack_folder: Path, preloaded: Path) -> None:
    with browsing(idle(stack_folder / "recoup.yaml")) as client:
        page = client.get("/restore/plan?source=notes&source=chat&where=place&option.notes.overwrite=if-changed").text
    command = [str(preloaded / "recoup"), *command_of(page)[1:], "--dry-run", "--json"]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    said = text_of(page)
    assert {row["source"] for row in rows} == {"notes", "chat"}
    for row in rows:
        assert f"From {row['set']} in {row['repository']}" in said
        assert row["target"] in said
        assert row["consequence"] in said


def test_a_qdrant_collection_comes_back_under_another_name(tmp_path: Path, preloaded: Path, qdrant: Qdrant) -> None:
    qdrant.ask("PUT", "/collections/docs", {"vectors": {"size": 2, "distance": "Cosine"}})
    points = [{"id": number, "vector": [1.0, number / 9]} for number in range(1, 6)]
    qdrant.ask("PUT", "/collections/docs/points", {"points": points}, wait="true")
    config = tmp_path / "recoup.yaml"
    config.write_text(
        f"version: 1\nstack: shop\nsources:\n  vectors: {{kind: qdrant, url: '{qdrant.url}'}}\n"
        "repositories:\n  local: {path: backups}\n"
    )
    recoup.open(config).create_repositories()
    recoup.open(config).backup()
    site = site_of(config, (str(preloaded / "recoup"),))
    query = "source=vectors&where=place&option.vectors.rename="
    with browsing(site) as client:
        wrong = client.get(f"/restore/plan?{query}nothing=docs_copy")
        assert wrong.status_code == 400
        assert "the set has no collection nothing" in text_of(wrong.text)
        page = client.get(f"/restore/plan?{query}docs=docs_copy").text
        said = text_of(page)
        assert "docs_copy" in said
        assert "nothing is there" in said
        assert "It goes to servers, whose disks cannot be asked here." in said
        assert client.post_form("/restore", **hidden(page), typed="shop").status_code == 303
        job = through(site.jobs, site.jobs.all()[0])
        shown = text_of(client.get(f"/jobs/{job.id}").text)
    assert job.exit_code == 0, site.jobs.news(job.id)
    assert sorted(qdrant.collections()) == ["docs", "docs_copy"]
    assert "Restored: 1 source" in shown
    assert "points of docs_copy: 5" in shown


# --- choices ------------------------------------------------------------------------------------------------------------

_words = st.text(max_size=12)
_names = st.sampled_from(["set", "source", "where", "option.a.b", "option.a.b.c", "option.", "seen", ""]) | _words


@given(st.lists(st.tuples(_names, _words), max_size=8))
def test_a_choice_survives_being_an_address(fields: list[tuple[str, str]]) -> None:
    choice = Choice.of(fields)
    assert Choice.of(choice.fields) == choice
    assert choice.where in ("files", "place")


@given(st.lists(st.tuples(_names, _words), max_size=8))
def test_an_order_holds_only_what_there_is(fields: list[tuple[str, str]]) -> None:
    order = Order(Choice.of(fields), (Offer("notes", "files", _info("notes", "files")),))
    try:
        order.require_sources()
        order.require_options()
    except UsageError:
        return
    assert order.arguments(Path("/new"))[0] == "restore"
    assert {offer.source for offer in order.chosen} == {"notes"}


def test_a_fresh_folder_is_one_that_is_not_there(tmp_path: Path) -> None:
    assert fresh_folder(tmp_path, "x").name == "restored_x"
    (tmp_path / "restored_x").touch()
    assert fresh_folder(tmp_path, "x").name == "restored_x_2"
