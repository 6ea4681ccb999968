"""One file per system: what it trains (``fit``) and how it transfers (``transfer``)."""
