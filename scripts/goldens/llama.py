"""Logits, losses and gradients of tiny models of the Llama family, by transformers. Writes Tests/MoruModelsTests/Goldens/llama.json."""
import json
import pathlib

import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from deterministic import fill, rounded

SIZE = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=128, attn_implementation="eager")


def rope(kind, **more):
    return {"rope_theta": 10000.0, "rope_type": kind, **more}


VARIANTS = {
    "llama2": (LlamaConfig, LlamaForCausalLM, dict(num_key_value_heads=4, tie_word_embeddings=False)),
    "smollm2": (LlamaConfig, LlamaForCausalLM, dict(num_key_value_heads=2, tie_word_embeddings=True)),
    "llama3": (LlamaConfig, LlamaForCausalLM, dict(
        num_key_value_heads=1, head_dim=16, tie_word_embeddings=False,
        rope_parameters=rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                             original_max_position_embeddings=16))),
    "llama-linear": (LlamaConfig, LlamaForCausalLM, dict(
        num_key_value_heads=2, attention_bias=True, mlp_bias=True, rope_parameters=rope("linear", factor=2.5))),
    "mistral": (MistralConfig, MistralForCausalLM, dict(num_key_value_heads=2, sliding_window=8)),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, dict(num_key_value_heads=2, tie_word_embeddings=True)),
    "qwen2-yarn": (Qwen2Config, Qwen2ForCausalLM, dict(
        num_key_value_heads=2, rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=16))),
    "qwen2-window": (Qwen2Config, Qwen2ForCausalLM, dict(
        num_key_value_heads=2, use_sliding_window=True, sliding_window=6, max_window_layers=1)),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, dict(num_key_value_heads=2, head_dim=12, tie_word_embeddings=False)),
}

tokens = [(7 * i * i + 3 * i + 1) % 64 for i in range(24)]
result = {"tokens": tokens, "rows": [0, 7, 15, 23], "models": {}}
for name, (config_class, model_class, options) in VARIANTS.items():
    config = config_class(**{**SIZE, **options})
    model = model_class(config).float().eval()
    fill(model)
    output = model(input_ids=torch.tensor([tokens]), labels=torch.tensor([tokens]))
    output.loss.backward()
    result["models"][name] = {
        "config": json.loads(config.to_json_string(use_diff=False)),
        "logits": [rounded(output.logits[0, row]) for row in result["rows"]],
        "loss": float(output.loss.detach()),
        "gradients": {key: {"norm": float(p.grad.norm()), "first": rounded(p.grad.reshape(-1)[:6])}
                      for key, p in model.named_parameters()},
    }
target = pathlib.Path(__file__).parents[2] / "Tests/MoruModelsTests/Goldens/llama.json"
target.write_text(json.dumps(result))
print(target, target.stat().st_size)
