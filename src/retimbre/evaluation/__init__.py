"""Metrics (pure functions), judges, tables, figures and the report."""
