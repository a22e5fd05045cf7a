"""Processes that hold different models."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WORKER = """
import sys
from pathlib import Path
from torch import nn
from kgneg.core import distributed
from kgneg.core.errors import InvalidInputError

with distributed.process_group(timeout=60):
    rank = distributed.rank()
    try:
        distributed.broadcast_parameters(nn.Linear(2, 2 + rank))
    except InvalidInputError as error:
        (Path(sys.argv[1]) / str(rank)).write_text(str(error))
"""


def test_every_process_hears_of_a_difference(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(script), str(tmp_path)], timeout=120, env=environment, check=True)
    for rank in range(2):
        message = (tmp_path / str(rank)).read_text()
        assert f"process {rank} has 2 tensors, the first of shape ({2 + rank}, 2)" in message
