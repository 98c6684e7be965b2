"""Sessions: cookies that nobody can forge, that end, and that a restart of the server does not end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from recoup.system.journal import state_folder
from recoup.system.statefile import StateError
from recoup.web import _session_files
from recoup.web._place import Place
from recoup.web._sessions import IDLE, LIFETIME, RENEWED, Sessions
from web_access import BASE, PASSWORD, Access, ScriptedClock, Visitor, accounts, hash_of

BOTH = accounts("operator", "reader")


@pytest.fixture
def page(tmp_path: Path) -> Access:
    return Access(tmp_path, BOTH)


@pytest.fixture
def operator(page: Access) -> Iterator[Visitor]:
    """Somebody who has signed in."""
    with page.browser() as found:
        assert found.sign_in("operator").status_code == 303
        yield found


def name_of(visitor: Visitor) -> str:
    """As what the page knows somebody; empty for a stranger."""
    seen = visitor.get("/api/v1/probe")
    return str(seen.json()["name"]) if seen.status_code == 200 else ""


# --- cookies ----------------------------------------------------------------------------------------------------------


def flags(cookie: str) -> list[str]:
    return cookie.split("; ")[1:]


def test_the_cookie_is_for_this_site_and_no_script_alone(page: Access) -> None:
    with page.browser() as visitor:
        cookie = visitor.get("/sign-in").headers["Set-Cookie"]
    assert cookie.startswith("recoup-shop=")
    assert flags(cookie) == ["Path=/", f"Max-Age={LIFETIME}", "HttpOnly", "SameSite=Strict"]


def test_by_https_the_cookie_never_travels_in_the_clear_and_belongs_to_this_host(page: Access) -> None:
    with page.browser(headers={"X-Forwarded-Proto": "https"}) as visitor:
        cookie = visitor.get("/sign-in").headers["Set-Cookie"]
    assert cookie.startswith("__Host-recoup-shop=")
    assert flags(cookie)[-1] == "Secure"


def test_only_a_proxy_of_this_machine_is_believed_that_it_was_https(page: Access) -> None:
    with page.browser(("192.0.2.9", 5), headers={"X-Forwarded-Proto": "https"}) as visitor:
        assert "Secure" not in visitor.get("/sign-in").headers["Set-Cookie"]


def test_behind_a_prefix_the_cookie_is_for_the_prefix(tmp_path: Path) -> None:
    page = Access(tmp_path, BOTH + "  path: /recoup\n", Place("127.0.0.1", 8642, "/recoup"))
    with page.browser(headers={"X-Forwarded-Proto": "https"}) as visitor:
        cookie = visitor.get("/sign-in").headers["Set-Cookie"]
    assert cookie.startswith("recoup-shop=")
    assert flags(cookie) == ["Path=/recoup", f"Max-Age={LIFETIME}", "HttpOnly", "SameSite=Strict", "Secure"]


@given(st.text(alphabet="abcdefghij.-_AZ09", max_size=120))
def test_no_text_is_a_session(text: str) -> None:
    assert SESSIONS.read(text) is None


def test_a_changed_cookie_is_none(page: Access, operator: Visitor) -> None:
    cookie = operator.cookies["recoup-shop"]
    payload, _, signature = cookie.rpartition(".")
    other = "a" if signature[0] != "a" else "b"
    assert name_of(operator) == "operator"
    with page.browser() as thief:
        for changed in (f"{payload}.{other}{signature[1:]}", f"a{cookie}", f"{payload[:-1]}.{signature}", payload, ""):
            thief.cookies.set("recoup-shop", changed, "127.0.0.1")
            assert name_of(thief) == ""


def test_what_another_key_signed_is_none(page: Access, operator: Visitor) -> None:
    found = page.app.state.sessions.read(operator.cookies["recoup-shop"])
    payload = [found.id, "operator", found.proof, found.begun, found.seen]
    forged = URLSafeSerializer(b"k" * 32, salt="recoup-session").dumps(payload)
    with page.browser() as thief:
        thief.cookies.set("recoup-shop", str(forged), "127.0.0.1")
        assert name_of(thief) == ""


@pytest.mark.parametrize(
    "payload", [[], {}, "text", None, ["i", "operator", "p", 1], ["i", "operator", "p", "1", 2], 5]
)
def test_what_another_version_signed_is_none(payload: object) -> None:
    signed = SESSIONS._signed.dumps(payload)
    assert SESSIONS.read(str(signed)) is None


# --- ends -------------------------------------------------------------------------------------------------------------


def test_a_session_that_is_used_lasts_a_week_and_no_longer(page: Access, operator: Visitor) -> None:
    for _ in range(LIFETIME // (IDLE - 60)):
        page.clock.go_on(IDLE - 60)
        assert name_of(operator) == "operator"
    page.clock.go_on(IDLE - 60)
    assert name_of(operator) == ""


def test_a_session_that_nobody_uses_ends_after_half_a_day(page: Access, operator: Visitor) -> None:
    page.clock.go_on(IDLE + 1)
    assert name_of(operator) == ""


def test_a_session_keeps_its_token_when_its_cookie_is_renewed(page: Access, operator: Visitor) -> None:
    token, cookie = operator.csrf(), operator.cookies["recoup-shop"]
    page.clock.go_on(RENEWED - 1)
    assert "Set-Cookie" not in operator.get("/api/v1/probe").headers
    page.clock.go_on(2)
    assert operator.csrf() == token
    assert operator.cookies["recoup-shop"] != cookie


def test_a_session_from_the_future_is_none(page: Access, operator: Visitor) -> None:
    page.clock.go_on(-3600)
    assert name_of(operator) == ""


def test_a_restart_of_the_server_ends_no_session(page: Access, operator: Visitor) -> None:
    page.app = page.served()
    with page.browser() as again:
        again.cookies.set("recoup-shop", operator.cookies["recoup-shop"], "127.0.0.1")
        assert again.change().json() == {"changed by": "operator"}


def test_signing_out_ends_the_session_for_copies_of_its_cookie_too(page: Access, operator: Visitor) -> None:
    copy = operator.cookies["recoup-shop"]
    out = operator.post("/sign-out", data={"csrf": operator.csrf()})
    assert out.headers["Location"] == "/sign-in"
    assert out.headers["Set-Cookie"].startswith("recoup-shop=; Path=/; Max-Age=0;")
    assert name_of(operator) == ""
    for served in (page.app, page.served()):
        page.app = served
        with page.browser() as thief:
            thief.cookies.set("recoup-shop", copy, "127.0.0.1")
            assert name_of(thief) == ""


def test_nothing_is_kept_of_sessions_that_nobody_signed_in_to(page: Access) -> None:
    ended = state_folder() / "stacks" / "shop.web" / "ended"
    before = ended.read_text() if ended.exists() else ""
    with page.browser() as visitor:
        assert visitor.post("/sign-out", data={"csrf": visitor.csrf()}).headers["Location"] == "/sign-in"
    assert (ended.read_text() if ended.exists() else "") == before


def test_what_was_ended_long_ago_is_forgotten() -> None:
    clock = ScriptedClock()
    sessions = Sessions("forgetting", clock)
    old, young = sessions.begin("", ""), sessions.begin("", "")
    sessions.end(old)
    clock.go_on(LIFETIME + 1)
    sessions.end(young)
    kept = (state_folder() / "stacks" / "forgetting.web" / "ended").read_text()
    assert (old.id in kept, young.id in kept) == (False, True)


@pytest.mark.parametrize("secret", ["password", "token"])
def test_another_password_or_token_ends_the_sessions_that_the_old_one_began(
    page: Access, operator: Visitor, secret: str
) -> None:
    with page.browser() as reader:
        reader.sign_in("reader")
        other = hash_of("reader") if secret == "password" else hash_of("operator")
        token = "" if secret == "password" else f", token: {'t' * 40}"
        page.configure(accounts("reader") + f"  operator: {{password_hash: '{other}'{token}}}\n")
        assert name_of(operator) == ""
        assert name_of(reader) == "reader"  # whose password is the same


def test_a_role_that_is_taken_away_is_gone_at_once(page: Access, operator: Visitor) -> None:
    page.configure(accounts("reader"))
    assert name_of(operator) == ""


def test_a_wrong_configuration_lets_nobody_else_in(page: Access, operator: Visitor) -> None:
    page.configure("  operator: {password_hash: nonsense}\n")
    assert name_of(operator) == "operator"
    with page.browser() as stranger:
        assert name_of(stranger) == ""
    assert page.site.config_error is not None


def test_who_came_without_signing_in_is_nobody_when_accounts_appear(tmp_path: Path) -> None:
    page = Access(tmp_path)
    with page.browser() as visitor:
        assert visitor.change().status_code == 200
        page.configure(BOTH)
        assert visitor.get("/api/v1/probe").status_code == 401


# --- the key ----------------------------------------------------------------------------------------------------------

SESSIONS: Sessions


@pytest.fixture(autouse=True, scope="module")
def _sessions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For tests of cookies alone."""
    global SESSIONS  # noqa: PLW0603 - hypothesis gives its tests no fixtures of a function
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        SESSIONS = Sessions("shop", ScriptedClock())
        yield


