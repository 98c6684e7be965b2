"""Where to go after signing in: only to a page of ours, whatever an address says."""

from urllib.parse import unquote, urlsplit


def own_path(wanted: str, prefix: str) -> str:
    """The path to go on to: `wanted` when it is one of ours, else the first page.

    Args:
        wanted: path and query as an address gave them: hostile.
        prefix: of our paths, without a slash at its end; empty for none.
    """
    return wanted if _is_own(wanted, prefix) else f"{prefix}/"


def _is_own(wanted: str, prefix: str) -> bool:
    if not wanted.isascii() or not wanted.isprintable() or " " in wanted or "\\" in wanted or len(wanted) > 2000:
        return False  # browsers take a backslash for a slash, and leave out tabs and line ends
    if not wanted.startswith(f"{prefix}/") or wanted.startswith("//"):
        return False
    path = urlsplit(wanted).path
    steps = unquote(path).replace("\\", "/").split("/")
    return path.startswith(f"{prefix}/") and "//" not in path and not {".", ".."} & set(steps)
