"""Which recorded exchanges the stand-in claims to serve, and why it does not serve the others.

Every exchange is in exactly one class; the conformance test demands it.
"""

SERVED = ""
"""The class of what is replayed and compared; every other class is a reason."""

_RACE = "whether it is there already depends on the moment"
_BROTLI = "Python has no brotli"
_S3 = "needs an object store behind the server"

CLASSES: dict[str, dict[tuple[int, int], str]] = {
    "single-node": {
        (0, 50): SERVED,
        (51, 51): _BROTLI,
        (52, 52): SERVED,
        (53, 53): _BROTLI,
        (54, 84): SERVED,
        (85, 85): _BROTLI,
        (86, 158): SERVED,
        (159, 159): _RACE,
        (160, 207): SERVED,
    },
    "auth": {(0, 290): SERVED},
    "custom-sharding": {(0, 51): SERVED},
    "damaged-snapshots": {(0, 81): SERVED},
    "disk-full": {(0, 9): SERVED},
    "cluster": {(0, 104): SERVED},
    "s3-snapshot-storage": {(0, 12): _S3},
}
"""By recording: first and last number of a stretch, and its class."""


def class_of(recording: str, number: int) -> str:
    """The class of an exchange.

    Raises:
        LookupError: it is in none, or in several.
    """
    found = [name for (first, last), name in CLASSES[recording].items() if first <= number <= last]
    if len(found) != 1:
        raise LookupError(f"{recording} {number} is in {len(found)} classes instead of one")
    return found[0]
