"""Values and gradients of every differentiable operation, by PyTorch. Writes Tests/MoruTensorTests/Goldens/operations.json."""
import json
import math
import pathlib

import torch
import torch.nn.functional as F

from deterministic import rounded, values

result = {}


def case(name, shapes, function):
    """Runs a function at deterministic inputs `name.0`, `name.1`...; the loss weighs the output by `name.weights`."""
    inputs = [torch.from_numpy(values(f"{name}.{i}", shape, 2.0)).requires_grad_() for i, shape in enumerate(shapes)]
    output = function(*inputs)
    weights = torch.from_numpy(values(f"{name}.weights", tuple(output.shape), 2.0))
    (output * weights).sum().backward()
    result[name] = {"shapes": [list(s) for s in shapes], "output": rounded(output),
                    "gradients": [rounded(x.grad) for x in inputs]}


def rotate(x, positions, base=10000.0):
    dim = x.shape[-1]
    inverse = 1.0 / (base ** (torch.arange(0, dim, 2).float() / dim))
    angles = positions[:, None].float() * inverse[None]
    cos, sin = torch.cat([angles.cos()] * 2, -1)[:, None], torch.cat([angles.sin()] * 2, -1)[:, None]
    half = torch.cat([-x[..., dim // 2:], x[..., :dim // 2]], -1)
    return x * cos + half * sin


def capped(x, cap):
    return cap * torch.tanh(x / cap)


def attend(q, k, v, segments, window=None, softcap=None, causal=True):
    out = []
    for begin, end in segments:
        n, group = end - begin, q.shape[1] // k.shape[1]
        qs = q[begin:end].transpose(0, 1)
        ks = k[begin:end].transpose(0, 1).repeat_interleave(group, 0)
        vs = v[begin:end].transpose(0, 1).repeat_interleave(group, 0)
        i, j = torch.arange(n)[:, None], torch.arange(n)[None]
        mask = ((j <= i) | (not causal)) & ((i - j < window) if window else True)
        scores = qs @ ks.transpose(1, 2) / math.sqrt(q.shape[2])
        scores = capped(scores, softcap) if softcap else scores
        out.append((scores.masked_fill(~mask, -math.inf).softmax(-1) @ vs).transpose(0, 1))
    return torch.cat(out)


case("add", [(3, 5), (3, 5)], lambda a, b: a + b)
case("subtract", [(3, 5), (3, 5)], lambda a, b: a - b)
case("multiply", [(3, 5), (3, 5)], lambda a, b: a * b)
case("scale", [(3, 5)], lambda a: a * 1.7)
case("addRow", [(3, 5), (5,)], lambda a, b: a + b)
case("mean", [(3, 5)], lambda a: a.mean())
case("silu", [(3, 19)], F.silu)
case("gelu", [(3, 19)], F.gelu)
case("geluTanh", [(3, 19)], lambda x: F.gelu(x, approximate="tanh"))
case("softcapped", [(3, 19)], lambda x: capped(x, 0.7))
case("geglu", [(3, 19), (3, 19)], lambda g, u: F.gelu(g) * u)
case("gegluTanh", [(3, 19), (3, 19)], lambda g, u: F.gelu(g, approximate="tanh") * u)
case("relu", [(3, 19)], F.relu)
case("tanh", [(3, 19)], torch.tanh)
case("binaryCrossEntropy", [(2, 3)], lambda a: F.binary_cross_entropy_with_logits(
    6 * a, torch.tensor([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0]]), reduction="sum"))
case("swiglu", [(3, 19), (3, 19)], lambda g, u: F.silu(g) * u)
case("matmul", [(5, 7), (7, 9)], lambda a, b: a @ b)
case("linear", [(11, 7), (9, 7)], lambda x, w: x @ w.T)
case("linearAdding", [(11, 7), (9, 7), (11, 9)], lambda x, w, y: 1.5 * (x @ w.T) + y)
case("rmsNorm", [(4, 24), (24,)], lambda x, w: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * w)
case("layerNorm", [(4, 24), (24,), (24,)], lambda x, w, b: F.layer_norm(x, (24,), w, b, 1e-5))
case("softmax", [(4, 13)], lambda x: x.softmax(-1))
case("crossEntropy", [(4, 13)], lambda x: F.cross_entropy(x, torch.tensor([3, -100, 12, 0])))
case("linearCrossEntropy", [(4, 6), (13, 6)],
     lambda x, w: F.cross_entropy(x @ w.T, torch.tensor([3, -100, 12, 0]), reduction="sum"))
case("linearCrossEntropyCapped", [(4, 6), (13, 6)],
     lambda x, w: F.cross_entropy(capped(1.5 * (x @ w.T), 2), torch.tensor([3, -100, 12, 0]), reduction="sum"))
case("logits", [(4, 6), (13, 6)], lambda x, w: capped(1.5 * (x @ w.T), 2))
case("embedding", [(6, 5)], lambda t: t[torch.tensor([2, 0, 2, 5])])
case("gatheringRows", [(6, 5)], lambda t: t[torch.tensor([4, 1, 4])])
case("rows", [(6, 5)], lambda t: t[1:4])
case("transposed", [(6, 5)], lambda t: t.T)
case("concatenated", [(2, 5), (3, 5)], lambda a, b: torch.cat([a, b]))
case("rope", [(5, 2, 8)], lambda x: rotate(x, torch.tensor([0, 1, 2, 7, 100])))
SEGMENTS = [(0, 5), (5, 6), (6, 13)]
case("attention", [(13, 4, 8), (13, 2, 8), (13, 2, 8)], lambda q, k, v: attend(q, k, v, SEGMENTS))
case("attentionWindow", [(13, 4, 8), (13, 2, 8), (13, 2, 8)], lambda q, k, v: attend(q, k, v, SEGMENTS, 3))
case("attentionCapped", [(13, 4, 8), (13, 2, 8), (13, 2, 8)],
     lambda q, k, v: attend(q, k, v, SEGMENTS, softcap=0.5))
case("attentionBothWays", [(13, 4, 8), (13, 2, 8), (13, 2, 8)], lambda q, k, v: attend(q, k, v, SEGMENTS, causal=False))
case("segmentMeans", [(13, 6)], lambda x: torch.stack([x[b:e].mean(0) for b, e in SEGMENTS]))
case("segmentMaxima", [(13, 6)], lambda x: torch.stack([x[b:e].max(0).values for b, e in SEGMENTS]))

optimizer_case = torch.nn.Parameter(torch.from_numpy(values("adamw.parameter", (3, 7), 2.0)))
optimizer = torch.optim.AdamW([optimizer_case], lr=0.05, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
steps = []
for step in range(3):
    optimizer_case.grad = torch.from_numpy(values(f"adamw.gradient.{step}", (3, 7), 2.0))
    optimizer.step()
    steps.append(rounded(optimizer_case))
result["adamw"] = {"steps": steps}

target = pathlib.Path(__file__).parents[2] / "Tests/MoruTensorTests/Goldens/operations.json"
target.write_text(json.dumps(result))
print(target, target.stat().st_size)
