"""Greedy continuations and log-probabilities of the real SmolLM2-135M-Instruct, made by transformers on the
dequantised weights of its GGUF file.

    python scripts/goldens/generation.py SmolLM2-135M-Instruct.Q4_1.gguf

writes Tests/MoruEngineTests/Goldens/smollm2-generation.json.
"""

import json
import pathlib
import sys

import gguf
import numpy
import torch
from gguf.quants import dequantize
from transformers import LlamaConfig, LlamaForCausalLM

PROMPTS = [
    "The capital of France is",
    "<|im_start|>user\nName three colours of the rainbow.<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>system\nAnswer briefly.<|im_end|>\n<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n"
    "<|im_start|>assistant\n",
    "def fibonacci(n):\n",
    "Once upon a time, in a small village by the sea,",
]
TOKENS = 40


def field(reader, name):
    return reader.fields[name].contents()


def unpermuted(weight, heads):
    """GGUF stores the rows of q and k of Llama in the order of interleaved rotary pairs."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def load(path):
    reader = gguf.GGUFReader(path)
    heads = field(reader, "llama.attention.head_count")
    kv_heads = field(reader, "llama.attention.head_count_kv")
    config = LlamaConfig(
        vocab_size=len(field(reader, "tokenizer.ggml.tokens")),
        hidden_size=field(reader, "llama.embedding_length"),
        intermediate_size=field(reader, "llama.feed_forward_length"),
        num_hidden_layers=field(reader, "llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=field(reader, "llama.context_length"),
        rms_norm_eps=field(reader, "llama.attention.layer_norm_rms_epsilon"),
        rope_theta=field(reader, "llama.rope.freq_base"),
        tie_word_embeddings=True,
    )
    names = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }
    state = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            if parts[2] == "attn_q":
                values = unpermuted(values, heads)
            if parts[2] == "attn_k":
                values = unpermuted(values, kv_heads)
            name = f"model.layers.{parts[1]}.{names[parts[2]]}.weight"
        else:
            name = {
                "token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
                "output.weight": "lm_head.weight",
            }[tensor.name]
        state[name] = torch.from_numpy(numpy.ascontiguousarray(values))
    state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
    model = LlamaForCausalLM(config)
    model.load_state_dict(state)
    return model.eval(), reader


def tokenizer(reader):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = field(reader, "tokenizer.ggml.tokens")
    kinds = field(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in field(reader, "tokenizer.ggml.merges")]
    result = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    result.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    result.decoder = decoders.ByteLevel()
    result.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token, kind in zip(tokens, kinds) if kind == 3])
    return result


def main():
    torch.set_num_threads(1)
    model, reader = load(sys.argv[1])
    words = tokenizer(reader)
    end = field(reader, "tokenizer.ggml.eos_token_id")
    cases = []
    for text in PROMPTS:
        prompt = words.encode(text, add_special_tokens=False).ids
        generated, margins, scores, reason = [], [], [], "length"
        with torch.no_grad():
            output = model(torch.tensor([prompt]), use_cache=True)
            prompt_logits = output.logits[0]
            for _ in range(TOKENS):
                logits = output.logits[0, -1]
                top = logits.topk(2).values
                token = int(logits.argmax())
                margins.append(round(float(top[0] - top[1]), 4))
                if token == end:
                    reason = "stop"
                    break
                scores.append(round(float(logits.log_softmax(-1)[token]), 5))
                generated.append(token)
                output = model(torch.tensor([[token]]), past_key_values=output.past_key_values, use_cache=True)
        prompt_scores = prompt_logits.log_softmax(-1)[torch.arange(len(prompt) - 1), prompt[1:]]
        cases.append({
            "text": text, "prompt": prompt, "ids": generated, "margins": margins, "log_probabilities": scores,
            "finish_reason": reason, "answer": words.decode(generated, skip_special_tokens=True),
            "prompt_log_probabilities": [round(float(value), 5) for value in prompt_scores],
        })
        print(repr(text), "->", repr(cases[-1]["answer"]), reason, "smallest margin", min(margins))
    path = pathlib.Path(__file__).parents[2] / "Tests/MoruEngineTests/Goldens/smollm2-generation.json"
    path.write_text(json.dumps({"cases": cases}, indent=1) + "\n")


main()