def key_file() -> Path:
    return state_folder() / "stacks" / "keyed.web" / "key"


def test_the_key_is_made_once_and_readable_by_its_owner_alone() -> None:
    first, again = Sessions("keyed", ScriptedClock()), Sessions("keyed", ScriptedClock())
    assert first.key == again.key
    assert len(first.key) == 32
    assert key_file().stat().st_mode & 0o777 == 0o600
    assert key_file().parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in key_file().parent.iterdir()] == ["key"]


@pytest.mark.parametrize("harm", ["open to others", "cut short", "empty", "too long"])
def test_a_key_that_others_could_read_or_that_is_broken_is_made_anew(harm: str) -> None:
    before = Sessions("keyed", ScriptedClock()).key
    if harm == "open to others":
        key_file().chmod(0o640)
    else:
        key_file().write_bytes({"cut short": before[:9], "empty": b"", "too long": before + b"x"}[harm])
    after = Sessions("keyed", ScriptedClock()).key
    assert len(after) == 32
    assert after != before
    assert key_file().stat().st_mode & 0o777 == 0o600


def test_a_key_that_cannot_be_kept_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recoup").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(StateError) as caught:
        Sessions("keyed", ScriptedClock())
    assert str(tmp_path) in caught.value.message
    assert "XDG_STATE_HOME" in caught.value.hint


def test_what_is_kept_is_forgotten_with_its_stack() -> None:
    before = Sessions("keyed", ScriptedClock()).key
    _session_files.forget("keyed")
    assert not key_file().parent.exists()
    _session_files.forget("keyed")  # twice is no error
    assert Sessions("keyed", ScriptedClock()).key != before


def test_stacks_have_keys_of_their_own() -> None:
    assert Sessions("one", ScriptedClock()).key != Sessions("two", ScriptedClock()).key


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_secret_is_in_a_cookie_a_page_or_the_state(page: Access, operator: Visitor) -> None:
    operator.sign_in("operator", "a wrong password")
    seen = [operator.get("/sign-in").text, operator.cookies["recoup-shop"], operator.get("/static/style.css").text]
    seen += [file.read_bytes().decode("latin-1") for file in (state_folder() / "stacks").rglob("*") if file.is_file()]
    planted = [*PASSWORD.values(), hash_of("operator"), hash_of("operator").rpartition("$")[2], "a wrong password"]
    assert not [secret for secret in planted for text in seen if secret in text]
    assert BASE not in operator.cookies["recoup-shop"]
