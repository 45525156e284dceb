"""Hidden states, losses and gradients of tiny encoders, by transformers. Writes Tests/MoruModelsTests/Goldens/encoders.json.

    encoders.py                 writes the goldens
    encoders.py check DIR       loads an encoder's directory that Moru saved and prints its hidden states (the tests run
                                this)
"""
import json
import pathlib
import sys

import torch
import transformers
from transformers import AutoModel, BertConfig, DistilBertConfig, RobertaConfig, XLMRobertaConfig

from deterministic import fill, rounded

transformers.logging.set_verbosity_error()
SIZE = dict(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=40, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
VARIANTS = {
    "bert": BertConfig(**SIZE),
    "bert-tanh": BertConfig(**SIZE | dict(hidden_act="gelu_new", layer_norm_eps=1e-3, type_vocab_size=1)),
    "roberta": RobertaConfig(**SIZE, type_vocab_size=1),
    "xlm-roberta": XLMRobertaConfig(**SIZE, type_vocab_size=1, pad_token_id=3),
    "distilbert": DistilBertConfig(vocab_size=64, dim=32, n_layers=2, n_heads=4, hidden_dim=48, dropout=0.0,
                                   max_position_embeddings=40, attention_dropout=0.0),
}
# Token 0 to 3 may be padding, which RoBERTa gives no position
TOKENS = [(7 * i * i + 3 * i + 1) % 60 + 4 for i in range(24)]
ROWS = [0, 7, 23]

if sys.argv[1:2] == ["check"]:
    model = AutoModel.from_pretrained(sys.argv[2], attn_implementation="eager").float().eval()
    with torch.no_grad():
        states = model(input_ids=torch.tensor([TOKENS])).last_hidden_state[0]
    print(json.dumps([rounded(states[row]) for row in ROWS]))
    raise SystemExit

result = {"tokens": TOKENS, "rows": ROWS, "models": {}}
for name, config in VARIANTS.items():
    options = dict(add_pooling_layer=False) if name == "roberta" else {}
    model = AutoModel.from_config(config, attn_implementation="eager", **options).float().eval()
    fill(model)
    states = model(input_ids=torch.tensor([TOKENS])).last_hidden_state[0]
    # A loss that weighs every element differently
    weights = torch.linspace(-1, 1, states.numel()).reshape(states.shape)
    loss = (states * weights).sum()
    loss.backward()
    result["models"][name] = {
        "config": json.loads(model.config.to_json_string(use_diff=False)),
        "states": [rounded(states[row]) for row in ROWS],
        "loss": float(loss.detach()),
        "gradients": {
            key: {"norm": float(p.grad.norm()), "first": rounded(p.grad.reshape(-1)[:6])}
            for key, p in model.named_parameters() if p.grad is not None},
    }
target = pathlib.Path(__file__).parents[2] / "Tests/MoruModelsTests/Goldens/encoders.json"
target.write_text(json.dumps(result))
print(target, target.stat().st_size)
