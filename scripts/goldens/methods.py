"""Steps of every tuning method on a tiny Llama, and the losses of preference tuning and distillation with their
gradients, by transformers, PEFT and plain torch. Writes Tests/MoruTrainingTests/Goldens/methods.json."""
import json
import pathlib

import torch
import torch.nn.functional as F
from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig, TaskType, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from deterministic import fill, rounded, values

CONFIG = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, rope_theta=10000.0,
              tie_word_embeddings=False, hidden_act="silu")
TEACHER = {**CONFIG, "vocab_size": 72, "hidden_size": 48, "num_hidden_layers": 2}
STEPS, RATE = 5, 1e-2


def example(number, length, prompt):
    tokens = [(5 * i * i + 7 * i * number + 3 * number + 1) % 64 for i in range(length)]
    return {"tokens": tokens, "targets": [position >= prompt for position in range(length)]}


EXAMPLES = [example(1, 9, 4), example(2, 14, 6), example(3, 5, 1), example(4, 11, 8), example(5, 7, 3)]
PAIRS = [(example(1, 12, 5), example(6, 10, 5)), (example(2, 9, 3), example(7, 13, 3)), (example(8, 8, 4), example(9, 8, 4))]


def make(config=CONFIG):
    model = LlamaForCausalLM(LlamaConfig(**config, attn_implementation="eager")).float().eval()
    fill(model)
    return model


def logits(model, item):
    tokens = item["tokens"]
    return model(input_ids=torch.tensor([tokens])).logits[0, -len(tokens):]


def labels(item):
    return torch.tensor([t if learn else -100 for t, learn in zip(item["tokens"], item["targets"])])[1:]


def summed_loss(model):
    return sum(F.cross_entropy(logits(model, item)[:-1], labels(item), ignore_index=-100, reduction="sum")
               for item in EXAMPLES)


TARGETS = sum(sum(item["targets"][1:]) for item in EXAMPLES)


def short(name):
    name = name.removeprefix("base_model.model.")
    if "magnitude" in name:
        return name.replace(".default.weight", "")
    return name.replace("prompt_encoder.default.embedding.weight", "prompt_embeddings").replace(".default", "")


def adapted(config):
    model = get_peft_model(make(), config)
    named = {short(name): p for name, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name, parameter in named.items():
            start = torch.from_numpy(values(name, tuple(parameter.shape), 0.4))
            if "magnitude" in name:
                start = start + parameter
            parameter.copy_(start + 1 if "ia3_l" in name else start)
    return model, named


def lora(**more):
    return LoraConfig(task_type=TaskType.CAUSAL_LM, r=4, lora_alpha=6, **more)


def run(model, named):
    optimizer = torch.optim.AdamW(named.values(), lr=RATE, betas=(0.9, 0.98), eps=1e-8, weight_decay=0)
    result = {"count": sum(p.numel() for p in named.values()), "losses": [], "norms": []}
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = summed_loss(model) / TARGETS
        loss.backward()
        result["losses"].append(float(loss.detach()))
        result["norms"].append(float(torch.nn.utils.clip_grad_norm_(named.values(), 1e9)))
        optimizer.step()
    result["parameters"] = {name: rounded(p.reshape(-1)[:3]) for name, p in named.items()}
    return result


def last_layers(count, head):
    model = make()
    def moves(name):
        if name.startswith("model.layers."):
            return int(name.split(".")[2]) >= CONFIG["num_hidden_layers"] - count
        return name == "model.norm.weight" or head and name == "lm_head.weight"
    named = {name: p for name, p in model.named_parameters() if moves(name)}
    return run(model, named)


def gradients(loss, named):
    loss.backward()
    return {"loss": float(loss.detach()),
            "gradients": {name: {"norm": float(p.grad.norm()), "first": rounded(p.grad.reshape(-1)[:3])}
                          for name, p in named.items()}}


def answer(model, item):
    scores = logits(model, item)[:-1].log_softmax(-1)
    wanted = labels(item)
    return sum(scores[row, label] for row, label in enumerate(wanted) if label >= 0)


def preference(beta, smoothing):
    model, named = adapted(lora(target_modules=["q_proj", "v_proj"]))
    margins = []
    for chosen, rejected in PAIRS:
        with torch.no_grad(), model.disable_adapter():
            before = answer(model, chosen) - answer(model, rejected)
        margins.append(beta * (answer(model, chosen) - answer(model, rejected) - before))
    margins = torch.stack(margins)
    loss = -(1 - smoothing) * F.logsigmoid(margins).sum() - smoothing * F.logsigmoid(-margins).sum()
    return {"beta": beta, "smoothing": smoothing, "margins": rounded(margins), **gradients(loss, named)}


def distillation(temperature, share, top_k=None, full=False):
    model, named = adapted(lora(target_modules=["q_proj", "down_proj"]))
    if full:
        model = make()
        named = dict(model.named_parameters())
    teacher = make(TEACHER)
    hard = soft = 0
    for item in EXAMPLES:
        wanted = labels(item)
        chosen = wanted >= 0
        ours = logits(model, item)[:-1][chosen]
        with torch.no_grad():
            theirs = logits(teacher, item)[:-1][chosen][:, :CONFIG["vocab_size"]] / temperature
        if top_k:
            kept = theirs.topk(top_k).indices
            theirs = torch.full_like(theirs, -torch.inf).scatter(1, kept, theirs.gather(1, kept))
        q = theirs.softmax(-1)
        log_ratio = torch.where(q > 0, theirs.log_softmax(-1) - (ours / temperature).log_softmax(-1), 0)
        hard = hard + F.cross_entropy(ours, wanted[chosen], reduction="sum")
        soft = soft + temperature ** 2 * (q * log_ratio).sum()
    return {"temperature": temperature, "share": share, "top_k": top_k, "full": full, "hard": float(hard.detach()),
            "soft": float(soft.detach()), **gradients((1 - share) * hard + share * soft, named)}


everything = make()
golden = {
    "config": {"model_type": "llama", **CONFIG}, "teacher": {"model_type": "llama", **TEACHER}, "steps": STEPS,
    "rate": RATE, "examples": EXAMPLES, "pairs": [{"chosen": c, "rejected": r} for c, r in PAIRS],
    "runs": {
        "dora": run(*adapted(lora(target_modules=["q_proj", "v_proj", "down_proj"], use_dora=True))),
        "ia3": run(*adapted(IA3Config(task_type=TaskType.CAUSAL_LM))),
        "prompt": run(*adapted(PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=4))),
        "prefix": run(*adapted(PrefixTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=3))),
        "full": run(everything, dict(everything.named_parameters())),
        "last_layers": last_layers(1, False),
        "last_layers_head": last_layers(2, True),
    },
    "preferences": [preference(0.1, 0), preference(0.5, 0.1)],
    "distillations": [distillation(2, 0.5), distillation(1.5, 1, top_k=5), distillation(3, 0.3, full=True)],
}
target = pathlib.Path(__file__).parents[2] / "Tests/MoruTrainingTests/Goldens/methods.json"
target.write_text(json.dumps(golden))
print(target, target.stat().st_size)
for name, entry in golden["runs"].items():
    print(name, entry["count"], entry["losses"])
