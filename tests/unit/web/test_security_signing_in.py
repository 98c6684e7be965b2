"""Signing in: who gets in, how often one may try, and where it leads."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from argon2 import PasswordHasher
from hypothesis import example, given
from hypothesis import strategies as st

from recoup.web._accounts import Accounts
from recoup.web._attempts import Attempts
from recoup.web._leading import own_path
from web_access import AFAR, PASSWORD, TOKEN, Access, ScriptedClock, Visitor, accounts


@pytest.fixture
def page(tmp_path: Path) -> Access:
    return Access(tmp_path, accounts("operator", "reader"))


@pytest.fixture
def visitor(page: Access) -> Iterator[Visitor]:
    with page.browser() as found:
        yield found


# --- who gets in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["operator", "reader"])
def test_the_right_password_begins_a_session_with_the_rights_of_its_role(visitor: Visitor, role: str) -> None:
    assert visitor.sign_in(role).headers["Location"] == "/"
    seen = visitor.get("/api/v1/probe").json()
    assert (seen["name"], seen["may_operate"]) == (role, role == "operator")
    assert visitor.change().status_code == (200 if role == "operator" else 403)


def test_a_browser_can_sign_in_by_a_token_too(visitor: Visitor) -> None:
    assert visitor.sign_in("reader", TOKEN["reader"]).status_code == 303
    assert visitor.get("/api/v1/probe").json()["name"] == "reader"


@pytest.mark.parametrize(
    ("role", "password"),
    [
        ("operator", ""),
        ("operator", "correct horse"),
        ("operator", PASSWORD["reader"]),
        ("operator", TOKEN["reader"]),
        ("reader", PASSWORD["operator"]),
        ("operator", PASSWORD["operator"] + " "),
        ("nobody", PASSWORD["operator"]),
        ("", PASSWORD["operator"]),
        ("operator\0", PASSWORD["operator"]),
        ("operator", "p" * 4096),
    ],
)
def test_anything_else_does_not(visitor: Visitor, role: str, password: str) -> None:
    refused = visitor.sign_in(role, password)
    assert refused.status_code == 401
    assert "do not fit together" in refused.text
    assert visitor.get("/api/v1/probe").status_code == 401


def test_a_page_with_tokens_alone_knows_no_password(tmp_path: Path) -> None:
    page = Access(tmp_path, f"  operator: {{token: {TOKEN['operator']}}}\n")
    with page.browser() as visitor:
        assert visitor.sign_in("operator", "").status_code == 401
        assert visitor.sign_in("reader", "").status_code == 401
        assert visitor.sign_in("operator", TOKEN["operator"]).status_code == 303


def test_a_wrong_name_takes_the_same_work_as_a_wrong_password(page: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    real = PasswordHasher.verify

    def counting(self: PasswordHasher, hashed: str, password: str) -> bool:
        compared.append(password)
        return real(self, hashed, password)

    monkeypatch.setattr(PasswordHasher, "verify", counting)
    known = Accounts.of(page.site.settings)
    assert not known.admits("operator", "wrong")
    assert not known.admits("nobody", PASSWORD["operator"])
    assert compared == ["wrong", PASSWORD["operator"]]


def test_a_session_that_begins_is_another_one_than_before(visitor: Visitor, page: Access) -> None:
    visitor.get("/sign-in")
    before = visitor.cookies["recoup-shop"]
    token = visitor.csrf()
    visitor.sign_in("operator")
    assert visitor.csrf() != token
    with page.browser() as other:
        other.cookies.set("recoup-shop", before, "127.0.0.1")
        assert other.get("/api/v1/probe").status_code == 401


def test_the_form_repeats_what_was_typed_as_text_and_never_a_password(visitor: Visitor) -> None:
    found = visitor.sign_in('"><script>alert(1)</script>', "hunter2hunter2", next='/"><script>')
    assert "<script>" not in found.text
    assert "hunter2hunter2" not in found.text


# --- how often --------------------------------------------------------------------------------------------------------


def test_who_tries_too_often_waits_longer_each_time_and_then_gets_in(page: Access, visitor: Visitor) -> None:
    for _ in range(5):
        assert visitor.sign_in("operator", "wrong").status_code == 401
    waits = []
    for _ in range(4):
        refused = visitor.sign_in("operator")  # right, and too early
        assert refused.status_code == 429
        assert "too many wrong tries" in refused.text
        waits.append(int(refused.headers["Retry-After"]))
        page.clock.go_on(waits[-1])
        assert visitor.sign_in("operator", "wrong").status_code == 401
    assert waits == [1, 2, 4, 8]
    page.clock.go_on(16)
    assert visitor.sign_in("operator").status_code == 303


def test_one_who_tries_too_often_keeps_nobody_else_out(page: Access, visitor: Visitor) -> None:
    for _ in range(6):
        visitor.sign_in("operator", "wrong")
    with page.browser(AFAR) as other:
        assert other.sign_in("operator").status_code == 303


def test_behind_a_proxy_of_this_machine_its_visitors_are_told_apart_by_the_last_hop(page: Access) -> None:
    for number in range(6):
        with page.browser(headers={"X-Forwarded-For": f"10.0.0.{number}, 198.51.100.7"}) as visitor:
            refused = visitor.sign_in("operator", "wrong")
    assert refused.status_code == 429
    with page.browser(headers={"X-Forwarded-For": "198.51.100.8"}) as visitor:
        assert visitor.sign_in("operator").status_code == 303


def test_a_peer_from_elsewhere_cannot_pass_for_many(page: Access) -> None:
    for number in range(6):
        with page.browser(AFAR, headers={"X-Forwarded-For": f"198.51.100.{number}"}) as visitor:
            refused = visitor.sign_in("operator", "wrong")
    assert refused.status_code == 429


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 5)), max_size=200))
def test_together_all_peers_get_few_tries_and_nobody_waits_longer_than_half_a_minute_for_others(
    steps: list[tuple[int, float]],
) -> None:
    clock = ScriptedClock()
    attempts = Attempts(clock)
    allowed = 0
    for peer, pause in steps:
        clock.go_on(pause)
        allowed += attempts.begin(f"192.0.2.{peer}") == 0
    assert attempts.begin("198.51.100.1") <= 30
    assert allowed <= 31 + clock.passed  # at most one a second after the first ones


def test_many_peers_at_once_are_slowed_down_together_and_right_tries_do_not_count() -> None:
    clock = ScriptedClock()
    attempts = Attempts(clock)
    for number in range(100):
        assert attempts.begin(f"192.0.2.{number}") == 0
        attempts.succeeded(f"192.0.2.{number}")
    waits = [attempts.begin(f"198.51.100.{number}") for number in range(32)]
    assert waits == [0] * 30 + [1, 1]
    for number in range(40):
        clock.go_on(30)
        assert attempts.begin(f"203.0.113.{number}") == 0  # half a minute is the longest
    assert attempts.begin("203.0.113.99") == 30
    clock.go_on(301)
    assert attempts.begin("203.0.113.100") == 0


def test_after_an_hour_of_peace_a_peer_begins_anew() -> None:
    clock = ScriptedClock()
    attempts = Attempts(clock)
    while attempts.begin("192.0.2.1") == 0:
        pass
    for _ in range(20):
        clock.go_on(901)
        assert attempts.begin("192.0.2.1") == 0
    assert attempts.begin("192.0.2.1") == 900
    clock.go_on(3601)
    assert [attempts.begin("192.0.2.1") for _ in range(5)] == [0] * 5


def test_tries_at_the_same_time_count_too() -> None:
    attempts = Attempts(ScriptedClock())
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(attempts.begin, ["192.0.2.1"] * 100))
    assert waits.count(0) == 5


def test_a_flood_of_addresses_takes_little_memory() -> None:
    clock = ScriptedClock()
    attempts = Attempts(clock)
    for number in range(5000):
        clock.go_on(60)
        attempts.begin(f"10.0.{number // 256}.{number % 256}")
    assert len(attempts._peers) <= 1024


# --- where it leads ---------------------------------------------------------------------------------------------------


def test_signing_in_leads_to_the_page_that_was_asked_for(visitor: Visitor) -> None:
    led = visitor.get("/sets?page=2").headers["Location"]
    assert 'name="next" value="/sets?page=2"' in visitor.get(led).text
    assert visitor.sign_in("operator", next="/sets?page=2").headers["Location"] == "/sets?page=2"
    assert visitor.get("/sign-in?next=/jobs").headers["Location"] == "/jobs"  # who is in already


HOSTILE = [
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/%09/evil.example",
    "javascript:alert(1)",
    " //evil.example",
    "/\n/evil.example",
    "/..//evil.example",
    "/%2e%2e/x",
    "",
    "sets",
    "/x y",
    "/ü",
    "http:/sets",
    "/.\\evil",
]


@pytest.mark.parametrize("wanted", HOSTILE)
def test_a_foreign_address_leads_to_the_first_page(visitor: Visitor, wanted: str) -> None:
    led = visitor.sign_in("operator", next=wanted).headers["Location"]
    assert led in ("/", wanted)
    assert urlsplit(urljoin("http://127.0.0.1:8642/sign-in", led)).netloc == "127.0.0.1:8642"


@given(st.text(alphabet="/\\.:%2e0959a@?#\t\n\r ;ev", max_size=24), st.sampled_from(["", "/recoup"]))
@example("//evil", "")
@example("/recoup//evil", "/recoup")
@example("/recoup/../evil", "/recoup")
@example("/recoupevil", "/recoup")
def test_no_address_leads_out_of_our_paths(wanted: str, prefix: str) -> None:
    led = own_path(wanted, prefix)
    seen = "".join(letter for letter in led if letter not in "\t\r\n").replace(
        "\\", "/"
    )  # as browsers read it (WHATWG URL, 4.4)
    found = urlsplit(urljoin(f"http://page.example{prefix}/sign-in", seen))
    assert (found.scheme, found.netloc) == ("http", "page.example")
    assert found.path.startswith(f"{prefix}/")
    assert ".." not in found.path.split("/")
