"""Merging of whole models: SLERP and TIES in plain numpy, straight from their papers, over tensors of a few numbers.

Writes Tests/MoruModelsTests/Goldens/merging.json.
"""
import json
import pathlib

import numpy as np

from deterministic import rounded, values


def slerp(a, b, t):
    """Shoemake, 1985, over each tensor as one vector; linear where the directions nearly agree."""
    cosine = np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b))
    if abs(cosine) >= 0.9995:
        return (1 - t) * a + t * b
    angle = np.arccos(cosine)
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


def ties(base, models, weights, density, scale):
    """Yadav et al., 2023: trim, elect signs, merge what agrees."""
    deltas = []
    for model in models:
        delta = model - base
        kept = int(density * delta.size)
        smallest = np.argsort(-np.abs(delta), axis=None, kind="stable")[kept:]
        delta = delta.copy()
        delta.reshape(-1)[smallest] = 0
        deltas.append(delta)
    deltas, weights = np.stack(deltas), np.array(weights).reshape(-1, *[1] * base.ndim)
    elected = np.sign((weights * deltas).sum(0))
    agrees = (np.sign(deltas) == elected) & (elected != 0)
    share = (weights * agrees).sum(0)
    mean = (weights * deltas * agrees).sum(0) / np.where(share > 0, share, 1)
    return base + scale * mean


def main():
    base, a, b, c = (values(name, (6, 7)).astype(np.float64) for name in ("base", "a", "b", "c"))
    near = a * 1.01 + 1e-4 * b
    result = {
        "slerp": [{"t": t, "near": other is near, "values": rounded(slerp(a, other, t))}
                  for t in (0.0, 0.3, 0.5, 1.0) for other in (b, near)],
        "ties": [{"density": density, "scale": scale, "weights": weights,
                  "values": rounded(ties(base, [a, b, c], weights, density, scale))}
                 for density, scale, weights in ((1.0, 1.0, [1, 1, 1]), (0.2, 1.0, [1, 1, 1]), (0.5, 0.7, [0.2, 0.5, 1]),
                                                 (0.03, 1.5, [1, 2, 3]))],
    }
    path = pathlib.Path(__file__).parents[2] / "Tests/MoruModelsTests/Goldens/merging.json"
    path.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
