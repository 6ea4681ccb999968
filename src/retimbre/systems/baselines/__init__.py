"""Training-free systems: what a trained one must beat. A file each; they draw on recordings of the target."""
