"""One script per stage of ``dvc.yaml``, run as ``python -m stages.<name>``.

This checkout's own ``src/`` goes first on the path: a queued or temporary experiment runs from a
snapshot in another folder and must import that snapshot's code, never the workspace's or an
installed copy.
"""

import gc
import sys
from pathlib import Path

# Imports make a million objects that stay: to look for garbage among them every 700 costs a fifth of a start.
gc.set_threshold(10_000)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
