"""What the scripts of the folders beside this one share: a quiet PyTorch of one thread, and how files are written."""

import json
import os
import shutil
import sys
import warnings
import zlib

if os.environ.get('PYTHONHASHSEED') != '0':  # PEFT writes Python sets: their order follows the hash seed
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {'PYTHONHASHSEED': '0'})

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from transformers.utils import logging

warnings.filterwarnings('ignore')
logging.set_verbosity_error()
logging.disable_progress_bar()
torch.set_num_threads(1)

MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../models')
SEQ2SEQ = os.path.join(MODELS, '../seq2seq')
CLASS = dict(
    lm=AutoModelForCausalLM,
    mlm=AutoModelForMaskedLM,
    s2s=AutoModelForSeq2SeqLM,
    seq=AutoModelForSequenceClassification,
    tok=AutoModelForTokenClassification,
)
TASK = dict(lm='CAUSAL_LM', mlm=None, s2s='SEQ_2_SEQ_LM', seq='SEQ_CLS', tok='TOKEN_CLS')  # PEFT's names


def read_json(path):
    with open(path, encoding='utf-8') as f:
        return json.load(f)


def write_json(path, value, end='\n', **layout):
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(value, f, **layout)
        f.write(end)


def change_json(path, how, end='\n'):
    """Rewrites a config.json; those of PEFT end without a line feed."""
    write_json(path, how(read_json(path)), end, indent=2, sort_keys=True)


def folder_of(base):
    """One of the checkpoints of seq2seq/ or models/."""
    return next(f'{root}/{base}' for root in (SEQ2SEQ, MODELS) if os.path.isdir(f'{root}/{base}'))


def base_model(base, dtype=None):
    """The model of a checkpoint, and its meta.json."""
    meta = read_json(f'{folder_of(base)}/meta.json')
    options = dict(dtype=dtype) if dtype else {}
    return CLASS[meta['task']].from_pretrained(folder_of(base), **options).eval(), meta


def given_of(base):
    """What the checkpoint was run on."""
    return {
        k: v.long() if not v.is_floating_point() else v
        for k, v in load_file(f'{folder_of(base)}/io.safetensors').items()
        if k in ('input_ids', 'attention_mask', 'token_type_ids', 'labels')
    }


def wide(given):
    return {k: v.to(torch.float64) if v.is_floating_point() else v for k, v in given.items()}


def clear(logits, given):
    """Logits with those of padding zero."""
    mask = given['attention_mask'].bool()
    return logits.where(mask[..., None], torch.zeros((), dtype=logits.dtype)) if logits.dim() == 3 else logits


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


def difference(a, b):
    """The largest, of tensors by name, over the largest value of each."""
    return max(((a[k] - b[k]).abs().max() / b[k].abs().max().clamp_min(1e-6)).item() for k in b)


def label_names(count):
    names = [f'label-{i}' for i in range(count)]
    return dict(id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)})


def begin(folder):
    """An empty place for a case; what is drawn from here on follows from its name."""
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(zlib.crc32(os.path.basename(folder).encode()))


def save_io(folder, tensors):
    stored = {k: (v.to(torch.float32) if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}
    save_file(stored, f'{folder}/io.safetensors')


def finish(folder, meta):
    """Writes meta.json. The size of the case in kB."""
    write_json(f'{folder}/meta.json', meta, indent=1)
    files = [os.path.join(root, file) for root, _, files in os.walk(folder) for file in files]
    for file in files:
        os.chmod(file, 0o644)  # safetensors creates its files with mode 0600
    return sum(map(os.path.getsize, files)) // 1024
