"""Distances of spectra and of sets of vectors that both trainings and metrics are made of."""

import numpy as np


def log_spectral_distance(output_db: np.ndarray, true_db: np.ndarray) -> float:
    """Root mean square over bins per frame, mean over frames, in dB; spectra (F, T), clipped to one range
    before (Gray and Markel 1976).
    """
    difference = output_db.astype(np.float64) - true_db
    return float(np.sqrt((difference**2).mean(axis=0)).mean())


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """|m_x - m_y|² + tr(S_x + S_y - 2 (S_x S_y)^½) of normal distributions fitted to rows (n, d) and (m, d).

    Two rows at least each. Dowson and Landau 1982; as FID, Heusel et al. 2017.
    """
    s_x, s_y = (np.cov(v, rowvar=False).reshape(v.shape[1], v.shape[1]) for v in (x, y))
    root = np.sqrt(np.linalg.eigvals(s_x @ s_y).astype(complex)).real.sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s_x) + np.trace(s_y) - 2 * root)
