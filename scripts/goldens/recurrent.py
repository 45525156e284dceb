"""Logits, losses and gradients of tiny recurrent language models, by PyTorch's nn.LSTM and nn.GRU. Writes
Tests/MoruModelsTests/Goldens/recurrent.json."""
import json
import pathlib

import torch
import torch.nn.functional as F

from deterministic import fill, rounded

VARIANTS = {
    "lstm": dict(cell="lstm", num_hidden_layers=2, tie_word_embeddings=True),
    "gru": dict(cell="gru", num_hidden_layers=2, tie_word_embeddings=False),
}
TOKENS = [(7 * i * i + 3 * i + 1) % 64 for i in range(24)]
ROWS = [0, 7, 15, 23]


class Model(torch.nn.Module):
    def __init__(self, cell, vocab_size, hidden_size, num_hidden_layers, tie_word_embeddings, **_):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocab_size, hidden_size)
        layers = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
        self.recurrent = layers(hidden_size, hidden_size, num_hidden_layers, batch_first=True)
        if not tie_word_embeddings:
            self.output = torch.nn.Linear(hidden_size, vocab_size, bias=False)

    def forward(self, tokens):
        hidden, _ = self.recurrent(self.embedding(tokens))
        return F.linear(hidden, self.output.weight if hasattr(self, "output") else self.embedding.weight)


result = {"tokens": TOKENS, "rows": ROWS, "models": {}}
for name, options in VARIANTS.items():
    config = dict(model_type="moru_recurrent", vocab_size=64, hidden_size=20, max_position_embeddings=64, **options)
    model = Model(**config)
    fill(model)
    logits = model(torch.tensor([TOKENS]))[0]
    loss = F.cross_entropy(logits[:-1], torch.tensor(TOKENS[1:]))
    loss.backward()
    result["models"][name] = {
        "config": config, "logits": [rounded(logits[row]) for row in ROWS], "loss": float(loss.detach()),
        "gradients": {key: {"norm": float(p.grad.norm()), "first": rounded(p.grad.reshape(-1)[:6])}
                      for key, p in model.named_parameters()},
    }
target = pathlib.Path(__file__).parents[2] / "Tests/MoruModelsTests/Goldens/recurrent.json"
target.write_text(json.dumps(result))
print(target, target.stat().st_size)
