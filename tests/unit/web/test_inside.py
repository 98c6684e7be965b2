"""Looking into a set: lists by path, and files taken out, whole, in part, or broken off."""

import http.client
import os
import shutil
import socket
import sqlite3
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recoup
from recoup.errors import DamagedError, LockedError
from recoup.web import _streaming
from recoup.web._place import Place
from recoup.web._site import Site
from recoup.web._streaming import AT_ONCE, Blocks, closable
from recoup.web.server import create_app
from recoup.web.serving import says_more
from sealing_keys import age_key
from unit.web.browsing import Browser, browsing, idle, text_of
from unit.web.running import until
from web_access import TOKEN, accounts

CONFIG = """\
version: 1
stack: shop
sources:
  notes: {kind: files, path: notes}
repositories:
  local: {path: backups%s}
"""
LARGE = os.urandom(3_500_001)
HOSTILE = "<img src=x onerror=alert(1)>'&quot;\u202e\x07.txt"


@pytest.fixture(scope="module")
def _kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack with names of all kinds; made once, tests get copies."""
    folder = tmp_path_factory.mktemp("inside")
    notes = folder / "notes"
    (notes / "sub" / "deep").mkdir(parents=True)
    (notes / "large.bin").write_bytes(LARGE)
    (notes / "empty").write_bytes(b"")
    (notes / HOSTILE).write_text("hostile")
    (notes / "sub" / "deep" / "a b%2F?#.txt").write_text("odd")
    Path(os.fsdecode(os.fsencode(notes) + b"/caf\xe9.txt")).write_text("latin")
    (notes / "link").symlink_to("/etc/passwd")
    with tarfile.open(notes / "inner.tar", "w") as tar:
        tar.add(notes / "large.bin", "data/large.bin")
        tar.add(notes / HOSTILE, f"data/{HOSTILE}")
    (folder / "recoup.yaml").write_text(CONFIG % "")
    stack = recoup.open(folder / "recoup.yaml")
    stack.create_repositories()
    stack.backup()
    return folder


@pytest.fixture
def folder(_kept: Path, tmp_path: Path) -> Path:
    return shutil.copytree(_kept, tmp_path / "stack", symlinks=True)


@pytest.fixture
def site(folder: Path) -> Site:
    return idle(folder / "recoup.yaml")


@pytest.fixture
def newest(folder: Path) -> str:
    return newest_of(folder)


def newest_of(folder: Path) -> str:
    return f"/sets/local/{max(path.name for path in (folder / 'backups').glob('backup_*'))}"


def asked(path: str) -> str:
    return quote(os.fsencode(path), safe="")


# --- lists --------------------------------------------------------------------------------------------------------------


def test_a_set_is_browsed_from_its_parts_down_to_files(client: Browser, newest: str) -> None:
    assert 'path=notes"' in client.get(f"{newest}/inside").text
    top = text_of(client.get(f"{newest}/inside?path=notes").text)
    assert "large.bin Kind" not in top
    assert "large.bin file 3.3 MiB" in top
    assert "sub folder" in top
    assert "link leads to /etc/passwd symlink" in top
    assert "a b" not in top
    assert "a b%2F?#.txt" in text_of(client.get(f"{newest}/inside?path=notes/sub/deep").text)
    one = text_of(client.get(f"{newest}/inside?path={asked('notes/sub/deep/a b%2F?#.txt')}").text)
    assert "3 B (3 bytes)" in one


def test_an_archive_is_looked_into_like_a_folder(client: Browser, newest: str) -> None:
    assert "data folder" in text_of(client.get(f"{newest}/inside?path=notes/inner.tar").text)
    assert "large.bin file 3.3 MiB" in text_of(client.get(f"{newest}/inside?path=notes/inner.tar/data").text)
    answer = client.get(f"{newest}/content?path=notes/inner.tar/data/large.bin")
    assert answer.content == LARGE


def test_what_was_counted_is_shown_of_each_table(stack_folder: Path) -> None:
    with browsing(idle(stack_folder / "recoup.yaml")) as client:
        name = newest_of(stack_folder)
        assert "chat table messages rows 5" in text_of(client.get(f"{name}/inside").text)
        assert "chat table messages rows 5" in text_of(client.get(f"{name}/inside?path=chat").text)
        database = client.get(f"{name}/content?path=chat/chat.db")
        (stack_folder / "got.db").write_bytes(database.content)
    connection = sqlite3.connect(stack_folder / "got.db")
    assert connection.execute("SELECT count(*) FROM messages").fetchone() == (5,)
    connection.close()


def test_a_path_that_a_set_does_not_have_leads_nowhere(client: Browser, newest: str) -> None:
    for path in ("notes/none", "elsewhere", "../recoup.yaml", "notes/../../recoup.yaml", "/etc/passwd"):
        for what in ("inside", "content"):
            answer = client.get(f"{newest}/{what}?path={asked(path)}")
            assert answer.status_code == 400, (what, path)
            assert "root:" not in answer.text
            assert "version: 1" not in answer.text


def test_only_files_are_taken_out(client: Browser, newest: str) -> None:
    for path in ("", "notes", "notes/sub", "notes/link"):
        answer = client.get(f"{newest}/content?path={path}")
        assert answer.status_code == 400, path
        assert "is no file of" in answer.text


def test_hostile_names_are_text_on_pages_and_safe_in_headers(client: Browser, newest: str) -> None:
    for path in ("notes", f"notes/{HOSTILE}", "notes/inner.tar/data", f"notes/inner.tar/data/{HOSTILE}"):
        page = client.get(f"{newest}/inside?path={asked(path)}")
        assert page.status_code == 200
        assert "<img" not in page.text
        assert "\u202e" not in page.text
        assert "\x07" not in page.text
    answer = client.get(f"{newest}/content?path={asked(f'notes/{HOSTILE}')}")
    assert answer.text == "hostile"
    said = answer.headers["content-disposition"]
    assert said.startswith('attachment; filename="_img_src_x_onerror_alert_1')
    assert "<" not in said
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_name_that_is_no_utf_8_is_found_by_the_link_that_the_page_has(client: Browser, newest: str) -> None:
    page = client.get(f"{newest}/inside?path=notes").text
    assert "path=notes/caf%E9.txt" in page
    assert client.get(f"{newest}/content?path=notes/caf%E9.txt").text == "latin"
    assert client.get(f"{newest}/inside?path=notes/caf%E9.txt").status_code == 200
    assert client.get(f"{newest}/content?path=notes/caf%ED%A0%80.txt").status_code == 400


# --- ranges -------------------------------------------------------------------------------------------------------------


def test_a_file_is_given_whole_with_its_length(client: Browser, newest: str) -> None:
    answer = client.get(f"{newest}/content?path=notes/large.bin")
    assert (answer.status_code, answer.content == LARGE) == (200, True)
    assert answer.headers["content-length"] == str(len(LARGE))
    assert answer.headers["accept-ranges"] == "bytes"
    empty = client.get(f"{newest}/content?path=notes/empty")
    assert (empty.status_code, empty.content, empty.headers["content-length"]) == (200, b"", "0")


def test_a_download_that_was_interrupted_goes_on_only_with_the_same_file(client: Browser, newest: str) -> None:
    path = f"{newest}/content?path=notes/large.bin"
    tag = client.get(path, headers={"Range": "bytes=0-0"}).headers["etag"]
    on = client.get(path, headers={"Range": "bytes=3400000-", "If-Range": tag})
    assert (on.status_code, on.content == LARGE[3_400_000:]) == (206, True)
    assert on.headers["content-range"] == f"bytes 3400000-{len(LARGE) - 1}/{len(LARGE)}"
    other = client.get(path, headers={"Range": "bytes=3400000-", "If-Range": '"another"'})
    assert (other.status_code, len(other.content)) == (200, len(LARGE))
    none = client.get(path, headers={"Range": f"bytes={len(LARGE)}-"})
    assert (none.status_code, none.headers["content-range"]) == (416, f"bytes */{len(LARGE)}")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, len(LARGE) - 1), st.integers(0, 2_000_000))
def test_any_range_is_those_bytes(client: Browser, newest: str, first: int, length: int) -> None:
    answer = client.get(f"{newest}/content?path=notes/large.bin", headers={"Range": f"bytes={first}-{first + length}"})
    assert answer.content == LARGE[first : first + length + 1]


@pytest.mark.parametrize(
    "options",
    [", compression: zstd, pack: tar.zst", ", layout: dedup, key_file: secret", ", encrypt: {age: AGE}"],
    ids=["packed", "dedup", "encrypted"],
)
def test_files_come_out_of_every_layout(tmp_path: Path, _kept: Path, options: str) -> None:
    folder = shutil.copytree(_kept, tmp_path / "stack", symlinks=True, ignore=lambda *_: ["backups"])
    public, _ = age_key(folder)
    (folder / "secret").write_text("correct horse battery staple, twice over")
    (folder / "secret").chmod(0o600)
    age = f"{{recipients: [{public}], identity_file: identity}}"
    (folder / "recoup.yaml").write_text(CONFIG % options.replace("AGE", age))
    stack = recoup.open(folder / "recoup.yaml")
    stack.create_repositories()
    stack.backup()
    with browsing(idle(folder / "recoup.yaml")) as client:
        newest = f"/sets/local/{stack.show().name}"
        assert "large.bin file 3.3 MiB" in text_of(client.get(f"{newest}/inside?path=notes").text)
        assert client.get(f"{newest}/content?path=notes/large.bin").content == LARGE
        part = client.get(f"{newest}/content?path=notes/large.bin", headers={"Range": "bytes=1000000-2999999"})
        assert part.content == LARGE[1_000_000:3_000_000]
        page = client.get(newest)
        assert page.status_code == 200
        words = {"encrypt:": "by age, to 1 key", "dedup": "as all that its repository holds"}
        assert next((told for key, told in words.items() if key in options), "no") in text_of(page.text)


# --- damage -------------------------------------------------------------------------------------------------------------


@contextmanager
def serving(site: Site) -> Iterator[int]:
    """The page on a real socket: its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port: int = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(create_app(site, Place("127.0.0.1", port)), log_config=None))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join()


