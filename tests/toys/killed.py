"""A training in a process of its own that kills itself."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.toys import ROOT


def run_until_killed(folder: Path, script: str, *words: str, cwd: Path | None = None) -> None:
    """Run a script that ends by SIGKILL; its checkpoints lie below ``folder``, with one thread."""
    (folder / "train.py").write_text(script)
    environment = {
        **os.environ,
        "DVC_ROOT": str(folder),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(folder / "train.py"), *words]
    killed = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
