"""Where recordings come from, how they are packed on disk, and how training reads them."""
