"""Published data sets: one short file of facts each. Nothing is fetched before files are asked for."""
