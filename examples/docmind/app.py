"""The assistant's pages: what it knows, and its settings with its backups.

Usage: streamlit run app.py     (in this folder, which has Streamlit's settings, too)
"""

from pathlib import Path

import duckdb
import streamlit as st

import recoup
from recoup.web.streamlit_panel import render

ROOT = Path(__file__).resolve().parent
CACHE = ROOT / "cache/docmind.duckdb"
ALWAYS = ["cache", "storage", "env"]
ON_REQUEST = ["uploads", "analytics", "logs"]


def main() -> None:
    """Shows the page that is chosen."""
    st.set_page_config(page_title="DocMind")
    if not CACHE.exists():
        st.info("There is no data yet. Make some: `python make_data.py`")
        st.stop()
    st.navigation([st.Page(documents, title="Documents"), st.Page(settings, title="Settings")]).run()


@st.cache_resource
def cache() -> duckdb.DuckDBPyConnection:
    """The ingestion cache. It is open, and locked for others, as long as the application runs, backups included."""
    return duckdb.connect(str(CACHE))


def documents() -> None:
    """What was ingested."""
    st.title("Documents")
    with cache().cursor() as cursor:
        topics = cursor.execute(
            "SELECT topic, count(DISTINCT document), count(*) FROM chunks GROUP BY topic ORDER BY topic"
        ).fetchall()
    left, right = st.columns(2)
    left.metric("Documents", sum(topic[1] for topic in topics))
    right.metric("Passages", sum(topic[2] for topic in topics))
    st.dataframe(
        [{"Topic": name, "Documents": found, "Passages": passages} for name, found, passages in topics],
        hide_index=True,
    )


def settings() -> None:
    """Settings: the backups."""
    st.title("Settings")
    st.header("Backups")
    stack = recoup.open(ROOT / "recoup.yaml")
    also = st.multiselect("Also back up", ON_REQUEST)
    vectors = ["vectors"] if has_vectors() else []
    if not vectors:
        st.warning("Qdrant does not answer: backups are without the vectors.")
    render(stack, sources=[*ALWAYS, *vectors, *also])


@st.cache_data(ttl=10, show_spinner=False)
def has_vectors() -> bool:
    """Whether Qdrant answers; asked again after ten seconds."""
    return recoup.open(ROOT / "recoup.yaml").present("vectors")


main()
