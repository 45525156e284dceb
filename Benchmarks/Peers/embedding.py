"""Vectors of 32 sentences of 32 tokens by all-MiniLM-L6-v2: mean of the hidden states, at length 1.

usage: embedding.py THREADS DIRECTORY transformers-f32|transformers-bf16|onnxruntime
"""
import os
import sys
import tempfile

import torch
import transformers

from common import median, report, timed

transformers.utils.logging.set_verbosity_error()
WORDS = ("machine learning models turn each sentence into a vector so that similar meaning lands near in space and search "
         "works without exact words").split()
SENTENCES = [" ".join(WORDS[(row * 7 + i * 3 + row * i) % len(WORDS)] for i in range(30)) for row in range(32)]
# Texts of other kinds, whose vectors are compared as well
OTHERS = ["yes no", "ok", "a", "!!!", "What is the capital of France?", "3.14159 2.71828 1.41421", "Wo ist der Bahnhof?",
          "SELECT * FROM users WHERE id = 42;",
          "Stocks fell sharply on Monday after the central bank raised interest rates.",
          " ".join(["She was diagnosed with type 2 diabetes last year."] * 12)]
INPUTS = ("input_ids", "attention_mask", "token_type_ids")

threads, directory, variant = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_num_threads(threads)
torch.set_grad_enabled(False)
tokenizer = transformers.AutoTokenizer.from_pretrained(directory)


def tokenize(texts=SENTENCES):
    return dict(tokenizer(texts, return_tensors="pt", padding=True))


class States(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = transformers.AutoModel.from_pretrained(directory, attn_implementation="eager").eval()

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask,
                          token_type_ids=token_type_ids).last_hidden_state


if variant == "onnxruntime":
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        sample = tokenize()
        torch.onnx.export(States(), tuple(sample[name] for name in INPUTS), path, input_names=list(INPUTS),
                          output_names=["states"], opset_version=17, dynamo=False,
                          dynamic_axes={name: {0: "batch", 1: "tokens"} for name in (*INPUTS, "states")})
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def states(inputs):
        return torch.from_numpy(session.run(None, {name: inputs[name].numpy() for name in INPUTS})[0])
else:
    dtype = torch.bfloat16 if variant == "transformers-bf16" else torch.float32
    model = transformers.AutoModel.from_pretrained(directory, dtype=dtype).eval()

    def states(inputs):
        return model(**inputs).last_hidden_state


def pool(inputs):
    mask = inputs["attention_mask"][..., None]
    found = states(inputs).float()
    return torch.nn.functional.normalize((found * mask).sum(1) / mask.sum(1), dim=-1)


given = tokenize()
assert given["input_ids"].shape == (32, 32)
timed(lambda: pool(given), 5)
vectors = torch.cat([pool(tokenize([text])) for text in SENTENCES + OTHERS]).tolist()
report(sentences_per_second=32 / median(timed(lambda: pool(given), 20)),
       vectors=vectors,
       sentences_per_second_from_texts=32 / median(timed(lambda: pool(tokenize()), 20)))
