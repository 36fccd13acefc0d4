"""Prefill and decoding of a causal language model with an unmerged LoRA adapter in transformers + PEFT on the CPU.

    python generate.py --model DIR --dtype float32|bfloat16 [--r 16] [--threads 2]

Answers lines of its standard input, one JSON line each: `prefill N` reads a prompt of N tokens, `decode P N` continues
one of P tokens by N, greedily, over a cache. Both tell process CPU seconds, decoding without its prompt. `npm run
bench:generate` asks. OpenMP waits passively, or spinning threads would be counted as work.
"""

import argparse
import json
import os
import sys
import time
import warnings

os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
os.environ.setdefault('HF_HUB_OFFLINE', '1')
warnings.filterwarnings('ignore')

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument('--model', required=True)
p.add_argument('--dtype', default='float32', choices=['float32', 'bfloat16'])
p.add_argument('--r', type=int, default=16)
p.add_argument('--threads', type=int, default=2)
options = p.parse_args()

import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

torch.set_num_threads(options.threads)
model = transformers.AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
config = peft.LoraConfig(r=options.r, target_modules='all-linear', init_lora_weights=False, task_type='CAUSAL_LM')
model = peft.get_peft_model(model, config).eval()


def prompt(count):
    return torch.arange(count)[None] % 1000 + 100


@torch.inference_mode()
def prefill(count):
    start = time.process_time()
    model(prompt(count), use_cache=True, logits_to_keep=1)
    return time.process_time() - start


@torch.inference_mode()
def decode(given, count):
    out = model(prompt(given), use_cache=True, logits_to_keep=1)
    start = time.process_time()
    for _ in range(count):
        ids = out.logits[:, -1:].argmax(-1)
        out = model(ids, past_key_values=out.past_key_values, use_cache=True)
    return time.process_time() - start


versions = {m.__name__: m.__version__ for m in (torch, transformers, peft)}
print(json.dumps({'versions': versions}), flush=True)
for line in sys.stdin:
    verb, *numbers = line.split()
    print(json.dumps({'cpu': {'prefill': prefill, 'decode': decode}[verb](*map(int, numbers))}), flush=True)
