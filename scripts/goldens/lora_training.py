"""Losses of a few LoRA steps on a tiny Llama, by transformers, PEFT and torch's AdamW. Writes
Tests/MoruTrainingTests/Goldens/lora_training.json."""
import json
import math
import pathlib

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from deterministic import fill, rounded, values

CONFIG = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, rope_theta=10000.0,
              tie_word_embeddings=True, hidden_act="silu")
STEPS, WARMUP, PEAK, DECAY, CLIP = 6, 2, 2e-2, 0.05, 0.5
BETAS, EPSILON = (0.9, 0.98), 1e-8


def example(number, length, prompt):
    tokens = [(5 * i * i + 7 * i * number + 3 * number + 1) % 64 for i in range(length)]
    return {"tokens": tokens, "targets": [position >= prompt for position in range(length)]}


EXAMPLES = [example(1, 9, 4), example(2, 14, 6), example(3, 5, 1), example(4, 11, 8), example(5, 7, 3)]
HELD_OUT = [example(6, 12, 5), example(7, 8, 2)]


def summed_loss(model, examples):
    total = torch.zeros(())
    for item in examples:
        logits = model(input_ids=torch.tensor([item["tokens"]])).logits[0]
        labels = torch.tensor([t if learn else -100 for t, learn in zip(item["tokens"], item["targets"])])
        total = total + F.cross_entropy(logits[:-1], labels[1:], ignore_index=-100, reduction="sum")
    return total


def target_count(examples):
    return sum(sum(item["targets"][1:]) for item in examples)


def rate(step):
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    return PEAK * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def run(use_rslora, targets):
    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(**CONFIG, attn_implementation="eager")).float().eval()
    fill(base)
    model = get_peft_model(base, LoraConfig(
        r=4, lora_alpha=6, lora_dropout=0.0, target_modules=targets, use_rslora=use_rslora, bias="none",
        task_type="CAUSAL_LM"))
    names = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            short = name.removeprefix("base_model.model.").replace(".default", "")
            names[short] = parameter
            scale = 0.4 if "lora_A" in short else 0.2
            parameter.copy_(torch.from_numpy(values(short, tuple(parameter.shape), scale)))
    optimizer = torch.optim.AdamW(names.values(), lr=PEAK, betas=BETAS, eps=EPSILON, weight_decay=DECAY)
    result = {"rslora": use_rslora, "targets": targets, "losses": [], "norms": [], "rates": [],
              "held_out_before": float((summed_loss(model, HELD_OUT) / target_count(HELD_OUT)).detach())}
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = summed_loss(model, EXAMPLES) / target_count(EXAMPLES)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(names.values(), CLIP)
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.step()
        result["losses"].append(float(loss.detach()))
        result["norms"].append(float(norm))
        result["rates"].append(rate(step))
    result["held_out_after"] = float((summed_loss(model, HELD_OUT) / target_count(HELD_OUT)).detach())
    result["parameters"] = {name: rounded(parameter.detach().reshape(-1)[:4]) for name, parameter in names.items()}
    return result


golden = {
    "config": {"model_type": "llama", **CONFIG}, "steps": STEPS, "warmup": WARMUP, "peak": PEAK, "decay": DECAY,
    "clip": CLIP, "betas": BETAS, "epsilon": EPSILON, "rank": 4, "alpha": 6, "examples": EXAMPLES,
    "held_out": HELD_OUT,
    "runs": [run(False, ["q_proj", "v_proj"]),
             run(True, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])],
}
target = pathlib.Path(__file__).parents[2] / "Tests/MoruTrainingTests/Goldens/lora_training.json"
target.parent.mkdir(exist_ok=True)
target.write_text(json.dumps(golden))
print(target, target.stat().st_size)
for entry in golden["runs"]:
    print(entry["losses"], entry["norms"], entry["held_out_before"], entry["held_out_after"])
