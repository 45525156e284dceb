"""PyTorch's bf16 products x W^T, as nn.Linear computes them. usage: torch_products.py THREADS SHAPE..., shapes MxNxK."""
import sys

import torch

from common import median, report, timed

torch.set_num_threads(int(sys.argv[1]))
torch.set_grad_enabled(False)
rates = {}
for shape in sys.argv[2:]:
    m, n, k = map(int, shape.split("x"))
    x, w = torch.randn(m, k).bfloat16(), torch.randn(n, k).bfloat16()

    def product():
        return torch.nn.functional.linear(x, w)

    timed(product, 3)
    operations = 2 * m * n * k / 1e9
    rates[shape] = operations / min(timed(product, 12))
report(products=rates)
