"""Makes bottleneck adapters with AdapterHub's library over the tiny checkpoints of ../models, and what they compute.

    python make_hub.py [CASE...]        torch 2.13.0, transformers 4.57.6, adapters 1.3.0

hub/CASE/ holds the files of `save_adapter`, io.safetensors the logits with the adapter, meta.json its base.
    python make_hub.py --load FOLDER BASE        prints the logits of a folder of ours
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import adapters
import torch
from safetensors.torch import save_file
from shared import base_model, begin, change_json, finish, given_of

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = {
    'houlsby-bert-seq': ('bert-seq', 'double_seq_bn', False),
    'pfeiffer-bert-seq': ('bert-seq', 'seq_bn', True),
    'parallel-bert-seq': ('bert-seq', 'par_bn', True),
    'pfeiffer-roberta-seq': ('roberta-seq', 'seq_bn', False),
    'parallel-distilbert-seq': ('distilbert-seq', 'par_bn', True),
    'houlsby-gpt2-lm': ('gpt2-lm', 'double_seq_bn', True),
    'houlsby-llama-lm': ('llama-lm', 'double_seq_bn', True),
}


def open_base(base):
    model, meta = base_model(base, torch.float32)
    adapters.init(model)
    return model, meta


def logits_of(model, base):
    inputs = {k: v for k, v in given_of(base).items() if k != 'labels'}
    with torch.no_grad():
        return model.eval()(**inputs).logits


def make(name):
    base, config, safe = CASES[name]
    folder = f'{HERE}/hub/{name}'
    begin(folder)
    os.makedirs(folder)
    model, meta = open_base(base)
    model.add_adapter('x', config=adapters.AdapterConfig.load(config, reduction_factor=4))
    model.train_adapter('x')
    with torch.no_grad():
        for n, p in model.named_parameters():
            if p.requires_grad and ('adapters' in n or 'classifier' in n):
                p.add_(torch.randn(p.shape) * 0.2)
    model.set_active_adapters('x')
    save_file(dict(logits=logits_of(model, base)), f'{folder}/io.safetensors')
    model.save_adapter(folder, 'x', use_safetensors=safe)
    for file in ('adapter_config.json', 'head_config.json'):
        if os.path.exists(f'{folder}/{file}'):
            change_json(f'{folder}/{file}', lambda values: {**values, 'model_name': base}, end='')
    finish(folder, dict(base=base, task=meta['task']))
    print(name, sorted(os.listdir(folder)))


if __name__ == '__main__':
    if sys.argv[1:2] == ['--load']:
        folder, base = sys.argv[2:]
        model, _ = open_base(base)
        name = model.load_adapter(folder, use_safetensors=True)
        model.set_active_adapters(name)
        print(json.dumps(logits_of(model, base).flatten().tolist()))
    else:
        for wanted in sys.argv[1:] or CASES:
            make(wanted)
