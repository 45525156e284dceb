"""Logits, losses and gradients of tiny mixtures of experts, by transformers. Writes Tests/MoruModelsTests/Goldens/experts.json."""
import json
import pathlib

import torch
from transformers import MixtralConfig, MixtralForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from deterministic import model_weight, rounded

SIZE = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=128, attn_implementation="eager")

VARIANTS = {
    "mixtral": (MixtralConfig, MixtralForCausalLM, dict(num_local_experts=5, num_experts_per_tok=2)),
    "mixtral-balanced": (MixtralConfig, MixtralForCausalLM, dict(
        num_local_experts=4, num_experts_per_tok=2, sliding_window=8, output_router_logits=True,
        router_aux_loss_coef=0.3)),
    "qwen3_moe": (Qwen3MoeConfig, Qwen3MoeForCausalLM, dict(
        num_experts=8, num_experts_per_tok=3, moe_intermediate_size=24, head_dim=12, norm_topk_prob=True,
        output_router_logits=True, router_aux_loss_coef=0.1)),
    "qwen3_moe-mixed": (Qwen3MoeConfig, Qwen3MoeForCausalLM, dict(
        num_experts=6, num_experts_per_tok=2, moe_intermediate_size=20, head_dim=8, decoder_sparse_step=2,
        num_hidden_layers=4, mlp_only_layers=[3], tie_word_embeddings=True, attention_bias=True,
        use_sliding_window=True, sliding_window=7)),
}


def checkpoint_tensors(model):
    """Views of a model's parameters, and of their gradients, by the names of checkpoints on the hub."""
    mixtral = model.config.model_type == "mixtral"
    gate, up, down = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
    for name, parameter in model.named_parameters():
        name = name.replace(".mlp.", ".block_sparse_moe.") if mixtral else name
        part, grad, place = parameter, parameter.grad, name.rsplit(".", 1)[0]
        pick = lambda *at: (part[at], None if grad is None else grad[at])
        if name.endswith("experts.gate_up_proj"):
            inner = part.shape[1] // 2
            for expert in range(part.shape[0]):
                yield f"{place}.{expert}.{gate}.weight", *pick(expert, slice(0, inner))
                yield f"{place}.{expert}.{up}.weight", *pick(expert, slice(inner, None))
        elif name.endswith("experts.down_proj"):
            for expert in range(part.shape[0]):
                yield f"{place}.{expert}.{down}.weight", *pick(expert)
        else:
            yield name, part, grad


def fill(model):
    with torch.no_grad():
        for name, tensor, _ in checkpoint_tensors(model):
            tensor.copy_(torch.from_numpy(model_weight(name, tuple(tensor.shape))))


if __name__ == "__main__":
    tokens = [(7 * i * i + 3 * i + 1) % 64 for i in range(24)]
    result = {"tokens": tokens, "rows": [0, 7, 15, 23], "models": {}}
    for name, (config_class, model_class, options) in VARIANTS.items():
        config = config_class(**{**SIZE, **options})
        model = model_class(config).float().train()
        fill(model)
        output = model(input_ids=torch.tensor([tokens]), labels=torch.tensor([tokens]), output_router_logits=True)
        aux = float(output.aux_loss.detach())
        output = model(input_ids=torch.tensor([tokens]), labels=torch.tensor([tokens]))
        output.loss.backward()
        result["models"][name] = {
            "config": json.loads(config.to_json_string(use_diff=False)),
            "logits": [rounded(output.logits[0, row]) for row in result["rows"]],
            "loss": float(output.loss.detach()), "aux_loss": aux,
            "gradients": {key: {"norm": float(grad.norm()), "first": rounded(grad.reshape(-1)[:6])}
                          for key, _, grad in checkpoint_tensors(model)},
        }
    target = pathlib.Path(__file__).parents[2] / "Tests/MoruModelsTests/Goldens/experts.json"
    target.write_text(json.dumps(result))
    print(target, target.stat().st_size)
