"""Beam search and penalties by transformers on the tiny decoders of ../models: beams.json.

    python beams.py        torch 2.13.0, transformers 5.18.0, float32
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import torch
from shared import MODELS
from transformers import AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPT = [7, 23, 41, 11, 30, 8]
# Our names, and those of transformers.
OPTIONS = [
    dict(repetitionPenalty=1.7),
    dict(noRepeatNgram=2),
    dict(repetitionPenalty=1.3, noRepeatNgram=3),
    dict(beams=2),
    dict(beams=4),
    dict(beams=3, lengthPenalty=0.2),
    dict(beams=3, lengthPenalty=2.0),
    dict(beams=4, noRepeatNgram=2),
    dict(beams=3, repetitionPenalty=1.5),
]
NAMES = dict(
    repetitionPenalty='repetition_penalty', noRepeatNgram='no_repeat_ngram_size', beams='num_beams',
    lengthPenalty='length_penalty',
)  # fmt: skip

cases = []
for name in ('llama-lm', 'gpt2-lm', 'qwen3-lm', 'gemma2-lm'):
    # Eager: sdpa leaves Gemma 2's soft caps out.
    model = AutoModelForCausalLM.from_pretrained(os.path.join(MODELS, name), dtype=torch.float32, attn_implementation='eager').eval()
    # Tokens that these models like to say, so that beams end at different lengths.
    probe = model.generate(torch.tensor([PROMPT]), max_new_tokens=8, do_sample=False, num_beams=4, eos_token_id=None)
    ends = sorted({probe[0, -3].item(), 5})
    for options in OPTIONS:
        for end in ([], ends):
            count = options.get('beams', 1)
            found = model.generate(
                torch.tensor([PROMPT]), max_new_tokens=12, do_sample=False, eos_token_id=end or None, pad_token_id=0,
                num_return_sequences=count, **{NAMES[key]: value for key, value in options.items()},
            )  # fmt: skip
            texts = []
            for ids in found[:, len(PROMPT) :].tolist():
                stop = next((i + 1 for i, id in enumerate(ids) if id in end), len(ids))
                texts.append(ids[:stop])
            cases.append(dict(model=name, prompt=PROMPT, options=options, ends=end, texts=texts))
with open(f'{HERE}/beams.json', 'w', encoding='utf-8') as f:
    f.write('[\n' + ',\n'.join(' ' + json.dumps(case) for case in cases) + '\n]\n')
