"""The demo in a third of its time."""

FEWER = (
    "import sys; from recoup.__main__ import main; from recoup.demo import documents; every = documents._modules;"
    "documents._modules = lambda root: [path for path in every(root) if path.name[0] in 'bgtz']; main()"
)
"""The command with a part of its documents: reading and embedding all of them takes most of its time."""
