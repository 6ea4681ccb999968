"""Small instruments, features, models and data sets that tests of several rooms share."""

from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the repository
