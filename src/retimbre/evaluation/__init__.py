"""Test bench, results and report: how well systems transfer, beside what they must beat."""