def stored(folder: Path, name: str) -> Path:
    return next(path for path in (folder / "backups").rglob(name) if path.is_file())


def change_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=10-3000000"}])
def test_a_damaged_file_never_arrives_whole(
    folder: Path, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    change_last_byte(stored(folder, "large.bin"))
    with serving(idle(folder / "recoup.yaml")) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", f"{newest_of(folder)}/content?path=notes/large.bin", headers=headers)
        answer = connection.getresponse()
        assert answer.status in (200, 206)
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
        connection.close()
    [reason] = (record for record in caplog.records if record.name == "recoup.web")
    assert "/content was broken off: " in reason.getMessage()
    assert "Traceback" not in reason.getMessage()
    assert [record.name for record in filter(says_more, caplog.records)] == ["recoup.web"]


def test_a_small_damaged_file_is_refused_before_anything_is_sent(client: Browser, folder: Path, newest: str) -> None:
    change_last_byte(stored(folder, "inner.tar").with_name(HOSTILE))
    answer = client.get(f"{newest}/content?path={asked(f'notes/{HOSTILE}')}")
    assert answer.status_code == 500
    assert "It failed" in answer.text


def test_the_last_block_waits_until_all_was_found_to_be_right() -> None:
    def content() -> Iterator[bytes]:
        yield from (b"one", b"two", b"three")
        raise DamagedError("it is damaged")

    blocks = Blocks(closable(content()), 11)
    given = [blocks.next()]
    with pytest.raises(DamagedError):
        while True:
            given.append(blocks.next())
    assert b"three" not in given
    blocks.close()


@pytest.mark.parametrize("length", [2, 4, 100])
def test_a_file_of_another_size_than_was_promised_is_no_whole_one(length: int) -> None:
    with pytest.raises(DamagedError, match="another size"):
        Blocks(closable(iter([b"abc"])), length)
    blocks = Blocks(closable(iter([b"abc"])), 3)
    assert (blocks.next(), blocks.next()) == (b"abc", b"")
    blocks.close()


def test_so_many_downloads_run_at_once_and_no_more() -> None:
    running = [Blocks(closable(iter([b"a"])), 1) for _ in range(AT_ONCE)]
    with pytest.raises(LockedError, match="downloads run already"):
        Blocks(closable(iter([b"a"])), 1)
    for one in running:
        one.close()
        one.close()
    Blocks(closable(iter([b"a"])), 1).close()
    assert _streaming._RUNNING._value == AT_ONCE


def test_a_browser_that_goes_away_ends_its_download(folder: Path) -> None:
    with serving(idle(folder / "recoup.yaml")) as port:
        for _ in range(2 * AT_ONCE):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", f"{newest_of(folder)}/content?path=notes/large.bin")
            assert connection.getresponse().status == 200
            connection.close()
            until(lambda: _streaming._RUNNING._value == AT_ONCE)
    assert recoup.open(folder / "recoup.yaml").locks() == []


# --- who ----------------------------------------------------------------------------------------------------------------


def test_a_reader_sees_names_and_takes_out_no_content(folder: Path, newest: str) -> None:
    config = folder / "recoup.yaml"
    config.write_text(f"{config.read_text()}web:\n{accounts('operator', 'reader')}")
    with browsing(idle(config)) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN['reader']}"
        page = client.get(f"{newest}/inside?path=notes")
        assert "large.bin" in page.text
        assert "/content?" not in page.text
        for path in ("content?path=notes/large.bin", "points", "points.jsonl"):
            assert client.get(f"{newest}/{path}").status_code == 403
        client.headers["Authorization"] = f"Bearer {TOKEN['operator']}"
        assert client.get(f"{newest}/content?path=notes/empty").status_code == 200
