"""Where people have to sign in: who may what, as the browser has it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from browser.rig.looking import assert_accessible
from browser.rig.serving import Server, served
from browser.rig.stacks import Stack, copied
from browser.rig.windows import NARROW, Windows
from recoup.web._hashing import hashed

PASSWORDS = {"operator": "four large green lamps", "reader": "nine small grey stones"}

REFUSED = r"the server responded with a status of 40[13]"


@pytest.fixture(scope="module")
def closed(backed_up: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page that everybody has to sign in to."""
    stack = copied(backed_up, tmp_path_factory.mktemp("closed") / "stack")
    accounts = "".join(f"  {role}: {{password_hash: '{hashed(word)}'}}\n" for role, word in PASSWORDS.items())
    stack.config.write_text(f"{stack.config.read_text()}web:\n{accounts}")
    with served(stack) as server:
        yield server


def sign_in(page: Page, role: str, password: str = "") -> None:
    page.get_by_label("Name").select_option(role)
    page.get_by_label("Password or token").fill(password or PASSWORDS[role])
    page.get_by_role("button", name="Sign in").click()


def test_a_stranger_sees_the_form_alone_and_comes_to_what_was_asked_for(closed: Server, page: Page) -> None:
    page.goto(f"{closed.url}/sets")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert "backup_" not in page.content()
    assert_accessible(page)
    sign_in(page, "operator")
    expect(page).to_have_url(f"{closed.url}/sets")


def test_a_wrong_password_says_so_and_begins_no_session(closed: Server, windows: Windows) -> None:
    windows.expect(REFUSED)
    page = windows.open()
    page.goto(f"{closed.url}/sign-in")
    sign_in(page, "operator", "three large green lamps")
    expect(page.get_by_role("alert")).to_contain_text("do not fit")
    assert_accessible(page)
    page.goto(f"{closed.url}/sets")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(closed: Server, page: Page) -> None:
    page.goto(f"{closed.url}/")
    sign_in(page, "reader")
    page.wait_for_url(f"{closed.url}/")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.evaluate("document.cookie") == ""


def test_signing_out_ends_the_session_for_every_tab(closed: Server, page: Page) -> None:
    page.goto(f"{closed.url}/")
    sign_in(page, "operator")
    other = page.context.new_page()
    other.goto(f"{closed.url}/sets")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    other.reload()
    expect(other.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_reader_sees_all_and_is_offered_no_change(closed: Server, page: Page, windows: Windows) -> None:
    windows.expect(REFUSED)
    page.goto(f"{closed.url}/")
    sign_in(page, "reader")
    page.wait_for_url(f"{closed.url}/")
    expect(page.get_by_text("reader", exact=True)).to_be_visible()
    for name in ("Overview", "Sets", "Drills", "Jobs", "Settings"):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        expect(page.locator("main form[method=post]")).to_have_count(0)
    token = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    asked = page.request.post(f"{closed.url}/backup", form={"csrf": token}, headers={"Origin": closed.url})
    assert asked.status == 403


def test_a_session_lives_through_a_restart_of_the_server(closed: Server, page: Page, windows: Windows) -> None:
    windows.expect("ERR_CONNECTION_REFUSED")
    page.goto(f"{closed.url}/")
    sign_in(page, "operator")
    page.wait_for_url(f"{closed.url}/")
    closed.stop()
    closed.start()
    page.goto(f"{closed.url}/sets")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sets")


def test_signing_in_works_without_scripts_on_a_telephone(closed: Server, windows: Windows) -> None:
    page = windows.open(javascript=False, size=NARROW)
    page.goto(f"{closed.url}/settings")
    sign_in(page, "reader")
    expect(page.get_by_role("heading", level=1)).to_have_text("Settings")
    assert PASSWORDS["reader"] not in page.content()
