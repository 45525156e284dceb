"""Logits, losses and gradients of tiny Gemma 2 and 3 models, by transformers. Writes Tests/MoruModelsTests/Goldens/gemma.json."""
import json
import pathlib

import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig

from deterministic import fill, rounded

SIZE = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2,
            head_dim=12, query_pre_attn_scalar=20, max_position_embeddings=128, attn_implementation="eager")
STRETCHED = {
    "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 50000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
}
VARIANTS = {
    # Caps that the tiny model's scores and logits reach
    "gemma2": (Gemma2Config, Gemma2ForCausalLM, dict(
        num_hidden_layers=3, sliding_window=6, attn_logit_softcapping=1.5, final_logit_softcapping=4.0)),
    "gemma2-uncapped": (Gemma2Config, Gemma2ForCausalLM, dict(
        num_hidden_layers=2, sliding_window=4, attn_logit_softcapping=None, final_logit_softcapping=None,
        hidden_activation="gelu", layer_types=["full_attention", "sliding_attention"])),
    "gemma3": (Gemma3TextConfig, Gemma3ForCausalLM, dict(
        num_hidden_layers=4, sliding_window=6, sliding_window_pattern=3, rope_parameters=STRETCHED)),
    "gemma3-untied": (Gemma3TextConfig, Gemma3ForCausalLM, dict(
        num_hidden_layers=2, sliding_window=5, sliding_window_pattern=2, attention_bias=True,
        final_logit_softcapping=3.0, tie_word_embeddings=False)),
}

tokens = [(7 * i * i + 3 * i + 1) % 64 for i in range(24)]
result = {"tokens": tokens, "rows": [0, 7, 15, 23], "models": {}}
for name, (config_class, model_class, options) in VARIANTS.items():
    config = config_class(**{**SIZE, **options})
    model = model_class(config).float().eval()
    fill(model)
    output = model(input_ids=torch.tensor([tokens]), labels=torch.tensor([tokens]))
    output.loss.backward()
    scale = model.model.embed_tokens.embed_scale
    result["models"][name] = {
        "config": json.loads(config.to_json_string(use_diff=False)),
        # What token vectors are multiplied by, and what that becomes in a model whose table is bf16
        "scale": float(scale), "scale_bf16": float(scale.to(torch.bfloat16)),
        "logits": [rounded(output.logits[0, row]) for row in result["rows"]],
        "loss": float(output.loss.detach()),
        "gradients": {key: {"norm": float(p.grad.norm()), "first": rounded(p.grad.reshape(-1)[:6])}
                      for key, p in model.named_parameters()},
    }
target = pathlib.Path(__file__).parents[2] / "Tests/MoruModelsTests/Goldens/gemma.json"
target.write_text(json.dumps(result))
print(target, target.stat().st_size)
