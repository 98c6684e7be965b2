"""Passwords of the page: hashed by argon2, and compared."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from recoup.errors import UsageError

SHORTEST, LONGEST = 8, 1024
"""Characters of a password. NIST SP 800-63B asks for eight at least."""

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""19 MiB and two passes: what OWASP's Password Storage Cheat Sheet asks of argon2id at least, so that two people who sign in at
once take no memory from a backup."""


def hashed(password: str) -> str:
    """What `password_hash` in the configuration takes.

    Args:
        password: in the clear.

    Raises:
        UsageError: it is too short to be safe, or longer than the page takes.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise UsageError(
            f"the password has {len(password)} characters",
            f"Choose one of {SHORTEST} to {LONGEST}; four random words do.",
        )
    return _HASHER.hash(password)


def fits(password_hash: str, password: str) -> bool:
    """Whether a password is the one that was hashed. Takes some hundredths of a second, on purpose.

    Args:
        password_hash: from the configuration.
        password: what somebody typed.
    """
    try:
        return _HASHER.verify(password_hash, password[:LONGEST]) and len(password) <= LONGEST
    except VerifyMismatchError:
        return False
    except (InvalidHashError, VerificationError):
        return False  # a hash that only looks like one lets nobody in
