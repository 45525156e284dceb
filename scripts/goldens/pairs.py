"""The other side of the tests of pairs of texts (Tests/MoruModelsTests/PairTests.swift): tiny cross-encoders of
transformers, and what their tokenizers and they make of pairs. The tests run it and compare; nothing it makes is kept.

    pairs.py DIRECTORY      writes the models, and prints ids, types and logits
"""
import json
import pathlib
import sys

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from deterministic import fill, rounded

transformers.logging.set_verbosity_error()
WORDS = "the ferry comes in at seven and leaves again harbour is quiet when does it where ##s ? . ,".split()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + WORDS
PAIRS = [
    ("when does the ferry leave ?", "the ferry comes in at seven, and leaves again at seven."),
    ("harbour", "quiet"),
    ("where is the harbour when it is quiet and the ferry leaves again and again", "it is."),
    ("", "it is"), ("again", ""),
]
SIZE = dict(vocab_size=len(VOCABULARY), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=48, max_position_embeddings=64, num_labels=1)
DISTIL = dict(vocab_size=len(VOCABULARY), dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=64,
              num_labels=1)
CLS, SEP = ("[CLS]", 2), ("[SEP]", 3)
TEMPLATE = dict(single="[CLS] $A [SEP]", special_tokens=[CLS, SEP])
PROCESSORS = {
    "bert": processors.TemplateProcessing(pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", **TEMPLATE),
    "bert-processing": processors.BertProcessing(SEP, CLS),
    "bert-one-type": processors.TemplateProcessing(pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", **TEMPLATE),
    "bert-no-template": None,
    "roberta": processors.RobertaProcessing(SEP, CLS),
    "xlm-roberta": processors.TemplateProcessing(pair="[CLS] $A [SEP] [SEP] $B [SEP]", **TEMPLATE),
    "distilbert": processors.Sequence([
        processors.ByteLevel(), processors.TemplateProcessing(pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", **TEMPLATE)]),
    "llama": processors.TemplateProcessing(single="[CLS] $A", pair="[CLS] $A [CLS]:1 $B:1", special_tokens=[CLS]),
}
MODELS = {
    "bert": ("BertForSequenceClassification", SIZE),
    "bert-processing": ("BertForSequenceClassification", SIZE | dict(type_vocab_size=3)),
    "bert-one-type": ("BertForSequenceClassification", SIZE | dict(type_vocab_size=1)),
    "bert-no-template": ("BertForSequenceClassification", SIZE),
    "roberta": ("RobertaForSequenceClassification", SIZE | dict(type_vocab_size=1, pad_token_id=0)),
    "xlm-roberta": ("XLMRobertaForSequenceClassification", SIZE | dict(type_vocab_size=1, pad_token_id=0)),
    "distilbert": ("DistilBertForSequenceClassification", DISTIL),
    "llama": ("LlamaForSequenceClassification", SIZE | dict(num_key_value_heads=2, pad_token_id=0)),
}


def tokenizer(name):
    result = Tokenizer(models.WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    result.normalizer = normalizers.BertNormalizer()
    result.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if PROCESSORS[name]:
        result.post_processor = PROCESSORS[name]
    inputs = ["input_ids", "attention_mask"]
    if name in ("bert", "bert-processing", "bert-no-template"):
        inputs.append("token_type_ids")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=result, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_input_names=inputs)


folder, answers = pathlib.Path(sys.argv[1]), {"pairs": PAIRS, "models": {}}
for name, (kind, options) in MODELS.items():
    kind = getattr(transformers, kind)
    model = kind(kind.config_class(**options)).float().eval()
    fill(model)
    model.save_pretrained(folder / name)
    words = tokenizer(name)
    words.save_pretrained(folder / name)
    answers["models"][name] = []
    for first, second in PAIRS:
        # As lists, since an empty second text would count as none
        whole = words([first], [second], return_token_type_ids=True)
        cut = words([first], [second], truncation="longest_first", max_length=11)
        with torch.no_grad():
            logits = model(**words([first], [second], return_tensors="pt")).logits[0]
        answers["models"][name].append({
            "ids": whole["input_ids"][0], "types": whole["token_type_ids"][0], "cut": cut["input_ids"][0],
            "logit": rounded(logits), "score": rounded(torch.sigmoid(logits)),
        })
print(json.dumps(answers))
