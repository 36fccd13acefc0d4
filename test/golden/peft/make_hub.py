"""Makes bottleneck adapters with AdapterHub's library over the tiny checkpoints of ../models, and what they compute.

    python make_hub.py [CASE...]        torch 2.13.0, transformers 4.57.6, adapters 1.3.0

hub/CASE/ holds the files of `save_adapter`, io.safetensors the logits with the adapter, meta.json its base.
    python make_hub.py --load FOLDER BASE        prints the logits of a folder of ours
"""

import json
import os
import shutil
import sys
import warnings
import zlib

import adapters
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.utils import logging

warnings.filterwarnings('ignore')
logging.set_verbosity_error()
torch.set_num_threads(1)

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, '../models')
CLASS = dict(seq=AutoModelForSequenceClassification, lm=AutoModelForCausalLM)
CASES = {
    'houlsby-bert-seq': ('bert-seq', 'double_seq_bn', False),
    'pfeiffer-bert-seq': ('bert-seq', 'seq_bn', True),
    'parallel-bert-seq': ('bert-seq', 'par_bn', True),
    'pfeiffer-roberta-seq': ('roberta-seq', 'seq_bn', False),
    'parallel-distilbert-seq': ('distilbert-seq', 'par_bn', True),
    'houlsby-gpt2-lm': ('gpt2-lm', 'double_seq_bn', True),
    'houlsby-llama-lm': ('llama-lm', 'double_seq_bn', True),
}


def base_model(base):
    meta = json.load(open(f'{MODELS}/{base}/meta.json', encoding='utf-8'))
    model = CLASS[meta['task']].from_pretrained(f'{MODELS}/{base}', dtype=torch.float32).eval()
    adapters.init(model)
    return model, meta


def logits_of(model, base):
    given = load_file(f'{MODELS}/{base}/io.safetensors')
    inputs = {k: given[k].long() for k in ('input_ids', 'attention_mask', 'token_type_ids') if k in given}
    with torch.no_grad():
        return model.eval()(**inputs).logits


def make(name):
    base, config, safe = CASES[name]
    folder = f'{HERE}/hub/{name}'
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    torch.manual_seed(zlib.crc32(name.encode()))
    model, meta = base_model(base)
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
            values = json.load(open(f'{folder}/{file}', encoding='utf-8'))
            with open(f'{folder}/{file}', 'w', encoding='utf-8') as f:
                f.write(json.dumps({**values, 'model_name': base}, indent=2, sort_keys=True))
    with open(f'{folder}/meta.json', 'w', encoding='utf-8') as f:
        json.dump(dict(base=base, task=meta['task']), f, indent=1)
        f.write('\n')
    print(name, sorted(os.listdir(folder)))


if __name__ == '__main__':
    if sys.argv[1:2] == ['--load']:
        folder, base = sys.argv[2:]
        model, _ = base_model(base)
        name = model.load_adapter(folder, use_safetensors=True)
        model.set_active_adapters(name)
        print(json.dumps(logits_of(model, base).flatten().tolist()))
    else:
        for wanted in sys.argv[1:] or CASES:
            make(wanted)
