"""Greedy continuations of the tiny decoders in ../models, and of the shared ones, by transformers: greedy.json.

    python make.py [FOLDER of shared weights]        torch 2.13.0, transformers 5.18.0, float32
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import torch
from shared import MODELS
from transformers import AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))


def greedy(folder, prompt, count):
    """Without a cache, so that nothing but the forward pass is trusted."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = list(prompt)
    for _ in range(count):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        best = logits.topk(2).values
        assert best[0] - best[1] > 1e-4, f'{folder}: a tie'
        ids.append(logits.argmax().item())
    return ids[len(prompt) :]


cases = []
for name in sorted(os.listdir(MODELS)):
    # One model has a scaling that follows the length: its cache holds keys that were turned otherwise.
    if '-lm' in name and 'dynamic' not in name and 'longrope' not in name and 'head-only' not in name:
        for prompt in ([5], [7, 23, 41, 11, 30, 8]):
            ids = greedy(os.path.join(MODELS, name), prompt, 12)
            if len(set(ids)) > 3:  # tied random embeddings like to repeat the last token, which tests little
                cases.append(dict(model=name, prompt=prompt, ids=ids))
for name, prompt in (('stories260K', [1, 403, 407, 261, 378]), ('TinyStories-656K', [1, 259, 300, 12])):
    if len(sys.argv) > 1:
        cases.append(dict(shared=name, prompt=prompt, ids=greedy(os.path.join(sys.argv[1], name), prompt, 100)))
with open(f'{HERE}/greedy.json', 'w', encoding='utf-8') as f:
    f.write('[\n' + ',\n'.join(' ' + json.dumps(case) for case in cases) + '\n]\n')
