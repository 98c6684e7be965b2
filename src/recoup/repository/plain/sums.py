"""Lines of SHA256SUMS, exactly as `sha256sum` writes and checks them."""


def line(sha256: str, path: str) -> bytes:
    """One line: digest, two spaces, path; backslash, newline and carriage return are escaped as GNU coreutils does."""
    name = path.encode("utf-8", "surrogateescape")
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    prefix = b"\\" if escaped != name else b""
    return prefix + sha256.encode() + b"  " + escaped + b"\n"
