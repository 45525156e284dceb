"""Reading a prompt of 512 tokens with transformers in bf16. usage: transformers_prefill.py THREADS MODEL.gguf"""
import os
import sys

import torch
import transformers

from common import median, report, timed

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()
torch.set_num_threads(int(sys.argv[1]))
torch.set_grad_enabled(False)
directory, name = os.path.split(sys.argv[2])
model = transformers.AutoModelForCausalLM.from_pretrained(directory, gguf_file=name, dtype=torch.bfloat16).eval()
model = model.to(torch.bfloat16)
tokens = torch.randint(5, 40000, (1, 512), generator=torch.Generator().manual_seed(1))


def prefill():
    return model(tokens, use_cache=True, logits_to_keep=1)


timed(prefill, 2)
report(tokens_per_second=512 / median(timed(prefill, 6)))
