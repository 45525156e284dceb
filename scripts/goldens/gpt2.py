"""Logits, losses and gradients of tiny GPT-2 models, by transformers. Writes Tests/MoruModelsTests/Goldens/gpt2.json.

    gpt2.py                 writes the goldens
    gpt2.py check DIR       loads a model directory that Moru saved and prints its logits (the tests run this)
"""
import json
import pathlib
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from deterministic import fill, rounded

transformers.logging.set_verbosity_error()
VARIANTS = {
    "gpt2": {},
    "gelu-inner": dict(activation_function="gelu", n_inner=80, tie_word_embeddings=False, layer_norm_epsilon=1e-3),
    "by-layer": dict(scale_attn_by_inverse_layer_idx=True, scale_attn_weights=False, activation_function="silu"),
}
TOKENS = [(7 * i * i + 3 * i + 1) % 64 for i in range(24)]
ROWS = [0, 7, 15, 23]

if sys.argv[1:2] == ["check"]:
    model = AutoModelForCausalLM.from_pretrained(sys.argv[2], attn_implementation="eager").float().eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([TOKENS])).logits[0]
    print(json.dumps([rounded(logits[row]) for row in ROWS]))
    raise SystemExit

result = {"tokens": TOKENS, "rows": ROWS, "models": {}}
for name, options in VARIANTS.items():
    config = GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=64, attn_implementation="eager",
                        embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0, bos_token_id=1, eos_token_id=2, **options)
    model = GPT2LMHeadModel(config).float().eval()
    fill(model)
    output = model(input_ids=torch.tensor([TOKENS]), labels=torch.tensor([TOKENS]))
    output.loss.backward()
    result["models"][name] = {
        "config": json.loads(config.to_json_string(use_diff=False)),
        "logits": [rounded(output.logits[0, row]) for row in ROWS],
        "loss": float(output.loss.detach()),
        # Of a projection, the gradient of its transpose: the tests hold it [outputs, inputs]
        "gradients": {
            key: {"norm": float(p.grad.norm()),
                  "first": rounded((p.grad.T if "c_" in key and p.dim() == 2 else p.grad).reshape(-1)[:6])}
            for key, p in model.named_parameters()},
    }
target = pathlib.Path(__file__).parents[2] / "Tests/MoruModelsTests/Goldens/gpt2.json"
target.write_text(json.dumps(result))
print(target, target.stat().st_size)
