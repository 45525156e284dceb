"""LoRA steps of the SmolLM2-135M architecture in transformers and PEFT: bf16 weights, rank 8 on q, k, v, o, 4 x 256 tokens.
usage: peft_lora.py THREADS STEPS"""
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from common import median, report, timed

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
configuration = LlamaConfig(
    hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, intermediate_size=1536,
    vocab_size=49152, tie_word_embeddings=True, max_position_embeddings=8192, rms_norm_eps=1e-5)
adapter = LoraConfig(
    r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM")
model = get_peft_model(LlamaForCausalLM(configuration).to(torch.bfloat16), adapter)
model.train()
model.config.use_cache = False
trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4)
losses = []


def step():
    tokens = torch.randint(0, 49152, (4, 256))
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(input_ids=tokens, labels=tokens).loss
    loss.backward()
    optimizer.step()
    losses.append(loss.item())


timed(step, 2)
report(tokens_per_second=4 * 256 / median(timed(step, int(sys.argv[2]))), losses=losses)
