"""Pictures in two widths, light and dark: of every page where RECOUP_SCREENSHOTS names a folder, else of the first ones."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from browser.rig.crawling import every_page
from browser.rig.serving import Server
from browser.rig.windows import NARROW, WIDE, Scheme, Size, Windows

_PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def pages(request: pytest.FixtureRequest) -> list[str]:
    if "RECOUP_SCREENSHOTS" in os.environ:
        return every_page(f"{request.getfixturevalue('storied').url}/")
    server: Server = request.getfixturevalue("server")
    return [f"{server.url}/{path}" for path in ("", "sets", "restore", "drills", "jobs", "settings")]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("RECOUP_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=lambda size: f"{size[0]}")
def test_each_page_is_pictured_light_and_dark(windows: Windows, pages: list[str], pictures: Path, size: Size) -> None:
    page = windows.open(size=size)
    named = [(f"{number:02}-{_name(url)}", url) for number, url in enumerate(pages, 1)]
    made = [_picture(page, url, pictures / name, scheme) for name, url in named for scheme in ("light", "dark")]
    assert all(path.read_bytes().startswith(_PNG) for path in made)


def _picture(page: Page, url: str, place: Path, scheme: Scheme) -> Path:
    """The whole page, however long."""
    size = page.viewport_size
    assert size is not None
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    if page.url != url:
        page.goto(url)
    path = place.with_name(f"{place.name}-{size['width']}-{scheme}.png")
    page.screenshot(path=path, full_page=True)
    return path


def _name(url: str) -> str:
    parts = urlsplit(url)
    return re.sub(r"[^a-z0-9]+", "-", f"{parts.path}-{parts.query}".lower()).strip("-")[:60] or "overview"
