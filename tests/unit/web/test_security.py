"""Nobody gets past the guard: names, origins, tokens, roles, and what every answer says."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.routing import iter_route_contexts
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import ConfigError
from recoup.web._guard import LARGEST, BrokenOffError
from recoup.web._headers import POLICY
from recoup.web._hosts import Hosts, network
from recoup.web._place import Place
from recoup.web.server import create_app
from unit.web.browsing import Browser, site_of
from web_access import AFAR, BASE, HOME, TOKEN, Access, Visitor, accounts, hash_of

BOTH = accounts("operator", "reader")


@pytest.fixture
def open_page(tmp_path: Path) -> Access:
    """Nobody signs in: everybody on this machine is operator."""
    return Access(tmp_path)


@pytest.fixture
def page(tmp_path: Path) -> Access:
    """Both roles have a password and a token."""
    return Access(tmp_path, BOTH)


@pytest.fixture
def visitor(open_page: Access) -> Iterator[Visitor]:
    with open_page.browser() as found:
        yield found


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "a b", ""]
)
def test_a_page_under_a_foreign_name_reaches_nothing(visitor: Visitor, name: str) -> None:
    answers = [visitor.get(path, headers={"Host": name}) for path in ("/api/v1/probe", "/static/style.css", "/sign-in")]
    assert [one.status_code for one in answers] == [421] * 3
    assert all("Set-Cookie" not in one.headers and "web.hosts" in one.text for one in answers)


@pytest.mark.parametrize("name", ["127.0.0.1:8642", "localhost:1", "LOCALHOST.", "[::1]:8642", "127.3.2.1"])
def test_this_machine_is_known_by_its_own_names(visitor: Visitor, name: str) -> None:
    assert visitor.get("/api/v1/probe", headers={"Host": name}).status_code == 200


def test_a_configured_name_is_known_without_regard_to_case_and_port(tmp_path: Path) -> None:
    page = Access(tmp_path, BOTH + "  hosts: [Backup.example.org]\n")
    with page.browser() as visitor:
        assert visitor.get("/sign-in", headers={"Host": "backup.EXAMPLE.org:8443"}).status_code == 200
        assert visitor.get("/sign-in", headers={"Host": "sub.backup.example.org"}).status_code == 421


def test_a_server_on_all_addresses_is_known_by_any_address_and_by_no_foreign_name() -> None:
    hosts = Hosts.of((), Place("0.0.0.0", 8642))
    assert hosts.know("192.0.2.1:8642")
    assert hosts.know("[2001:db8::1]")
    assert not hosts.know("evil.example")


def test_two_host_headers_are_refused(visitor: Visitor) -> None:
    found = visitor.get("/api/v1/probe", headers=[("Host", "127.0.0.1"), ("Host", "evil.example")])
    assert found.status_code == 400


@given(st.text(max_size=60))
def test_no_text_is_a_name_of_ours_unless_it_says_so(text: str) -> None:
    hosts = Hosts.of(("backup.example.org",), Place("127.0.0.1", 8642))
    if hosts.know(text):
        assert text.lower().startswith(("localhost", "127.", "[::", "[0", "backup.example.org"))


# --- origins ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:3000", "https://127.0.0.1:8642.evil.example", "file://", ""],
)
def test_a_foreign_page_changes_nothing_though_it_knows_the_token(visitor: Visitor, origin: str) -> None:
    refused = visitor.change(Origin=origin)
    assert refused.status_code == 403
    assert "another site" in refused.json()["detail"]


@pytest.mark.parametrize("origin", [BASE, "https://127.0.0.1:8642"])
def test_a_page_of_ours_changes_something(visitor: Visitor, origin: str) -> None:
    assert visitor.change(Origin=origin).json() == {"changed by": ""}


def test_a_page_of_a_configured_name_changes_something_where_a_proxy_tells_another_host(tmp_path: Path) -> None:
    page = Access(tmp_path, BOTH + "  hosts: [backup.example.org]\n")
    with page.browser() as visitor:
        visitor.sign_in("operator")
        assert visitor.change(Origin="https://backup.example.org").status_code == 200
        assert visitor.change(Origin="https://backup.example.org:8443").status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_the_browser_itself_tells_where_a_request_comes_from(visitor: Visitor, site: str) -> None:
    assert visitor.change(**{"Sec-Fetch-Site": site}).status_code == 403
    inside = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    assert visitor.get("/api/v1/probe", headers=inside).status_code == 403  # as an image or a script of theirs
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert visitor.get("/api/v1/probe", headers=link).status_code == 200


def test_a_link_from_elsewhere_asks_once_more_with_the_cookie(page: Access) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    with page.browser() as visitor:
        found = visitor.get('/sets?q="><script>', headers=link)
    assert found.status_code == 200
    assert "Set-Cookie" not in found.headers  # the one that the browser left out is not overwritten
    assert 'http-equiv="refresh" content="0; url=/sets?q=' in found.text
    assert "<script>" not in found.text


@pytest.mark.parametrize(
    "path", ["//evil.example/", "/x//evil.example", "/\\evil.example", "/%5cevil.example", "/a/../.."]
)
def test_a_link_from_elsewhere_leads_to_no_other_site(page: Access, path: str) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    with page.browser() as visitor:
        found = visitor.get(f"{BASE}{path}", headers=link)
    again = re.search(r'content="0; url=([^"]*)"', found.text)
    assert again
    assert again[1] in ("/", "/%5Cevil.example")


def test_a_page_with_other_letters_in_its_path_is_found_again_after_signing_in(page: Access) -> None:
    with page.browser() as visitor:
        led = visitor.get("/sets/%C3%BC%3Fx/%20y?q=%C3%A4").headers["Location"]
        assert visitor.get(led).status_code == 200
        assert visitor.sign_in("reader", next=parse_qs(urlsplit(led).query)["next"][0]).headers["Location"] == (
            "/sets/%C3%BC%3Fx/%20y?q=%C3%A4"
        )


# --- tokens of changes ------------------------------------------------------------------------------------------------


def test_a_change_without_the_token_of_the_session_is_refused(visitor: Visitor, open_page: Access) -> None:
    with open_page.browser() as other:
        foreign = other.csrf()
    assert visitor.csrf() != foreign
    for token in ("", "x" * 64, foreign, foreign[:-1]):
        refused = visitor.post("/api/v1/probe", headers={"X-CSRF-Token": token})
        assert (refused.status_code, "page of this session" in refused.json()["detail"]) == (403, True)


def test_a_token_without_its_session_is_refused(visitor: Visitor) -> None:
    token = visitor.csrf()
    visitor.cookies.clear()
    assert visitor.post("/api/v1/probe", headers={"X-CSRF-Token": token}).status_code == 403


def test_a_form_carries_the_token_and_is_read_by_its_route_in_full(visitor: Visitor) -> None:
    body = f"csrf={visitor.csrf()}&note=" + "n" * 300_000
    kind = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert visitor.post("/api/v1/forgetful", content=body, headers=kind).json() == {"bytes": len(body)}
    assert visitor.post("/api/v1/forgetful", content=body, headers={"Content-Type": "text/plain"}).status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
def test_a_route_that_forgot_to_be_protected_is(visitor: Visitor, method: str) -> None:
    assert visitor.request(method, "/api/v1/forgetful").status_code == 403


def test_more_than_a_form_may_hold_is_refused_before_it_is_read_on(visitor: Visitor) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        for _ in range(64):
            read += 1
            yield b"x" * 65536

    refused = visitor.post("/api/v1/forgetful", content=endless(), headers={"X-CSRF-Token": visitor.csrf()})
    assert refused.status_code == 413
    assert LARGEST == 1024 * 1024


# --- roles ------------------------------------------------------------------------------------------------------------


def changing_routes(page: Access) -> list[tuple[str, str]]:
    """Method and path of all routes that may change something."""
    return [
        (method, (route.path or "").replace("{", "").replace("}", ""))
        for route in iter_route_contexts(page.app.routes)
        for method in sorted(set(route.methods or ()) - {"GET", "HEAD", "OPTIONS"})
    ]


def test_every_changing_route_refuses_a_missing_token_a_reader_and_a_stranger(page: Access) -> None:
    routes = [one for one in changing_routes(page) if one[1] not in ("/sign-in", "/sign-out")]
    assert ("POST", "/api/v1/forgetful") in routes
    with page.browser() as operator, page.browser() as reader, page.browser() as stranger:
        assert operator.sign_in("operator").status_code == 303
        assert reader.sign_in("reader").status_code == 303
        token = reader.csrf()
        for method, path in routes:
            assert operator.request(method, path).status_code == 403, path
            assert reader.request(method, path, headers={"X-CSRF-Token": token}).status_code == 403, path
            assert stranger.request(method, path).status_code in (303, 401), path
            with_token = {"Authorization": f"Bearer {TOKEN['reader']}"}
            assert stranger.request(method, path, headers=with_token).status_code == 403, path


def test_signing_in_and_out_need_the_token_too(page: Access) -> None:
    with page.browser() as visitor:
        visitor.csrf()
        for path in ("/sign-in", "/sign-out"):
            assert visitor.post(path, data={"role": "operator"}).status_code == 403


def test_every_page_leads_a_stranger_to_the_form_and_shows_nothing(page: Access) -> None:
    with page.browser() as stranger:
        led = stranger.get("/sets?page=2")
        assert (led.status_code, led.headers["Location"]) == (303, "/sign-in?next=%2Fsets%3Fpage%3D2")
        told = stranger.get("/api/v1/probe")
        assert (told.status_code, told.headers["WWW-Authenticate"]) == (401, "Bearer")
        piece = stranger.get("/sets", headers={"HX-Request": "true"})
        assert (piece.status_code, piece.headers["HX-Redirect"]) == (401, "/sign-in")
        assert "shop" not in stranger.get("/sign-in").text


def test_a_program_comes_in_by_a_token_without_cookie_and_csrf(page: Access) -> None:
    with page.browser(AFAR) as program:
        headers = {"Authorization": f"Bearer {TOKEN['operator']}", "Origin": "http://anywhere.example"}
        done = program.post("/api/v1/probe", headers=headers)
        assert done.json() == {"changed by": "operator"}
        assert "Set-Cookie" not in done.headers
        seen = program.get("/api/v1/probe", headers={"Authorization": f"bearer {TOKEN['reader']}"})
        assert seen.json() == {"name": "reader", "may_operate": False, "csrf": ""}


@pytest.mark.parametrize("token", ["", "x" * 40, TOKEN["operator"][:-1], TOKEN["operator"] + "x", "ö"])
def test_an_unknown_token_is_refused_though_the_browser_is_signed_in(page: Access, token: str) -> None:
    with page.browser() as program:
        program.sign_in("operator")
        refused = program.get("/api/v1/probe", headers=[(b"Authorization", f"Bearer {token}".encode())])
        assert (refused.status_code, "token is not one" in refused.json()["detail"]) == (401, True)


# --- open pages -------------------------------------------------------------------------------------------------------


def test_on_this_machine_without_accounts_everybody_is_operator(visitor: Visitor) -> None:
    seen = visitor.get("/api/v1/probe").json()
    assert (seen["name"], seen["may_operate"]) == ("", True)


def test_without_accounts_nobody_from_elsewhere_gets_in(open_page: Access) -> None:
    with open_page.browser(AFAR) as visitor:
        assert visitor.get("/api/v1/probe").status_code == 403
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host"):
        with open_page.browser(HOME, headers={header: "198.51.100.1"}) as visitor:
            assert visitor.get("/api/v1/probe").status_code == 403


@pytest.mark.parametrize(
    ("web", "place"),
    [
        ("", Place("0.0.0.0", 8642)),
        ("", Place("192.0.2.1", 8642)),
        ("", Place("backup.example.org", 8642)),
        ("  hosts: [backup.example.org]\n", Place("127.0.0.1", 8642)),
        ("  path: /recoup\n", Place("127.0.0.1", 8642, "/recoup")),
    ],
)
def test_a_page_that_others_reach_does_not_start_without_a_password_or_token(
    tmp_path: Path, web: str, place: Place
) -> None:
    with pytest.raises(ConfigError) as caught:
        Access(tmp_path, web, place)
    assert "no password and no token" in caught.value.message
    assert "--hash-password" in caught.value.hint


def test_a_token_alone_is_enough_to_start_for_others(tmp_path: Path) -> None:
    page = Access(tmp_path, f"  reader: {{token: {TOKEN['reader']}}}\n", Place("0.0.0.0", 8642))
    with page.browser(AFAR, "http://192.0.2.1:8642") as visitor:
        assert visitor.get("/api/v1/probe").status_code == 401


def test_accounts_that_are_taken_away_while_others_reach_the_page_let_nobody_of_them_in(tmp_path: Path) -> None:
    page = Access(tmp_path, BOTH, Place("0.0.0.0", 8642))
    page.configure("")
    with page.browser(AFAR, "http://192.0.2.1:8642") as visitor:
        assert visitor.get("/api/v1/probe").status_code == 403


# --- answers ----------------------------------------------------------------------------------------------------------

EVERY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/sign-in", 303),
        ("/static/style.css", 200),
        ("/static/missing.css", 404),
        ("/api/v1/probe", 200),
        ("/api/v1/stream", 200),
        ("/api/v1/nowhere", 404),
        ("/api/v1/forgetful", 405),
        ("/api/v1/error", 404),
        ("/api/v1/crash", 500),
    ],
)
def test_every_answer_says_what_a_browser_may_do_with_it(visitor: Visitor, path: str, status: int) -> None:
    found = visitor.get(path)
    assert found.status_code == status
    assert {name: found.headers.get(name) for name in EVERY} == EVERY
    kept = "private, no-cache" if path.startswith("/static/") else "no-store"
    assert found.headers["Cache-Control"] == kept


def test_answers_of_the_guard_itself_say_so_too(visitor: Visitor) -> None:
    for found in (visitor.get("/", headers={"Host": "evil.example"}), visitor.post("/api/v1/probe")):
        assert {name: found.headers.get(name) for name in EVERY} == EVERY


def test_an_error_is_told_with_its_hint_and_without_its_secrets(page: Access) -> None:
    with page.browser() as visitor:
        visitor.sign_in("reader")
        told = visitor.get("/api/v1/error")
    assert told.headers["Content-Type"] == "application/problem+json"
    found = told.json()
    assert (found["status"], found["detail"]) == (404, "there is no set token=***")
    assert found["hint"] == "`recoup list` shows what there is."


def test_what_nobody_foresaw_is_logged_without_secrets_and_not_shown(
    page: Access, caplog: pytest.LogCaptureFixture
) -> None:
    with page.browser() as visitor, caplog.at_level(logging.ERROR, "recoup.web"):
        visitor.sign_in("reader")
        told = visitor.get("/api/v1/crash")
    assert told.status_code == 500
    assert "ZeroDivisionError: while *** was here" in caplog.text
    assert TOKEN["operator"] not in caplog.text
    assert "ZeroDivision" not in told.text


def test_a_stream_that_breaks_is_never_taken_for_whole(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    assert visitor.get("/api/v1/stream").text == "firstlast"
    with pytest.raises(BrokenOffError):
        visitor.get("/api/v1/stream?breaks=true")
    assert "the disk" in caplog.text


def test_what_was_not_understood_is_named_and_not_repeated(visitor: Visitor) -> None:
    told = visitor.get("/api/v1/stream?breaks=%3Cscript%3E")
    assert told.status_code == 400
    assert "breaks" in told.json()["detail"]
    assert "script" not in told.text


# --- behind a proxy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [True, False], ids=["the proxy keeps the prefix", "the proxy takes it away"])
def test_behind_a_proxy_with_a_prefix_everything_leads_to_it(tmp_path: Path, kept: bool) -> None:
    page = Access(tmp_path, BOTH + "  path: /recoup\n", Place("127.0.0.1", 8642, "/recoup"))
    prefix = "/recoup" if kept else ""
    with page.browser(base="http://127.0.0.1:8642") as visitor:
        form = visitor.get(f"{prefix}/sign-in")
        assert 'href="/recoup/static/style.css"' in form.text
        assert 'action="/recoup/sign-in"' in form.text
        assert "Path=/recoup;" in form.headers["Set-Cookie"]
        assert visitor.get(f"{prefix}/static/style.css").status_code == 200
        assert visitor.get(f"{prefix}/sets").headers["Location"] == "/recoup/sign-in?next=%2Frecoup%2Fsets"
        assert visitor.get(f"{prefix}/static/missing.css").text.count("/recoup/static/style.css") == 1
        assert visitor.get("/recoup").headers["Location"] == "/recoup/"


def test_peers_are_told_apart_by_what_a_proxy_of_this_machine_says_and_by_nobody_else() -> None:
    assert network("2001:db8:1:2:3::4") == network("2001:db8:1:2::9") != network("2001:db8:1:3::4")
    assert network("::ffff:192.0.2.1") == "192.0.2.1"


# --- pages of failures ------------------------------------------------------------------------------------------------


def test_who_is_in_sees_a_failure_inside_the_usual_frame_and_a_stranger_nothing_of_it(
    client: Browser, page: Access
) -> None:
    missing = client.get("/nowhere")
    assert missing.status_code == 404
    assert "There is no such page" in missing.text
    assert '<nav aria-label="Pages">' in missing.text
    with page.browser() as stranger:
        refused = stranger.post("/nowhere")
    assert "<nav" not in refused.text
    assert "shop" not in refused.text


def test_a_set_that_is_not_there_is_told_with_its_hint(client: Browser) -> None:
    told = client.get("/sets/local/nothing-like-it")
    assert told.status_code == 404
    assert "Traceback" not in told.text
    assert "<h1>" in told.text


def test_commands_in_a_hint_are_code(client: Browser) -> None:
    told = client.get("/", headers={"X-Forwarded-For": "10.0.0.1"})
    assert told.status_code == 403
    assert "<code>web.operator.password_hash</code>" in told.text


def test_no_secret_of_the_configuration_is_on_any_page(stack_folder: Path) -> None:
    """Everything that can be asked for by name, with planted secrets of each kind."""
    planted = {"webhook": "planted-hook-3f1b", "source": "planted-word-77aa", "dotenv": "planted-env-19c0", **TOKEN}
    config = stack_folder / "recoup.yaml"
    (stack_folder / ".env").write_text(f"SHOP_API_KEY={planted['dotenv']}\n")
    told = config.read_text().replace(
        "repositories:",
        f"  db: {{kind: postgres, url: 'postgresql://me:{planted['source']}@127.0.0.1:1/x'}}\nrepositories:",
    )
    hook = f"notify:\n  - {{kind: webhook, url: 'http://127.0.0.1:1/{planted['webhook']}'}}\n"
    config.write_text(f"{told}{hook}web:\n{BOTH}")
    site = site_of(config)
    app = create_app(site, Place("127.0.0.1", 8642))
    paths = [route.path for route in iter_route_contexts(app.routes) if route.path and "{" not in route.path]
    headers = {"Authorization": f"Bearer {TOKEN['operator']}"}
    with Browser(app, base_url=BASE, client=HOME, follow_redirects=False, headers=headers) as visitor:
        seen = {path: visitor.get(path) for path in sorted(set(paths))}
    assert {path for path, one in seen.items() if one.status_code == 200} >= {
        "/",
        "/sets",
        "/settings",
        "/api/v1/config",
    }
    assert not [path for path, one in seen.items() if one.status_code >= 500]
    hashes = [hash_of("operator"), hash_of("operator").rpartition("$")[2]]
    shown = {path: f"{one.text}{one.headers}" for path, one in seen.items()}
    assert not [
        (path, secret) for path, text in shown.items() for secret in (*planted.values(), *hashes) if secret in text
    ]
