"""The benchmarks are programs, not a package: their folder is put on the path, last."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))
