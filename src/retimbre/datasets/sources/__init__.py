"""Published data sets: one short file each, facts only. Nothing is fetched before a source is asked for its
files."""
