"""One SeaweedFS process with its S3 interface on a loopback port; boto3 looks at it from outside."""

import contextlib
import errno
import functools
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from s3_server.buckets import Account, Bucket

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ACCOUNT = Account("full-access-key", "full-secret-key-of-the-tests")
"""Of the identity that may do everything; the secret is looked for in everything that is written."""

REGION = "us-east-1"
"""What the server calls itself; it takes any."""

_PATIENCE = 60.0  # seconds that a start may take on a loaded machine
_PORTS = range(15000, 22000)  # below those that systems hand out to clients, also when 10,000 is added
_GRPC_OF_ADMIN = 10_000  # where SeaweedFS' own worker looks for it, whatever is set
_NUMBERS = itertools.count(1)

_ENDING_WITH_PARENT = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
"""PR_SET_PDEATHSIG (prctl(2)): a server never outlives the tests, not even those that are killed."""


def program() -> Path:
    """The program `weed` that the package brings."""
    return Path(sysconfig.get_path("scripts")) / "weed"


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def _free_ports(count: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        port = random.choice(_PORTS)
        if _is_free(port) and _is_free(port + _GRPC_OF_ADMIN):
            found.add(port)
    return list(found)


def _remove_left_sockets() -> None:
    """Removes what killed servers left where the program has its sockets, whatever it is told: nobody answers there."""
    for path in Path("/tmp").glob("seaweedfs-*.sock"):
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(FileNotFoundError):
            if probe.connect_ex(str(path)) == errno.ECONNREFUSED:
                path.unlink(missing_ok=True)


class S3Server:
    """A running server.

    Args:
        folder: where its files go.
    """

    account = ACCOUNT
    region = REGION

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        s3, filer, master, volume, admin, *grpc = _free_ports(9)
        self._ports = {
            "s3.port": s3,
            "filer.port": filer,
            "master.port": master,
            "volume.port": volume,
            "admin.port": admin,
            **{f"{part}.port.grpc": port for part, port in zip(("s3", "filer", "master", "volume"), grpc, strict=True)},
            "admin.port.grpc": admin + _GRPC_OF_ADMIN,
        }
        self.port = s3
        self.url = f"http://127.0.0.1:{s3}"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: S3Client | None = None

    # --- the process ------------------------------------------------------------------------------------------------

    def _command(self) -> Sequence[str]:
        settings: dict[str, object] = {
            "dir": self.folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "webdav": "false",
            "admin.ui": "false",
            "master.telemetry": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.autoCreateBucket": "false",
            "s3.iam.readOnly": "false",
            "s3.config": self.folder / "identities.json",
            "s3.localSocket": self.folder / "s3.sock",
            "filer.localSocket": self.folder / "filer.sock",
            "volume.max": 2000,
            "master.volumeSizeLimitMB": 256,
            **self._ports,
        }
        ending = [sys.executable, "-I", "-S", "-c", _ENDING_WITH_PARENT, str(os.getpid())]
        return [*ending, str(program()), "mini", *(f"-{key}={value}" for key, value in settings.items())]

    def _environment(self) -> Mapping[str, str]:
        """Nothing of the caller's (an AWS key there would become an identity); one volume per bucket.

        Memory has a bound, wide enough: near a narrow one the program collects garbage all the time, also when nobody asks.
        """
        return {
            "PATH": os.defpath,
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "GOGC": "200",
            "GOMEMLIMIT": "768MiB",
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
        }

    def _write_identities(self) -> None:
        identity = {
            "name": "full",
            "credentials": [{"accessKey": ACCOUNT.access_key, "secretKey": ACCOUNT.secret_key}],
            "actions": ["Admin"],
        }
        keys = {"default_provider": "local", "providers": {"local": {"type": "local", "enableOnDemandCreate": True}}}
        configured = {"identities": [identity], "kms": keys}
        (self.folder / "identities.json").write_text(json.dumps(configured))

    def start(self) -> None:
        """Starts it, again on the same files and ports, and waits until it answers.

        Raises:
            RuntimeError: it ended, or does not come up; its last words are in the message.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_identities()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        latest = time.monotonic() + _PATIENCE
        while not self._answers():
            ended = self._process.poll() is not None
            if ended or time.monotonic() > latest:
                raise RuntimeError(f"the S3 server {'ended' if ended else 'does not answer'}:\n{self.log()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        try:
            self.client.list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    def kill(self) -> None:
        """Ends it at once, as a power cut does; `start` brings it back. In order it would take seconds to go."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        _remove_left_sockets()

    def close(self) -> None:
        """Ends it and removes its files."""
        self.kill()
        if self._client is not None:
            self._client.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """The end of what it said."""
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    # --- as an independent client sees it ---------------------------------------------------------------------------

    @property
    def client(self) -> "S3Client":
        """boto3 with all rights."""
        if self._client is None:
            self._client = self.client_of(ACCOUNT)
        return self._client

    def client_of(self, account: Account, url: str = "") -> "S3Client":
        """boto3 with an account's rights; to be closed.

        Args:
            account: who asks.
            url: of something between; empty: the server itself.
        """
        client: S3Client = _boto("s3", url or self.url, account)
        return client

    def bucket(self, *, locks: bool = False, versions: bool = False) -> Bucket:
        """Makes an empty bucket.

        Args:
            locks: with object lock, and so with versions.
            versions: with versioning.
        """
        name = f"bucket-{os.getpid()}-{next(_NUMBERS)}"
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locks)
        if versions:
            self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return Bucket(self.client, name, self.url, ACCOUNT)

    def account_with(self, policy: Mapping[str, object]) -> Account:
        """Makes an account that may do what a policy in the language of AWS' IAM allows, and nothing else.

        The server keeps to actions, resources, denials and the condition `s3:prefix`.
        """
        iam, name = _boto("iam", self.url, ACCOUNT), f"account-{next(_NUMBERS)}"
        with contextlib.closing(iam):
            iam.create_user(UserName=name)
            made = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(policy))
            iam.attach_user_policy(UserName=name, PolicyArn=made["Policy"]["Arn"])
            key = iam.create_access_key(UserName=name)["AccessKey"]
        return Account(key["AccessKeyId"], key["SecretAccessKey"])


@functools.cache
def _session() -> boto3.Session:
    """One for all clients: it reads what it knows of the services from large files."""
    return boto3.Session(region_name=REGION)


def _boto(service: str, url: str, account: Account) -> Any:
    return _session().client(  # type: ignore[call-overload]
        service,
        endpoint_url=url,
        aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def start(folder: Path) -> S3Server:
    """Starts a server.

    Args:
        folder: where its files may go, in a folder of their own.

    Raises:
        RuntimeError: it does not come up.
    """
    for attempt in range(3):
        server = S3Server(folder / str(attempt))
        try:
            server.start()
        except RuntimeError:  # somebody took a port in between
            server.close()
            if attempt == 2:
                raise
        else:
            return server
    raise AssertionError("unreachable")
