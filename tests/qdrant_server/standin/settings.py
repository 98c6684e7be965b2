"""What a stand-in is told at its start."""

from dataclasses import dataclass
from pathlib import Path

VERSION = "1.18.3"
COMMIT = "db8fa43fcb6aedec1e739487e17a99731b74590a"


@dataclass(frozen=True)
class Settings:
    """The settings of one node; all but `folder` may come from `--config`.

    Attributes:
        folder: where `storage` and `snapshots` are.
        url: base URL of its HTTP interface.
        api_key: key that may do everything; empty: none is demanded.
        read_only_api_key: key that may only read.
        jwt_rbac: whether tokens signed with `api_key` are taken.
        peers: URLs of all nodes of the cluster, this one included; empty: the node runs alone.
        max_request: seconds after which a proxy in front answers 504; 0: there is no proxy.
        snapshot_storage: `local`, or `s3`: no checksums, no ranges, shard snapshots in the collection's list.
        version: what `GET /` says.
        enable_snapshot_url_recovery: whether snapshots may be recovered from a URL.
        ends_with_parent: whether it ends when the process that started it is gone.
        grpc_when_asked: whether gRPC is served only after `POST /grpc` at the admin port: its modules take seconds to import.
    """

    folder: Path
    url: str = ""
    api_key: str = ""
    read_only_api_key: str = ""
    jwt_rbac: bool = False
    peers: tuple[str, ...] = ()
    max_request: float = 0
    snapshot_storage: str = "local"
    version: str = VERSION
    enable_snapshot_url_recovery: bool = True
    ends_with_parent: bool = False
    grpc_when_asked: bool = False

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    @property
    def snapshots(self) -> Path:
        return self.folder / "snapshots"
