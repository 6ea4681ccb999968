"""Speed of this project's parts beside what one would pick instead: ``python -m benchmarks``."""
