"""A rate with its interval."""

from typing import Any

PER = 10_000


def rate(count: int, exposure: float) -> dict[str, Any]:
    """Per 10,000, with the exact 95 % Poisson interval (Garwood 1936); None without exposure: the rate is unknown."""
    from scipy.stats import chi2

    if exposure <= 0:
        return {"rate": None, "low": None, "high": None, "per": PER}
    low = float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0
    high = float(chi2.ppf(0.975, 2 * count + 2)) / 2
    scale = PER / exposure
    return {
        "rate": round(count * scale, 6),
        "low": round(low * scale, 6),
        "high": round(high * scale, 6),
        "per": PER,
    }
