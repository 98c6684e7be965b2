"""Whose certificates are believed: the usual authorities, and those of a file."""

import os
import ssl
from pathlib import Path

from recoup.errors import SourceError

_HINT = "`ca_file` is to name a file of certificates (PEM), each from -----BEGIN CERTIFICATE----- to its END."


def authority_of(ca_file: Path | None, base: Path) -> Path | None:
    """The file of further authorities: as configured, else as the variable SSL_CERT_FILE names it.

    Args:
        ca_file: as configured; may be relative.
        base: what it is relative to.
    """
    named = os.environ.get("SSL_CERT_FILE")
    if ca_file is not None:
        return base / ca_file
    return Path(named) if named else None


def trusting(authority: Path | None) -> ssl.SSLContext:
    """What an HTTPS connection trusts.

    Raises:
        SourceError: the file cannot be read, or holds no certificate.
    """
    import httpx

    context = httpx.create_ssl_context(trust_env=False)
    if authority is not None:
        context.load_verify_locations(cadata=_text(authority))
    return context


def roots(authority: Path | None) -> bytes | None:
    """The same for gRPC, which takes one text of all authorities; None for the usual ones."""
    if authority is None:
        return None
    return "".join(map(ssl.DER_cert_to_PEM_cert, trusting(authority).get_ca_certs(binary_form=True))).encode()


def _text(authority: Path) -> str:
    try:
        text = authority.read_text(encoding="ascii")
        ssl.create_default_context().load_verify_locations(cadata=text)
    except (OSError, ssl.SSLError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "there is none in it"
        raise SourceError(f"the certificates in {authority} cannot be read: {why}", _HINT) from None
    return text
