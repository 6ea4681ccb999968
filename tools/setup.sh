#!/usr/bin/env bash
# Make .venv from the pinned requirements, or bring it up to date. `make setup` runs this when they changed.
# PYTHON names the interpreter to make it with (default: the first of python3, python3.13 ... that is new enough).
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if [ ! -x "$venv/bin/python" ]; then
  python=""
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if new_enough "$candidate"; then python=$candidate; break; fi
  done
  if [ -z "$python" ]; then
    echo "error: Retimbre needs Python 3.11 or newer (found: $(${PYTHON:-python3} --version 2>&1 || true)); name one with \`make setup PYTHON=/path/of/python3.11\`." >&2
    exit 1
  fi
  if ! "$python" -m venv "$venv"; then
    rm -rf "$venv"
    echo "error: $python cannot make a virtual environment: install its venv package (Debian: python3-venv)." >&2
    exit 1
  fi
fi
if ! new_enough "$venv/bin/python"; then
  echo "error: $venv has a Python older than 3.11: remove it (rm -r $venv) and run \`make setup\` again." >&2
  exit 1
fi

pip=("$venv/bin/python" -m pip --disable-pip-version-check)
packages=$(cat requirements.txt requirements-no-deps.txt | grep -vc '^#')
if compgen -G "$venv/lib/python*/site-packages/torch" >/dev/null; then
  echo "set-up: bringing $venv up to date with the $packages pinned packages; only what changed is downloaded"
else
  # `pip download --no-deps -r requirements.txt -d FOLDER` and `du` measure it again.
  echo "set-up: installing $packages pinned packages into $venv: about 0.65 GB to download, 2.5 GB on the disk."
  echo "set-up: where pip takes torch's CUDA build, as from PyPI, NVIDIA's libraries are several GB more."
fi
"${pip[@]}" --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null  # an interrupted set-up may lack pip
"${pip[@]}" install --quiet --no-compile -r requirements.txt
"${pip[@]}" install --quiet --no-compile --no-deps -r requirements-no-deps.txt
# pip compiles file after file on one core, tests too; this takes all cores. A file that does not compile is no fault of ours.
"$venv/bin/python" -m compileall -qq -j 0 -x '/tests?/' "$venv"/lib || true
# The command `retimbre`, and the package for notebooks. Stages put their own checkout's src first (stages/__init__.py).
# setuptools comes from the pins: an isolated build would fetch another one.
"${pip[@]}" install --quiet --no-deps --no-build-isolation -e .

# torchaudio is published as a CUDA build only: beside a CPU torch its compiled files make `import torchaudio` fail
# for want of CUDA's libraries. Without them it falls back to Python, which is all that we use.
"$venv/bin/python" - <<'PYTHON'
from importlib.util import find_spec
from pathlib import Path

import torch

spec = find_spec("torchaudio")
if torch.version.cuda is None and spec is not None:
    for library in (Path(spec.origin).parent / "lib").glob("*.so"):
        library.unlink()
PYTHON

# librosa compiles functions when these modules, which librosa.onset imports, are imported for the first time. Two processes
# that do so at once mix up Numba's cache, and whoever loads it then crashes, for good: so it is done here, once.
"$venv/bin/python" -c 'import librosa.onset'
