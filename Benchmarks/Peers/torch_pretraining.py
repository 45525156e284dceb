"""Training steps of a Llama-style model from random weights in PyTorch: bf16 autocast, AdamW.
usage: torch_pretraining.py THREADS small|big eager|compiled STEPS; the sizes are those of TrainingBenchmark."""
import math
import sys

import torch
from torch import nn
from torch.nn import functional as F

from common import median, report, timed

SIZES = {
    "small": dict(vocabulary=4096, dim=256, layers=8, heads=8, inner=704, context=256, batch=16),
    "big": dict(vocabulary=32768, dim=768, layers=12, heads=12, inner=2048, context=512, batch=4),
}
threads, size, mode, steps = int(sys.argv[1]), SIZES[sys.argv[2]], sys.argv[3], int(sys.argv[4])
torch.set_num_threads(threads)
torch.manual_seed(0)
dim, heads = size["dim"], size["heads"]
head_dim = dim // heads


class Rotary(nn.Module):
    def __init__(self):
        super().__init__()
        frequencies = 10000.0 ** (-torch.arange(0, head_dim, 2).float() / head_dim)
        angles = torch.arange(size["context"]).float()[:, None] * frequencies
        self.register_buffer("cosine", torch.cat([angles.cos(), angles.cos()], dim=-1))
        self.register_buffer("sine", torch.cat([angles.sin(), angles.sin()], dim=-1))

    def forward(self, x):
        first, second = x.chunk(2, dim=-1)
        turned = torch.cat([-second, first], dim=-1)
        return x * self.cosine.to(x.dtype) + turned * self.sine.to(x.dtype)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm = nn.RMSNorm(dim, eps=1e-5)
        self.ffn_norm = nn.RMSNorm(dim, eps=1e-5)
        self.query, self.key, self.value, self.output = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        self.gate = nn.Linear(dim, size["inner"], bias=False)
        self.up = nn.Linear(dim, size["inner"], bias=False)
        self.down = nn.Linear(size["inner"], dim, bias=False)
        self.rotary = Rotary()

    def forward(self, x):
        batch, length, _ = x.shape
        h = self.attention_norm(x)
        q, k, v = (
            layer(h).view(batch, length, heads, head_dim).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(self.rotary(q), self.rotary(k), v, is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).reshape(batch, length, dim))
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(size["vocabulary"], dim)
        self.blocks = nn.ModuleList(Block() for _ in range(size["layers"]))
        self.norm = nn.RMSNorm(dim, eps=1e-5)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.embedding.weight)
        return F.cross_entropy(logits.view(-1, size["vocabulary"]).float(), targets.reshape(-1))


model = Model()
forward = torch.compile(model) if mode == "compiled" else model
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
losses = []


def step():
    tokens = torch.randint(0, size["vocabulary"], (size["batch"], size["context"] + 1))
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = forward(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
    loss.backward()
    optimizer.step()
    losses.append(loss.item())


timed(step, 2)
seconds = timed(step, steps)
assert abs(losses[0] - math.log(size["vocabulary"])) < 0.5, f"the first loss is {losses[0]}"
report(tokens_per_second=size["batch"] * size["context"] / median(seconds), losses=losses)
