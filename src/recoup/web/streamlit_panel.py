"""The panel for Streamlit applications: backups made, watched, listed and proven on a page of theirs.

    from recoup.web.streamlit_panel import render

    render("recoup.yaml")

Work is done by processes of its own (`recoup.web.jobs`), which go on when the browser or the application ends. In the
application's process only the repository and the jobs' own files are read: never a database that the application has open, whose
locks that would take away. All calls of Streamlit are made by the run of the page itself: what a job does is looked at once a
second while it runs.

It is an extra: `pip install 'recoup[streamlit]'`.
"""

import os
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from recoup.errors import LockedError, RecoupError, UsageError
from recoup.model.figures import age, counted, duration
from recoup.model.secrets import Masker
from recoup.system.clock import SystemClock
from recoup.web import _panel_sets
from recoup.web._panel_opening import Panel, opened
from recoup.web._panel_text import literal
from recoup.web._panel_verdicts import Verdict, verdict
from recoup.web._told import Told, read_on
from recoup.web.jobs import Job

try:
    import streamlit as st
except ModuleNotFoundError as error:
    if error.name != "streamlit":
        raise
    raise UsageError(
        "the panel needs Streamlit, which is not installed here: pip install 'recoup[streamlit]'"
    ) from None

if TYPE_CHECKING:
    from recoup.app import Stack
    from recoup.model.reports import SetInfo

__all__ = ["render"]

_EVERY = 1.0  # seconds between two looks at a running job
_BARS = 8  # works that are shown at a time
_LINES = 8  # of what a job said, the newest ones
_PIECES = 16  # of what it said that are read at a time, of 1 MiB each: what is shown waits for no more


def render(
    stack: "Stack | str | os.PathLike[str]", *, sources: Sequence[str] | None = None, key: str | None = None
) -> None:
    """Draws the panel where it is called: buttons for a backup and a drill, progress, the result, the sets, their manifests.

    What goes wrong is shown in the panel, with what to do about it. Nothing is created that `recoup init` has to create.

    Args:
        stack: a stack, or the path of its configuration. Jobs, and the panel, open it anew by its files, overrides and repository
            with the environment of this process.
        sources: names of those that the button backs up; all that are configured by default.
        key: tells panels of one page apart; the stack's name by default.
    """
    mask = Masker()
    try:
        panel = opened(stack, SystemClock())
        mask = panel.stack.masker
        _draw(panel, f"recoup.{key or panel.stack.settings.stack}", sources)
    except (RecoupError, OSError) as error:
        st.error(_told(error, mask))


def _draw(panel: Panel, key: str, sources: Sequence[str] | None) -> None:
    for warning in panel.stack.warnings:
        st.warning(literal(warning))
    newest = panel.jobs.newest
    running = panel.jobs.running
    _buttons(panel, key, sources, newest, busy=running is not None)
    _show_fault(key)
    if running is not None:
        st.fragment(_follow, run_every=_EVERY)(panel, key, running.id)
    elif newest is not None:
        _show_end(panel, newest)
    _show_sets(panel, key)


# --- beginning and stopping jobs --------------------------------------------------------------------------------------


def _buttons(panel: Panel, key: str, sources: Sequence[str] | None, newest: Job | None, *, busy: bool) -> None:
    """Each button has the newest job in its key: what is pressed twice before the page is drawn anew is one press."""
    since = newest.id if newest else "none"
    chosen = () if sources is None else ("--source", ",".join(sources))
    left, right, _ = st.columns([1, 1, 2])
    wanted: tuple[tuple[str, tuple[str, ...], str], ...] = (
        ("Create backup now", ("backup", *chosen), "Takes one cut of the stack and stores it."),
        (
            "Drill now",
            ("drill",),
            "Restores the newest complete set into scratch, and compares it with what was backed up.",
        ),
    )
    for place, (label, arguments, help_text) in zip((left, right), wanted, strict=False):
        place.button(
            label,
            key=f"{key}.{arguments[0]}.{since}",
            help=help_text,
            type="primary" if arguments[0] == "backup" else "secondary",
            disabled=busy,
            on_click=_start,
            args=(panel, key, arguments, since),
        )


def _start(panel: Panel, key: str, arguments: Sequence[str], since: str) -> None:
    """Begins a job, unless this page has begun one since it was drawn."""
    if st.session_state.get(f"{key}.begun") == since:
        return
    if _done(panel, key, lambda: panel.jobs.start(arguments)):
        st.session_state[f"{key}.begun"] = since


def _stop(panel: Panel, key: str, job_id: str) -> None:
    _done(panel, key, lambda: panel.jobs.cancel(job_id))


def _done(panel: Panel, key: str, act: Callable[[], object]) -> bool:
    """Whether it could be done; what went wrong is shown when the page is drawn next."""
    try:
        act()
    except LockedError as error:
        st.session_state[f"{key}.fault"] = "info", f"A job runs already.\n\n{_told(error, panel.stack.masker)}"
    except (RecoupError, OSError) as error:
        st.session_state[f"{key}.fault"] = "error", _told(error, panel.stack.masker)
    else:
        return True
    return False


def _show_fault(key: str) -> None:
    """What went wrong when a button was pressed, once."""
    level, text = st.session_state.pop(f"{key}.fault", ("", ""))
    if text:
        (st.info if level == "info" else st.error)(text)


# --- a job ------------------------------------------------------------------------------------------------------------


