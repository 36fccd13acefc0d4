"""LoRA on a small instruct model with PyTorch + transformers + PEFT: the peer of the runs on prompts and completions in
docs/results.md (WikiSQL and E2E on SmolLM2-135M-Instruct).

    python completions.py --model DIR --data FOLDER --results FILE [--seeds 0,1,2] [--threads 1]

FOLDER holds train.jsonl and test.jsonl of rows {prompt, completion}; settings are those of
examples/recipes/wikisql-smollm2.yaml. Appends one JSON line a seed to --results and prints it.

The recipe, per seed:
- Rows as the model's chat template writes one turn of the user and one of the assistant; the loss is over the
  completion's tokens and its end of turn, their mean over a batch.
- Base frozen in f32, LoRA r 8, alpha 16, no dropout, on all linear layers but the head.
- Batches of 8 in the order of torch's permutation, padded to the longest row. AdamW without decay, gradients clipped
  by their global norm at 1, one epoch; step t of T with W = ceil(0.06 T): lr (t+1)/W while t < W, then
  lr (T-t)/(T-W).
- Before and after: the mean loss of a token of the test rows' completions, and how many answers, generated greedily,
  are the completion to the letter. 100 answers take six CPU minutes here: with --max-new-tokens 0 and --save,
  `lowrank evaluate` can count them instead, whose greedy text is that of transformers token for token.
"""

import argparse
import json
import math
import os
import re
import resource
import time

os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

logging.set_verbosity_error()
IGNORED = -100


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--model', required=True)
    p.add_argument('--data', required=True)
    p.add_argument('--results', required=True, help='jsonl to append to')
    p.add_argument('--seeds', default='0,1,2')
    p.add_argument('--lr', type=float, default=5e-4)
    p.add_argument('--batch', type=int, default=8)
    p.add_argument('--micro', type=int, help='rows at a time, for less memory: the same gradient of a batch')
    p.add_argument('--compute', choices=('f32', 'bf16'), default='f32', help='bf16: by autocast')
    p.add_argument('--save', help='folder for the adapters, one a seed')
    p.add_argument('--max-new-tokens', type=int, default=64, help='0: no answers are generated')
    p.add_argument('--threads', type=int, default=1)
    p.add_argument('--max-steps', type=int, help='a quick look')
    return p.parse_args()


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mib():
    with open('/proc/self/status', encoding='ascii') as f:
        return int(re.search(r'VmHWM:\s+(\d+)', f.read()).group(1)) / 1024


def products(a):
    return torch.autocast('cpu', torch.bfloat16, enabled=a.compute == 'bf16')


def encode(tokenizer, row):
    """Ids of the prompt as a turn with the assistant's opening, and of the completion with its end of turn."""
    text = tokenizer.apply_chat_template(
        [dict(role='user', content=row['prompt'])], tokenize=False, add_generation_prompt=True
    )
    prompt = tokenizer(text, add_special_tokens=False).input_ids
    answer = tokenizer(row['completion'] + '<|im_end|>', add_special_tokens=False).input_ids
    return prompt, answer


def batch_of(rows, pad):
    width = max(len(p) + len(c) for p, c in rows)
    ids, mask, labels = [], [], []
    for prompt, answer in rows:
        blank = width - len(prompt) - len(answer)
        ids.append(prompt + answer + [pad] * blank)
        mask.append([1] * (width - blank) + [0] * blank)
        labels.append([IGNORED] * len(prompt) + answer + [IGNORED] * blank)
    return {k: torch.tensor(v) for k, v in dict(input_ids=ids, attention_mask=mask, labels=labels).items()}


@torch.no_grad()
def scores(a, model, tokenizer, rows, encoded):
    model.eval()
    loss = tokens = exact = 0
    for k in range(0, len(encoded), a.micro or a.batch):
        part = encoded[k : k + (a.micro or a.batch)]
        inputs = batch_of(part, tokenizer.pad_token_id)
        count = int((inputs['labels'] != IGNORED).sum())
        with products(a):
            loss += model(**inputs).loss.item() * count
        tokens += count
        if not a.max_new_tokens:
            continue
        width = max(len(p) for p, _ in part)
        ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(p)) + p for p, _ in part])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p, _ in part])
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=a.max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )
        said = tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
        exact += sum(s.strip() == row['completion'].strip() for s, row in zip(said, rows[k : k + len(part)]))
    model.train()
    generated = dict(exact_match=exact / len(encoded)) if a.max_new_tokens else {}
    return dict(loss=loss / tokens, **generated)


def run_seed(a, seed, splits, tokenizer):
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32)
    config = LoraConfig(r=8, lora_alpha=16, lora_dropout=0, target_modules='all-linear', task_type='CAUSAL_LM')
    model = get_peft_model(base, config)
    encoded = {name: [encode(tokenizer, row) for row in rows] for name, rows in splits.items()}
    before = scores(a, model, tokenizer, splits['test'], encoded['test'])
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=a.lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0)
    n = len(encoded['train'])
    total = min(math.ceil(n / a.batch), a.max_steps or math.inf)
    warmup = max(1, math.ceil(0.06 * total))
    order = torch.randperm(n).tolist()
    start_cpu, start, losses, tokens = cpu(), time.perf_counter(), [], 0
    for step in range(total):
        rate = (step + 1) / warmup if step < warmup else (total - step) / (total - warmup)
        for group in optimizer.param_groups:
            group['lr'] = a.lr * rate
        part = [encoded['train'][i] for i in order[step * a.batch : (step + 1) * a.batch]]
        tokens += sum(len(p) + len(c) for p, c in part)
        optimizer.zero_grad()
        loss, answered = 0.0, sum(len(c) for _, c in part)
        for k in range(0, len(part), a.micro or a.batch):
            rows = part[k : k + (a.micro or a.batch)]
            with products(a):
                share = model(**batch_of(rows, tokenizer.pad_token_id)).loss * (sum(len(c) for _, c in rows) / answered)
            share.backward()
            loss += share.item()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        losses.append(loss)
    used, wall = cpu() - start_cpu, time.perf_counter() - start
    if a.save:
        model.save_pretrained(os.path.join(a.save, f'seed{seed}'))
    return dict(
        side='peft',
        data=os.path.basename(os.path.normpath(a.data)),
        seed=seed,
        compute=a.compute,
        steps=total,
        tokens=tokens,
        before=before,
        after=scores(a, model, tokenizer, splits['test'], encoded['test']),
        train_loss=sum(losses[-20:]) / len(losses[-20:]),
        trainable=sum(p.numel() for p in params),
        cpu_s=round(used, 1),
        wall_s=round(wall, 1),
        rss_peak=round(peak_mib()),
        threads=a.threads,
    )


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    tokenizer = AutoTokenizer.from_pretrained(a.model)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = '<|im_end|>'
    splits = {}
    for name in ('train', 'test'):
        with open(os.path.join(a.data, name + '.jsonl'), encoding='utf-8') as f:
            splits[name] = [json.loads(line) for line in f if line.strip()]
    for seed in map(int, a.seeds.split(',')):
        line = json.dumps(run_seed(a, seed, splits, tokenizer))
        print(line, flush=True)
        with open(a.results, 'a', encoding='utf-8') as f:
            f.write(line + '\n')


if __name__ == '__main__':
    main()
