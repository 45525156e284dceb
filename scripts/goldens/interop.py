"""The other side of the interoperation tests (Tests/MoruModelsTests): transformers, PEFT and gguf write what Moru reads
and read what Moru writes. The tests run it and compare; nothing it makes is kept.

    interop.py write DIRECTORY        tiny model directories, GGUF files and adapters, and what they compute
    interop.py check PLAN             loads the models and adapters that a JSON file lists, and says what they compute
    interop.py check-ggufs PLAN       loads the GGUF files that a JSON file lists, and says what they compute
    interop.py smollm2 GGUF SAVED     the real model, from the GGUF file's weights and from the directory Moru saved
"""
import json
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers
from peft import (IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, TaskType,
                  get_peft_model)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from deterministic import fill, rounded, values

transformers.logging.set_verbosity_error()
VOCABULARY = 384
TOKENS = [(7 * i * i + 3 * i + 1) % VOCABULARY for i in range(24)]
ROWS = [0, 11, 23]
TEXTS = ["Hello, world!", " two  spaces\n\nand 1234 digits", "한국어 테스트 🙂", "<|im_start|>user\nhi<|im_end|>\n", "don't we'LL"]
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there"}]
TEMPLATE = ("{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
            "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
SIZE = dict(vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2)
LLAMA3 = {"rope_theta": 10000.0, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}
GRANITE = dict(embedding_multiplier=6.0, residual_multiplier=0.22, attention_multiplier=0.25, logits_scaling=4.0,
               tie_word_embeddings=True)
GEMMA2 = dict(head_dim=16, num_hidden_layers=3, query_pre_attn_scalar=16, sliding_window=6, attn_logit_softcapping=2.0,
              final_logit_softcapping=5.0)
GEMMA3 = dict(head_dim=32, num_hidden_layers=7, query_pre_attn_scalar=32, sliding_window=6, rope_parameters={
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})
# A model whose text part alone Moru reads
VISION = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
MIXTRAL = dict(num_local_experts=4, num_experts_per_tok=2, tie_word_embeddings=False,
               rope_parameters={"rope_theta": 1000000.0, "rope_type": "default"})
QWEN3_MOE = dict(num_experts=6, num_experts_per_tok=3, moe_intermediate_size=32, head_dim=24, norm_topk_prob=True,
                 tie_word_embeddings=False)
LONGROPE = dict(pad_token_id=0, tie_word_embeddings=True, original_max_position_embeddings=64, rope_parameters={
    "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.0, 1.1, 1.2, 1.3, 1.5], "long_factor": [1.0, 2.0, 4.0, 6.0, 8.0, 9.0]})
MODELS = {
    # name: type, options, dtype, shard size, where the template goes
    "llama": ("Llama", dict(tie_word_embeddings=False), torch.float32, "5GB", "jinja"),
    "llama3": ("Llama", dict(tie_word_embeddings=True, rope_parameters=LLAMA3), torch.bfloat16, "30KB", "jinja"),
    "mistral": ("Mistral", dict(sliding_window=8), torch.bfloat16, "5GB", "config"),
    "qwen2": ("Qwen2", dict(use_sliding_window=True, sliding_window=6, max_window_layers=1), torch.float32, "60KB", "list"),
    "qwen3": ("Qwen3", dict(head_dim=24, tie_word_embeddings=False), torch.float16, "5GB", "config"),
    "mixtral": ("Mixtral", MIXTRAL, torch.bfloat16, "5GB", "jinja"),
    "qwen3_moe": ("Qwen3Moe", QWEN3_MOE, torch.float32, "90KB", "jinja"),
    "qwen3_moe-mixed": ("Qwen3Moe", dict(QWEN3_MOE, mlp_only_layers=[1]), torch.float16, "5GB", "jinja"),
    "granite": ("Granite", GRANITE, torch.bfloat16, "5GB", "jinja"),
    "smollm3": ("SmolLM3", dict(num_hidden_layers=4, tie_word_embeddings=True, pad_token_id=0), torch.float32, "5GB", "jinja"),
    "olmo2": ("Olmo2", dict(tie_word_embeddings=False), torch.bfloat16, "60KB", "jinja"),
    "pythia": ("GPTNeoX", dict(rope_parameters={
        "rope_theta": 10000.0, "rope_type": "default", "partial_rotary_factor": 0.25}), torch.float16, "5GB", "jinja"),
    "gemma2": ("Gemma2", GEMMA2, torch.float32, "5GB", "jinja"),
    "gemma3": ("Gemma3Text", GEMMA3, torch.float32, "60KB", "jinja"),
    "gemma3-vision": ("Gemma3", GEMMA3, torch.float32, "5GB", "jinja"),
    "phi3": ("Phi3", dict(pad_token_id=0, sliding_window=8), torch.bfloat16, "5GB", "jinja"),
    "phi4-mini": ("Phi3", LONGROPE, torch.float32, "5GB", "jinja"),
}


def make(kind, options, seed=None):
    size = {key: value for key, value in SIZE.items() if kind != "GPTNeoX" or key != "num_key_value_heads"}
    if kind == "Gemma3":
        text = transformers.Gemma3TextConfig(**{**size, **options})
        config = transformers.Gemma3Config(text_config=text, vision_config=VISION, mm_tokens_per_image=4,
                                           image_token_index=380, eos_token_id=2, bos_token_id=1)
        model = transformers.Gemma3ForConditionalGeneration(config).float().eval()
    else:
        config = getattr(transformers, kind + "Config")(**{**size, **options})
        model = getattr(transformers, kind.removesuffix("Text") + "ForCausalLM")(config).float().eval()
    fill(model)
    return model


def logits(model, tokens=TOKENS, rows=ROWS):
    with torch.no_grad():
        # Prompt tuning has rows of its own before those of the tokens
        # What was read from GGUF is f32 already, and refuses to be told so
        model = model if getattr(model, "quantization_method", None) else model.float()
        output = model.eval()(input_ids=torch.tensor([tokens])).logits[0, -len(tokens):]
    return [rounded(output[row]) for row in rows]


def train_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        [pathlib.Path(__file__).read_text(), "한국어 토크나이저를 훈련한다. " * 8],
        trainers.BpeTrainer(vocab_size=VOCABULARY - 8, show_progress=False,
                            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>",
                                   pad_token="<|endoftext|>")


def save_tokenizer(tokenizer, directory, place):
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(directory, save_jinja_files=place == "jinja")
    path = directory / "tokenizer_config.json"
    config = json.loads(path.read_text())
    if place == "list":
        config["chat_template"] = [{"name": "rag", "template": "no"}, {"name": "default", "template": TEMPLATE}]
        path.write_text(json.dumps(config))
    assert ("chat_template" in config) == (place != "jinja"), place
    assert (directory / "chat_template.jinja").exists() == (place == "jinja")


def write_models(root, tokenizer):
    result = {}
    for name, (kind, options, dtype, shard, place) in MODELS.items():
        model = make(kind, options).to(dtype)
        model.generation_config = GenerationConfig(
            do_sample=True, temperature=0.6, top_p=0.9, top_k=20, repetition_penalty=1.1, eos_token_id=[2, 0])
        directory = root / name
        model.save_pretrained(directory, max_shard_size=shard)
        assert (directory / "model.safetensors.index.json").exists() == (shard != "5GB")
        save_tokenizer(tokenizer, directory, place)
        prompt = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
        result[name] = {
            # Loaded again, since converting a model also rounds its rotary frequencies
            "logits": logits(AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)), "prompt": prompt,
            "texts": [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS],
        }
    return result


PERMUTED = ["llama", "granite", "smollm3"]


def permuted(data, heads):
    """The row order of GGUF's llama: the two halves of each head interleaved."""
    return data.reshape(heads, 2, data.shape[0] // heads // 2, *data.shape[1:]).swapaxes(1, 2).reshape(data.shape)


def separated(data, heads):
    """GGUF's row order of gptneox: all queries, all keys, all values, of rows that lie head by head."""
    return data.reshape(heads, 3, data.shape[0] // heads // 3, *data.shape[1:]).swapaxes(0, 1).reshape(data.shape)


def write_sentencepiece(writer):
    """A small SentencePiece BPE vocabulary: specials, bytes, merged pieces by rank, then single characters."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trained.train_from_iterator([pathlib.Path(__file__).read_text().lower()],
                                trainers.BpeTrainer(vocab_size=120, show_progress=False, limit_alphabet=60))
    document = json.loads(trained.to_str())["model"]
    merged = ["".join(pair) for pair in document["merges"]]
    pieces = merged + sorted(set(document["vocab"]) - set(merged))
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + pieces
    scores = [0.0] * 259 + [-float(rank) for rank in range(len(pieces))]
    types = [2, 3, 3] + [6] * 256 + [1] * len(pieces)
    unused = [f"[PAD{index}]" for index in range(len(tokens), VOCABULARY)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens + unused)
    writer.add_token_scores(scores + [-1000.0] * len(unused))
    writer.add_token_types(types + [5] * len(unused))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)


def unfused(model):
    """The parameters, those of experts with their gates and what these gate apart."""
    for name, parameter in model.named_parameters():
        if name.endswith("experts.gate_up_proj"):
            inner = parameter.shape[1] // 2
            yield name.replace("gate_up_proj", "gate_proj.weight"), parameter[:, :inner]
            yield name.replace("gate_up_proj", "up_proj.weight"), parameter[:, inner:]
        else:
            yield name + (".weight" if name.endswith("experts.down_proj") else ""), parameter


def write_gguf(path, arch, pre, model, tokenizer, quantization):
    """Converts as llama.cpp does, and gives the model the numbers that the file holds."""
    config = model.config
    writer = gguf.GGUFWriter(path, arch)
    writer.add_type("model")
    writer.add_name(path.stem)
    writer.add_license("apache-2.0")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    rope = config.rope_parameters.get("full_attention", config.rope_parameters)
    if arch == "gptneox":
        writer.add_layer_norm_eps(config.layer_norm_eps)
        writer.add_parallel_residual(config.use_parallel_residual)
        writer.add_rope_dimension_count(int(
            rope["partial_rotary_factor"] * config.hidden_size / config.num_attention_heads))
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(rope["rope_theta"])
    if arch.startswith("gemma"):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
        writer.add_sliding_window(config.sliding_window)
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if arch == "gemma3":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if arch == "phi3":
        writer.add_rope_dimension_count(int(
            rope["partial_rotary_factor"] * config.hidden_size / config.num_attention_heads))
        writer.add_rope_scaling_orig_ctx_len(config.original_max_position_embeddings)
        writer.add_sliding_window(config.sliding_window or 0)
    if rope["rope_type"] == "longrope":
        writer.add_rope_scaling_attn_factors(model.model.rotary_emb.attention_scaling)
        for length in ["long", "short"]:
            writer.add_tensor(f"rope_factors_{length}.weight", np.array(rope[f"{length}_factor"], np.float32))
    if arch == "granite":
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)
    writer.add_vocab_size(config.vocab_size)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if arch == "llama":
        writer.add_rope_dimension_count(head_dim)
    if arch == "qwen3moe" or model.config.model_type == "mixtral":
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if arch == "qwen3moe":
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if arch in ("qwen3", "qwen3moe"):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if pre == "sentencepiece":
        write_sentencepiece(writer)
    else:
        write_gguf_tokenizer(writer, tokenizer, pre)
    if rope["rope_type"] == "llama3":
        plain = 1.0 / 10000.0 ** (np.arange(0, head_dim, 2) / head_dim)
        writer.add_tensor("rope_freqs.weight", (plain / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH_NAMES and {v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[arch],
                                     config.num_hidden_layers)
    with torch.no_grad():
        for name, parameter in unfused(model):
            # A weight of Gemma's norms is what is added to 1
            offset = np.float32(arch.startswith("gemma") and name.endswith("norm.weight"))
            data = parameter.numpy() + offset
            is_plain = data.ndim == 1 or name.endswith("mlp.gate.weight")
            kind = gguf.GGMLQuantizationType.F32 if is_plain else quantization
            stored = gguf.quants.quantize(data, kind)
            parameter.copy_(torch.from_numpy(gguf.quants.dequantize(stored, kind).astype(np.float32) - offset))
            if arch in PERMUTED and name.endswith(("q_proj.weight", "q_proj.bias")):
                stored = permuted(stored, config.num_attention_heads)
            if arch in PERMUTED and name.endswith(("k_proj.weight", "k_proj.bias")):
                stored = permuted(stored, config.num_key_value_heads)
            if "query_key_value" in name:
                stored = separated(stored, config.num_attention_heads)
            writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_gguf_tokenizer(writer, tokenizer, pre):
    document = json.loads(tokenizer.backend_tokenizer.to_str())
    pieces = {index: piece for piece, index in document["model"]["vocab"].items()}
    special = {token["id"] for token in document["added_tokens"]}
    tokens, types = [], []
    for index in range(VOCABULARY):
        tokens.append(pieces.get(index, f"[PAD{index}]"))
        types.append(3 if index in special else 1 if index in pieces else 5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in document["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def write_ggufs(root, tokenizer):
    types = gguf.GGMLQuantizationType
    result = {}
    for name, arch, pre, options, quantization in [
        ("llama-f32", "llama", "gpt-2", dict(tie_word_embeddings=False, attention_bias=True, mlp_bias=True), types.F32),
        ("llama3-f16", "llama", "llama-bpe", dict(tie_word_embeddings=True, rope_parameters=LLAMA3), types.F16),
        ("llama-q8_0", "llama", "smollm", dict(tie_word_embeddings=True), types.Q8_0),
        ("llama-sentencepiece", "llama", "sentencepiece", dict(tie_word_embeddings=False), types.F32),
        ("qwen2-f16", "qwen2", "qwen2", dict(tie_word_embeddings=True), types.F16),
        ("qwen2-q4_0", "qwen2", "qwen2", dict(tie_word_embeddings=False), types.Q4_0),
        ("qwen3-q8_0", "qwen3", "qwen2", dict(head_dim=24, tie_word_embeddings=False), types.Q8_0),
        ("mixtral-q8_0", "llama", "gpt-2", MIXTRAL, types.Q8_0),
        ("mixtral-f32", "llama", "gpt-2", MIXTRAL, types.F32),
        ("qwen3moe-q4_0", "qwen3moe", "qwen2", QWEN3_MOE, types.Q4_0),
        ("granite-f16", "granite", "refact", GRANITE, types.F16),
        ("smollm3-q8_0", "smollm3", "smaug-bpe", dict(num_hidden_layers=4, pad_token_id=0), types.Q8_0),
        ("olmo2-f32", "olmo2", "dbrx", dict(tie_word_embeddings=False), types.F32),
        ("gptneox-q8_0", "gptneox", "olmo", dict(rope_parameters={
            "rope_theta": 10000.0, "rope_type": "default", "partial_rotary_factor": 0.25}), types.Q8_0),
        ("gemma2-f16", "gemma2", "gpt-2", GEMMA2, types.F16),
        ("gemma3-q8_0", "gemma3", "gpt-2", GEMMA3, types.Q8_0),
        ("phi3-f32", "phi3", "gpt-2", dict(pad_token_id=0, sliding_window=8), types.F32),
        ("phi4-mini-q8_0", "phi3", "gpt-2", LONGROPE, types.Q8_0),
    ]:
        kind = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "qwen3moe": "Qwen3Moe", "granite": "Granite",
                "smollm3": "SmolLM3", "olmo2": "Olmo2", "gptneox": "GPTNeoX", "phi3": "Phi3", "gemma2": "Gemma2",
                "gemma3": "Gemma3Text"}[arch]
        model = make("Mixtral" if options is MIXTRAL else kind, options)
        if arch == "llama" and "rope_parameters" not in options:
            model.config.rope_parameters = {"rope_theta": 10000.0, "rope_type": "default"}
        write_gguf(root / f"{name}.gguf", arch, pre, model, tokenizer, quantization)
        prompt = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
        result[name] = {"logits": logits(model), "prompt": prompt, "config": json.loads(model.config.to_json_string())}
    return result


ADAPTERS = {
    "plain": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    "rslora": dict(r=8, lora_alpha=16, use_rslora=True, lora_dropout=0.1, target_modules=[
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    "layers": dict(r=2, lora_alpha=5, target_modules=["q_proj", "o_proj"], layers_to_transform=[1]),
    "pattern": dict(r=3, lora_alpha=6, target_modules=r".*\.mlp\.(up|down)_proj"),
    "gaussian": dict(r=4, lora_alpha=4, target_modules="all-linear", init_lora_weights="gaussian"),
    "dora": dict(r=4, lora_alpha=8, use_dora=True, lora_dropout=0.1, target_modules=["q_proj", "v_proj", "up_proj"]),
    "dora-rslora": dict(r=2, lora_alpha=3, use_dora=True, use_rslora=True, target_modules=["o_proj", "down_proj"]),
    "ia3": dict(kind=IA3Config),
    "ia3-inputs": dict(kind=IA3Config, target_modules=["q_proj", "up_proj", "down_proj"],
                       feedforward_modules=["q_proj", "up_proj"]),
    "prompt": dict(kind=PromptTuningConfig, num_virtual_tokens=5),
    "prefix": dict(kind=PrefixTuningConfig, num_virtual_tokens=3),
    "prefix-projected": dict(kind=PrefixTuningConfig, num_virtual_tokens=4, prefix_projection=True,
                             encoder_hidden_size=16),
}
# Of GPT-2, which stores its projections transposed
GPT2_ADAPTERS = {
    "gpt2-lora": dict(r=4, lora_alpha=8, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True),
    "gpt2-dora": dict(r=4, lora_alpha=8, target_modules=["c_proj"], fan_in_fan_out=True, use_dora=True),
    "gpt2-ia3": dict(kind=IA3Config, target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"],
                     fan_in_fan_out=True),
    "gpt2-prompt": dict(kind=PromptTuningConfig, num_virtual_tokens=5),
    "gpt2-prefix": dict(kind=PrefixTuningConfig, num_virtual_tokens=3),
}
GEMMA_ADAPTERS = {
    "gemma3-lora": dict(r=4, lora_alpha=8, target_modules=["q_proj", "o_proj", "gate_proj", "down_proj"]),
    "gemma3-prompt": dict(kind=PromptTuningConfig, num_virtual_tokens=5),
}
# Of Phi-3, whose projections are fused
PHI3_ADAPTERS = {
    "phi3-lora": dict(r=4, lora_alpha=8, target_modules=["qkv_proj", "gate_up_proj", "down_proj"]),
    "phi3-dora": dict(r=2, lora_alpha=4, target_modules=["qkv_proj"], use_dora=True),
}
REFUSED = {
    "bias": dict(bias="all"), "modules_to_save": dict(modules_to_save=["lm_head"]),
    "rank_pattern": dict(rank_pattern={"q_proj": 2}), "alpha_pattern": dict(alpha_pattern={"q_proj": 2}),
    "init_lora_weights": dict(init_lora_weights="pissa"), "lora_bias": dict(lora_bias=True),
    "trainable_token_indices": dict(trainable_token_indices=[1, 2]),
}


def write_gpt2(directory, tokenizer):
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=64, n_layer=2, n_head=4, n_positions=128, bos_token_id=1, eos_token_id=2))
    fill(model.float().eval())
    model.save_pretrained(directory)
    save_tokenizer(tokenizer, directory, "jinja")
    return {"logits": logits(model)}


def write_adapters(root, tokenizer):
    result = {"gpt2": write_gpt2(root / "gpt2", tokenizer)}
    refused = {key: dict(r=4, target_modules=["q_proj"], **more) for key, more in REFUSED.items()}
    families = {**{name: "gemma3" for name in GEMMA_ADAPTERS}, **{name: "phi4-mini" for name in PHI3_ADAPTERS}}
    for name, options in {**ADAPTERS, **GPT2_ADAPTERS, **GEMMA_ADAPTERS, **PHI3_ADAPTERS, **refused}.items():
        base = root / "gpt2" if name in GPT2_ADAPTERS else root.parent / "models" / families.get(name, "llama")
        config = {"kind": LoraConfig, **options}
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config.pop("kind")(
            task_type=TaskType.CAUSAL_LM, **config))
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if any(part in key for part in ("lora_", "ia3_l", "prompt_encoder")):
                    numbers = torch.from_numpy(values(key, tuple(parameter.shape)))
                    # What multiplies lies around 1
                    parameter.copy_(numbers + 1 if "ia3_l" in key or "magnitude" in key else numbers)
        model.save_pretrained(root / name)
        result[name] = {"logits": logits(model)}
        if name not in refused and options.get("kind", IA3Config) is IA3Config:
            result[name]["merged"] = logits(model.merge_and_unload())
    result["combined"] = {"logits": combined(root)}
    return result


def combined(root):
    """The sum of two adapters' updates, each by its weight: PEFT's exact combination."""
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(root.parent / "models" / "llama"), root / "plain", adapter_name="a")
    model.load_adapter(root / "gaussian", "b")
    model.base_model.add_weighted_adapter(["a", "b"], [0.7, 0.4], "c", combination_type="cat")
    model.set_adapter("c")
    return logits(model)


def write(root):
    tokenizer = train_tokenizer()
    result = {"tokens": TOKENS, "rows": ROWS, "texts": TEXTS, "messages": MESSAGES, "template": TEMPLATE}
    for part, make_part in [("models", lambda p: write_models(p, tokenizer)), ("ggufs", lambda p: write_ggufs(p, tokenizer)),
                            ("adapters", lambda p: write_adapters(p, tokenizer))]:
        (root / part).mkdir(parents=True)
        result[part] = make_part(root / part)
    return result


def check(plan):
    result = {"models": {}, "adapters": {}}
    for name, directory in plan.get("models", {}).items():
        model, report = AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(directory)
        result["models"][name] = {
            "type": model.config.model_type, "dtype": str(model.dtype), "logits": logits(model),
            "strays": sorted(map(str, [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]])),
            "texts": [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS],
            "with_specials": tokenizer.encode(TEXTS[0]),
            "decoded": [tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) for text in TEXTS],
            "eos": tokenizer.eos_token, "generation_eos": model.generation_config.eos_token_id,
            "prompt": tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True),
        }
    for name, (base, directory) in plan.get("adapters", {}).items():
        model = AutoModelForCausalLM.from_pretrained(base)
        model = PeftModel.from_pretrained(model, directory)
        result["adapters"][name] = {"logits": logits(model)}
    return result


def check_ggufs(plan):
    """What transformers computes with GGUF files, and what the gguf package finds in them."""
    result = {}
    for name, path in plan.items():
        path = pathlib.Path(path)
        model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        reader = gguf.GGUFReader(path)
        result[name] = {
            "logits": logits(model), "texts": [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS],
            "prompt": tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True),
            "types": {tensor.name: tensor.tensor_type.name for tensor in reader.tensors},
            "squares": {tensor.name: float(np.square(gguf.quants.dequantize(tensor.data, tensor.tensor_type),
                                                     dtype=np.float64).sum()) for tensor in reader.tensors},
        }
    return result


def load_llama_gguf(path):
    """A transformers model with the dequantised weights of a GGUF file of architecture llama."""
    reader = gguf.GGUFReader(path)
    field = lambda key: reader.fields[f"llama.{key}"].contents()
    config = transformers.LlamaConfig(
        vocab_size=len(reader.fields["tokenizer.ggml.tokens"].data), hidden_size=field("embedding_length"),
        intermediate_size=field("feed_forward_length"), num_hidden_layers=field("block_count"),
        num_attention_heads=field("attention.head_count"), num_key_value_heads=field("attention.head_count_kv"),
        max_position_embeddings=field("context_length"), rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_theta": field("rope.freq_base"), "rope_type": "default"}, tie_word_embeddings=True)
    model = transformers.LlamaForCausalLM(config).float().eval()
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert "output.weight" not in tensors
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            tensor = tensors[names.get_name(name, try_suffixes=(".weight",))]
            data = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
            if heads:
                data = data.reshape(heads, data.shape[0] // heads // 2, 2, data.shape[1]).swapaxes(1, 2)
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(data.reshape(tuple(parameter.shape)))))
    return model


def smollm2(path, saved, text):
    tokenizer = AutoTokenizer.from_pretrained(saved)
    tokens = tokenizer.encode(text, add_special_tokens=False)
    result = {"tokens": tokens, "texts": [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS],
              "prompt": tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True),
              "source_texts": TEXTS, "messages": MESSAGES}
    for name, model in [("gguf", load_llama_gguf(path)), ("saved", AutoModelForCausalLM.from_pretrained(saved).float().eval())]:
        with torch.no_grad():
            output = model(input_ids=torch.tensor([tokens]), labels=torch.tensor([tokens]))
        result[name] = {"loss": float(output.loss), "best": output.logits[0].argmax(-1).tolist(),
                        "sample": [rounded(output.logits[0, row, ::97]) for row in (0, 14, 29)]}
        del model
    return result


if __name__ == "__main__":
    torch.set_num_threads(2)
    command, *arguments = sys.argv[1:]
    if command == "write":
        answer = write(pathlib.Path(arguments[0]))
    elif command == "check":
        answer = check(json.loads(pathlib.Path(arguments[0]).read_text()))
    elif command == "check-ggufs":
        answer = check_ggufs(json.loads(pathlib.Path(arguments[0]).read_text()))
    else:
        answer = smollm2(arguments[0], arguments[1], pathlib.Path(arguments[2]).read_text())
    print(json.dumps(answer))