def _follow(panel: Panel, key: str, job_id: str) -> None:
    """How far a running job is; when it has ended, the page is drawn anew."""
    job = panel.jobs.job(job_id)
    if job is None or job.state != "running":
        st.rerun()
    lasts = duration((panel.clock.now() - job.started).total_seconds())
    st.markdown(f"**Running for {literal(lasts)}:** {literal(_typed(job))}")
    slot = f"{key}.told.{job_id}"
    try:
        so_far = read_on(panel.jobs, job_id, st.session_state.get(slot, Told()), _PIECES)
    except OSError as error:
        st.error(_told(error, panel.stack.masker))
    else:
        st.session_state[slot] = so_far
        _show_progress(so_far, panel.stack.masker)
    st.button("Stop", key=f"{key}.stop.{job_id}", on_click=_stop, args=(panel, key, job_id))
    _show_fault(key)


def _show_progress(so_far: Told, mask: Masker) -> None:
    going = [(name, work) for name, work in so_far.works.items() if not work.finished]
    for name, work in going[:_BARS]:
        text = literal(mask(f"{name}: {work.amount}"))
        if work.share is None:
            st.markdown(text)
        else:
            st.progress(work.share, text)
    done, more = len(so_far.works) - len(going), len(going) - _BARS
    st.markdown(f"{counted(done, 'step')} done{f', {more} more under way' if more > 0 else ''}.")
    if so_far.lines:
        st.text(mask("\n".join(line.message for line in so_far.lines[-_LINES:])))


def _show_end(panel: Panel, job: Job) -> None:
    """What became of the newest job."""
    mask = panel.stack.masker
    try:
        found = verdict(job, panel.jobs.results(job.id))
    except (RecoupError, OSError) as error:
        found = Verdict("error", "What the job printed cannot be read.", (_sentence(error),))
    ended = "" if job.finished is None else f", {age((panel.clock.now() - job.finished).total_seconds())}"
    lines = [f"**{literal(mask(found.headline))}**", *(f"- {literal(mask(text))}" for text in found.sentences)]
    text = "\n".join([lines[0], "", *lines[1:]])
    {"success": st.success, "info": st.info, "warning": st.warning, "error": st.error}[found.level](text)
    st.markdown(f"Newest job: {literal(_typed(job))}{literal(ended)}")


def _typed(job: Job) -> str:
    return f"recoup {shlex.join(job.arguments)}"


# --- sets -------------------------------------------------------------------------------------------------------------


@st.fragment
def _show_sets(panel: Panel, key: str) -> None:
    """The list of sets, and one of them."""
    mask = panel.stack.masker
    st.subheader("Backup sets")
    try:
        infos = panel.sets()
    except (RecoupError, OSError) as error:
        st.error(_told(error, mask))
        return
    for line in [*panel.stack.unread, *_panel_sets.problems(infos)]:
        st.warning(literal(mask(line)))
    if not infos:
        st.info("There is no set yet.")
        return
    rows = _masked(_panel_sets.rows(infos, panel.clock.now()), mask)
    st.dataframe(rows, hide_index=True)
    if any("!" in row["Sources"] for row in rows):
        st.markdown("An exclamation mark stands behind sources that failed or are not whole.")
    _show_set(panel, key, infos)


def _masked(rows: list[_panel_sets.Row], mask: Masker) -> list[_panel_sets.Row]:
    return [{name: mask(text) for name, text in row.items()} for row in rows]


def _show_set(panel: Panel, key: str, infos: "Sequence[SetInfo]") -> None:
    """The set that is chosen, the newest at first."""
    several = panel.stack.has_several
    chosen = st.selectbox(
        "Set",
        range(len(infos)),
        format_func=lambda at: f"{infos[at].name} in {infos[at].repository}" if several else infos[at].name,
        key=f"{key}.set.{infos[0].name}.{len(infos)}",
    )
    info = infos[chosen or 0]
    if info.manifest is None:
        return  # which is said above the list
    st.dataframe(_masked(_panel_sets.parts(info.manifest), panel.stack.masker), hide_index=True)
    st.markdown(literal(panel.stack.masker(_panel_sets.origin(info.manifest))))
    for note in filter(None, (info.manifest.note, *info.standing.notes)):
        st.markdown(f"Note: {literal(panel.stack.masker(note))}")
    _offer_manifest(panel, key, info)


def _offer_manifest(panel: Panel, key: str, info: "SetInfo") -> None:
    try:
        found = panel.holder(info).manifest_file(info.name)
    except (RecoupError, OSError) as error:
        st.error(_told(error, panel.stack.masker))
        return
    st.download_button(
        "Download manifest" if found.as_stored else "Download manifest, decrypted",
        found.data,
        file_name=f"{found.set}.manifest{'' if found.as_stored else '.decrypted'}.json",
        mime="application/json",
        key=f"{key}.manifest.{info.repository}.{info.name}",
    )


# --- words ------------------------------------------------------------------------------------------------------------


def _told(error: RecoupError | OSError, mask: Masker) -> str:
    """An error as Markdown: what happened, and what to do."""
    hint = error.hint if isinstance(error, RecoupError) else "Check the disk and the permissions."
    return "\n\n".join(literal(mask(text)) for text in (_sentence(error), hint) if text)


def _sentence(error: RecoupError | OSError) -> str:
    if isinstance(error, RecoupError):
        return error.message[:1].upper() + error.message[1:]
    return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
