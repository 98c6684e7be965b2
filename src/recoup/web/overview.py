"""The page that answers: is my stack safe?"""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from recoup.web._pages import page, site_of

router = APIRouter(tags=["overview"])


@router.get("/", name="overview")
def overview(request: Request) -> HTMLResponse:
    """How safe the stack is now."""
    site = site_of(request)
    with site.reading() as stack:
        report = stack.status()
    return page(request, "overview.html", report=report)
