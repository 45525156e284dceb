"""Parameters and moments after a few steps of AdamW with moments in 8 bits, by the definition of dynamic block-wise
quantisation (Dettmers et al., 2021) in numpy: levels and the bounds between them are listed and searched.
Writes Tests/MoruNNTests/Goldens/optimizer_8bit.json."""
import json
import pathlib

import numpy as np

from deterministic import rounded, values

SHAPE, BLOCK, STEPS, SAMPLE = (70, 61), 256, 8, 41
RATE, BETA1, BETA2, EPSILON, DECAY = 0.02, 0.9, 0.98, 1e-8, 0.1


def levels(decades):
    """Each power of ten has twice as many parts as the one below; a level is the middle of its part. 0 is a level too."""
    bounds, middles = [], [0.0]
    for d in range(decades):
        edges = 10.0 ** (d - decades + 1) * np.linspace(0.1, 1, 2**d + 1)
        bounds += list(edges[:-1])
        middles += list((edges[:-1] + edges[1:]) / 2)
    return np.array(bounds), np.array(middles)


def rounding(x, decades, least):
    """Codes, scale and rounded values of a block of magnitudes."""
    bounds, middles = levels(decades)
    scale = x.max() / middles[-1]
    if x.max() == 0:
        return np.zeros(len(x), int), 0.0, x
    codes = np.maximum(1, np.searchsorted(bounds, x / scale, side="right"))
    codes[x / scale <= least] = 0
    return codes, scale, middles[codes] * scale


parameter = values("matrix", SHAPE, 2.0).astype(np.float64).ravel()
first, second = np.zeros(parameter.size), np.zeros(parameter.size)
for step in range(1, STEPS + 1):
    g = values(f"gradient.{step}", SHAPE, 2.0).astype(np.float64).ravel()
    # of very different sizes, from row to row and within a row
    g = g**3 * 10.0 ** -(np.arange(parameter.size) // SHAPE[1] % 5)
    first = BETA1 * first + (1 - BETA1) * g
    second = BETA2 * second + (1 - BETA2) * g * g
    move = first / (1 - BETA1**step) / (np.sqrt(second / (1 - BETA2**step)) + EPSILON)
    parameter = parameter - RATE * (move + DECAY * parameter)
    codes1, codes2, scales1, scales2 = [], [], [], []
    for begin in range(0, parameter.size, BLOCK):
        block = slice(begin, begin + BLOCK)
        codes, scale, near = rounding(np.abs(first[block]), 7, 0.275e-6)
        codes1 += list(codes + 128 * (first[block] < 0))
        scales1.append(scale)
        first[block] = np.sign(first[block]) * near
        codes, scale, near = rounding(second[block], 8, 0.0)
        codes2 += list(codes)
        scales2.append(scale)
        second[block] = near

result = {
    "steps": STEPS, "sample": SAMPLE, "parameter": rounded(parameter[::SAMPLE]),
    "first_codes": [int(code) for code in codes1[::SAMPLE]], "second_codes": [int(code) for code in codes2[::SAMPLE]],
    "first_scales": rounded(np.array(scales1)), "second_scales": [float(f"{scale:.6g}") for scale in scales2],
}
folder = pathlib.Path(__file__).resolve().parents[2] / "Tests/MoruNNTests/Goldens"
(folder / "optimizer_8bit.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
