#!/usr/bin/env python3
"""Writes Tests/CMoruKernelsTests/Goldens/quants.json: blocks of every format with the values that the `gguf` package reads
from them, and rows of floats with the bytes it writes. All arrays are little-endian hex.

Needs the Python packages gguf and numpy. Run from the repository root: python scripts/goldens/quants.py
"""

import json
import pathlib

import numpy as np
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T

# Byte offsets of the 16-bit scales in a block: random bytes would make them infinite or NaN.
SCALES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
}
WRITABLE = [T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.F16, T.BF16]


def random_blocks(kind, count, generator):
    size = GGML_QUANT_SIZES[kind][1]
    blocks = generator.integers(0, 256, (count, size), dtype=np.uint8)
    for offset in SCALES[kind]:
        scale = generator.uniform(-0.1, 0.1, count).astype(np.float16)
        blocks[:, offset:offset + 2] = scale.view(np.uint8).reshape(count, 2)
    return blocks


def main():
    generator = np.random.default_rng(20240607)
    read = []
    for kind in SCALES:
        blocks = random_blocks(kind, 8 if GGML_QUANT_SIZES[kind][0] == 32 else 2, generator)
        values = quants.dequantize(blocks, kind).astype("<f4")
        read.append({"format": kind.name, "bytes": blocks.tobytes().hex(), "values": values.tobytes().hex()})
    rows = generator.normal(0, 1, (8, 32)).astype(np.float32)
    rows[0] = 0
    rows[1] = np.linspace(-1, 1, 32, dtype=np.float32)  # many values half-way between two levels
    rows[2] = 3.5
    rows[3] *= 1e-6
    rows[4] *= 1e4
    written = []
    for kind in WRITABLE:
        data = quants.quantize(rows, kind)
        written.append({"format": kind.name, "bytes": np.ascontiguousarray(data).tobytes().hex()})
    result = {"read": read, "written": {"values": rows.astype("<f4").tobytes().hex(), "formats": written}}
    target = pathlib.Path("Tests/CMoruKernelsTests/Goldens/quants.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
