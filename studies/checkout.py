"""Checkouts of the repository in which studies run the pipeline with other params."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def checked_out(folder: Path, profile: str) -> Path:
    """A checkout of ``HEAD`` with a profile laid over its params; what DVC made in ``folder`` stays."""
    if not folder.is_dir():
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    git = ["git", "-C", folder]
    subprocess.run([*git, "fetch", "--quiet", ROOT, "HEAD"], check=True)
    subprocess.run([*git, "reset", "--quiet", "--hard", "FETCH_HEAD"], check=True)
    subprocess.run([sys.executable, "tools/profile.py", profile], cwd=folder, check=True)
    return folder
