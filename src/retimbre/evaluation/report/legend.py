"""Numbers and names as people read them."""

import math


def number(value: float, digits: int = 3) -> str:
    """About three significant digits, no exponent, at most four decimals: 0.853, 12.3, 1240."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    rounded = float(f"{value:.{digits - 1}e}")  # 0.9999 is 1.00, not 1.000
    decimals = min(4, max(0, digits - 1 - math.floor(math.log10(abs(rounded)))))
    text = f"{value:.{decimals}f}"
    return "0" if float(text) == 0 else text.replace("-", "−")


def spoken(name: str) -> str:
    """``piano_to_guitar`` as people write it: ``piano → guitar``; other names without underscores."""
    return name.replace("_to_", " → ").replace("_", " ")
