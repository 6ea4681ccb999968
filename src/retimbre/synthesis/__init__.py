"""Sound from noise: generative networks of single notes, one folder each behind one contract."""
