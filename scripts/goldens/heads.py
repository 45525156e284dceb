"""The other side of the tests of heads (Tests/MoruModelsTests/HeadTests.swift): transformers and PEFT write what Moru
reads and read what Moru writes. The tests run it and compare; nothing it makes is kept.

    heads.py write DIRECTORY      tiny models with heads, and adapters with heads, and the logits they give
    heads.py check PLAN           loads the models and adapters that a JSON file lists, and says what logits they give
"""
import json
import pathlib
import sys

import torch
import transformers
from peft import IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification

from deterministic import fill, rounded, values

transformers.logging.set_verbosity_error()
VOCABULARY = 384
TOKENS = [(7 * i * i + 3 * i + 1) % 250 + 4 for i in range(24)]
SIZE = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=64)
DISTIL = dict(vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=64)
GPT2 = dict(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64)
THREE = dict(id2label={0: "bad", 1: "good", 2: "so so"}, label2id={"bad": 0, "good": 1, "so so": 2})
TAGS = dict(id2label={0: "O", 1: "B-NAME", 2: "I-NAME"}, label2id={"O": 0, "B-NAME": 1, "I-NAME": 2})
MODELS = {
    "bert": ("BertForSequenceClassification", SIZE | THREE),
    "bert-tokens": ("BertForTokenClassification", SIZE | TAGS),
    "bert-many": ("BertForSequenceClassification", SIZE | THREE | dict(problem_type="multi_label_classification")),
    "roberta": ("RobertaForSequenceClassification", SIZE | THREE),
    "roberta-tokens": ("RobertaForTokenClassification", SIZE | TAGS),
    "distilbert": ("DistilBertForSequenceClassification", DISTIL | THREE),
    "distilbert-tokens": ("DistilBertForTokenClassification", DISTIL | TAGS),
    "llama": ("LlamaForSequenceClassification", SIZE | THREE | dict(num_key_value_heads=2, pad_token_id=0)),
    "llama-number": ("LlamaForSequenceClassification", SIZE | dict(num_labels=1, problem_type="regression")),
    "llama-tokens": ("LlamaForTokenClassification", SIZE | TAGS | dict(tie_word_embeddings=False)),
    "qwen2": ("Qwen2ForSequenceClassification", SIZE | dict(num_key_value_heads=2)),
    "gpt2": ("GPT2ForSequenceClassification", GPT2 | THREE),
    "gpt2-tokens": ("GPT2ForTokenClassification", GPT2 | TAGS),
}
ADAPTERS = {
    # name: base, configuration
    "lora": ("llama", LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["q_proj", "v_proj"])),
    "lora-tokens": ("llama-tokens", LoraConfig(task_type="TOKEN_CLS", r=4, target_modules=["q_proj", "v_proj"])),
    "lora-bert": ("bert", LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"])),
    "lora-distilbert": ("distilbert", LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["q_lin", "v_lin"])),
    "ia3": ("llama", IA3Config(task_type="SEQ_CLS", target_modules=["k_proj", "down_proj"],
                               feedforward_modules=["down_proj"])),
    "prompt": ("llama", PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)),
    "prefix": ("llama", PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)),
}
# PEFT does not find these in DistilBERT's configuration
SIZES = dict(num_virtual_tokens=3, token_dim=32, num_layers=2, num_attention_heads=4)
for base in ["bert", "roberta", "distilbert", "bert-tokens", "roberta-tokens", "distilbert-tokens"]:
    task = "TOKEN_CLS" if base.endswith("tokens") else "SEQ_CLS"
    ADAPTERS["prompt-" + base] = (base, PromptTuningConfig(task_type=task, **SIZES))
    if "distilbert" not in base:
        ADAPTERS["prefix-" + base] = (base, PrefixTuningConfig(task_type=task, **SIZES))


def build(kind, options):
    kind = getattr(transformers, kind)
    return kind(kind.config_class(**options)).float().eval()


def output(model, **inputs):
    """The logits of the text, or of its tokens without the virtual ones."""
    output = model.float().eval()(input_ids=torch.tensor([TOKENS]), **inputs).logits[0]
    return output if output.dim() == 1 else output[-len(TOKENS):]


def logits(model, **inputs):
    with torch.no_grad():
        return rounded(output(model, **inputs))


def gradient(model):
    """What a weighted sum of the logits says of the virtual tokens."""
    result = output(model)
    (result * torch.from_numpy(values("weights", tuple(result.shape)))).sum().backward()
    return rounded(model.prompt_encoder["default"].embedding.weight.grad)


def load(path, adapter=None):
    """A model with its head, by what its configuration says."""
    config = AutoConfig.from_pretrained(adapter or path)
    auto = AutoModelForTokenClassification if "Token" in config.architectures[0] else AutoModelForSequenceClassification
    model, info = auto.from_pretrained(path, config=config, output_loading_info=True,
                                       ignore_mismatched_sizes=adapter is not None)
    assert adapter or not info["missing_keys"], info
    return (PeftModel.from_pretrained(model, adapter) if adapter else model), config


def vector(path, adapter):
    """The mean of the hidden states of the text's own tokens, as PEFT has them of a model without a head."""
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(path), adapter).float().eval()
    with torch.no_grad():
        states = model(input_ids=torch.tensor([TOKENS])).last_hidden_state[0, -len(TOKENS):]
    return rounded(torch.nn.functional.normalize(states.mean(0), dim=0))


if sys.argv[1] == "check":
    result = {}
    for name, paths in json.loads(pathlib.Path(sys.argv[2]).read_text()).items():
        if name.startswith("vector"):
            result[name] = vector(*paths)
            continue
        model, config = load(*paths)
        result[name] = {"logits": logits(model), "labels": [config.id2label[i] for i in range(config.num_labels)]}
    print(json.dumps(result))
    raise SystemExit

folder, result = pathlib.Path(sys.argv[2]), {"tokens": TOKENS, "models": {}, "adapters": {}}
for name, (kind, options) in MODELS.items():
    model = build(kind, options)
    fill(model)
    model.save_pretrained(folder / "models" / name)
    result["models"][name] = logits(model)
for name, (base, configuration) in ADAPTERS.items():
    model = build(*MODELS[base])
    fill(model)
    model = get_peft_model(model, configuration)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.from_numpy(values(key, tuple(parameter.shape), 0.4)) + (1 if "ia3" in key else 0))
    model.save_pretrained(folder / "adapters" / name)
    result["adapters"][name] = {"base": base, "logits": logits(model)}
    if configuration.is_prompt_learning:
        result["adapters"][name]["gradient"] = gradient(model)
    if name in ("prompt-bert", "prefix-bert"):
        types = torch.tensor([[0] * 10 + [1] * (len(TOKENS) - 10)])
        result["adapters"][name]["typed"] = logits(model, token_type_ids=types)
print(json.dumps(result))
