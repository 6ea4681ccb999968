"""Fit loops, losses, checkpoints and device set-up."""
