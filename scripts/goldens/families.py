"""Logits, losses and gradients of tiny models of the architectures beside Llama, Qwen and GPT-2, by transformers. Writes
Tests/MoruModelsTests/Goldens/families.json.

    families.py [NAME ...]  writes the goldens, all or those of the variants named
"""
import json
import pathlib
import sys

import torch
import transformers

from deterministic import fill, model_weight, rounded

transformers.logging.set_verbosity_error()
SIZE = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=128, attn_implementation="eager", bos_token_id=1, eos_token_id=2, pad_token_id=0)
GRANITE = dict(num_key_value_heads=2, embedding_multiplier=6.0, residual_multiplier=0.22, attention_multiplier=0.25,
               logits_scaling=4.0)
VARIANTS = {
    # name: class, options
    "granite": ("Granite", dict(tie_word_embeddings=True, **GRANITE)),
    "granite-biases": ("Granite", dict(attention_bias=True, mlp_bias=True, **GRANITE)),
    "smollm3": ("SmolLM3", dict(num_key_value_heads=2, num_hidden_layers=4)),
    "smollm3-window": ("SmolLM3", dict(
        num_key_value_heads=2, no_rope_layers=[0, 1], use_sliding_window=True, sliding_window=6,
        mlp_bias=True, tie_word_embeddings=False)),
    "olmo2": ("Olmo2", dict(num_key_value_heads=4)),
    "olmo2-grouped": ("Olmo2", dict(num_key_value_heads=2, attention_bias=True, tie_word_embeddings=True)),
    "pythia": ("GPTNeoX", dict(rope_parameters={
        "rope_theta": 10000.0, "rope_type": "default", "partial_rotary_factor": 0.25})),
    "gpt-neox-serial": ("GPTNeoX", dict(
        use_parallel_residual=False, attention_bias=False, tie_word_embeddings=True, hidden_act="gelu_new",
        layer_norm_eps=1e-3, rope_parameters={
            "rope_theta": 1000.0, "rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5})),
}
SHORT, LONG = [1.0, 1.1, 1.3], [1.5, 4.0, 9.0]
VARIANTS |= {
    "phi3": ("Phi3", dict(num_key_value_heads=4, sliding_window=8)),
    # A part of each head; 16 positions before LongRoPE, so that the tokens take the long factors, or 64
    "phi4-mini": ("Phi3", dict(
        num_key_value_heads=2, tie_word_embeddings=True, original_max_position_embeddings=64, rope_parameters={
            "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75, "short_factor": SHORT,
            "long_factor": LONG})),
    "phi4-mini-long": ("Phi3", dict(
        num_key_value_heads=2, original_max_position_embeddings=16, rope_parameters={
            "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75, "short_factor": SHORT,
            "long_factor": LONG})),
}
TOKENS = [(7 * i * i + 3 * i + 1) % 64 for i in range(24)]
ROWS = [0, 7, 15, 23]


def golden(kind, options):
    config = getattr(transformers, kind + "Config")(**{**SIZE, **options})
    model = getattr(transformers, kind + "ForCausalLM")(config).float().eval()
    fill(model)
    if kind == "GPTNeoX" and not config.tie_word_embeddings:
        # In checkpoints it goes by another name
        with torch.no_grad():
            model.lm_head.weight.copy_(torch.from_numpy(model_weight("embed_out.weight", (64, 32))))
    output = model(input_ids=torch.tensor([TOKENS]), labels=torch.tensor([TOKENS]))
    output.loss.backward()
    return {
        "config": json.loads(config.to_json_string(use_diff=False)),
        "logits": [rounded(output.logits[0, row]) for row in ROWS],
        "loss": float(output.loss.detach()),
        "gradients": {
            key.replace("lm_head", "embed_out") if kind == "GPTNeoX" else key:
            {"norm": float(p.grad.norm()), "first": rounded(p.grad.reshape(-1)[:6])}
            for key, p in model.named_parameters()},
    }


target = pathlib.Path(__file__).parents[2] / "Tests/MoruModelsTests/Goldens/families.json"
names = sys.argv[1:] or list(VARIANTS)
result = {"tokens": TOKENS, "rows": ROWS, "models": {}}
if sys.argv[1:]:
    result["models"] = json.loads(target.read_text())["models"]
result["models"].update({name: golden(*VARIANTS[name]) for name in names})
target.write_text(json.dumps(result))
print(target, target.stat().st_size)
