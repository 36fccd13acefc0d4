"""Makes adapters of embeddings, output layers and token rows with PEFT over the tiny checkpoints of ../models.

    python make_tables.py [CASE...]        torch 2.13.0, transformers 5.18.0, peft 0.21.0

tables/CASE/ holds what methods/CASE does (make_methods.py), with PEFT's own copies of base weights where it writes them.
PEFT merges a tied pair in place, both changes into one weight: how far that is off is printed, and nothing to hold to.
"""

import json
import os
import shutil
import sys
import warnings
import zlib

if os.environ.get('PYTHONHASHSEED') != '0':  # PEFT writes Python sets: their order follows the hash seed
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {'PYTHONHASHSEED': '0'})

import torch
import transformers
from peft import LoraConfig, PeftModel, TrainableTokensConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers.utils import logging

warnings.filterwarnings('ignore')
logging.set_verbosity_error()
logging.disable_progress_bar()
torch.set_num_threads(1)

HERE = os.path.dirname(os.path.abspath(__file__))
CLASS = dict(seq='SequenceClassification', lm='CausalLM', mlm='MaskedLM', s2s='Seq2SeqLM')
TASK = dict(seq='SEQ_CLS', lm='CAUSAL_LM', mlm=None, s2s='SEQ_2_SEQ_LM')
# peft 0.21 looks for a method that transformers 5 no longer has, and that generate() alone would call.
transformers.T5ForConditionalGeneration._prepare_encoder_decoder_kwargs_for_generation = None


def lora(base, **options):
    return dict(base=base, config=LoraConfig, options=dict(r=3, lora_alpha=5) | options)


def tokens(base, **options):
    return dict(base=base, config=TrainableTokensConfig, options=options)


CASES = {
    'embed-llama-tied': lora('llama-lm-tied', target_modules=['embed_tokens', 'q_proj']),
    'head-llama-tied': lora('llama-lm-tied', target_modules=['lm_head']),
    'both-llama-tied': lora('llama-lm-tied', target_modules=['embed_tokens', 'lm_head', 'v_proj'], use_rslora=True),
    'same-llama-tied': lora('llama-lm-tied', target_modules=['lm_head', 'v_proj'], ensure_weight_tying=True),
    'both-llama': lora('llama-lm', target_modules=['embed_tokens', 'lm_head']),
    'both-gpt2': lora('gpt2-lm', target_modules=['wte', 'lm_head', 'c_attn']),
    'tables-bert-seq': lora('bert-seq', target_modules=['word_embeddings', 'position_embeddings', 'query']),
    'head-bert-mlm': lora('bert-mlm', target_modules=['decoder', 'word_embeddings']),
    'embed-t5': lora('t5', target_modules=['embed_tokens', 'q']),
    'head-t5': lora('t5', target_modules=['lm_head']),
    'tokens-llama-tied': lora('llama-lm-tied', target_modules=['q_proj'], trainable_token_indices=[5, 1, 40]),
    'tokens-llama': lora(
        'llama-lm', target_modules=['q_proj'], trainable_token_indices=dict(embed_tokens=[5, 40], lm_head=[7])
    ),
    'tokens-llama-tied-apart': lora(
        'llama-lm-tied', target_modules=['q_proj'], trainable_token_indices=dict(embed_tokens=[5, 40], lm_head=[7])
    ),
    'tokens-t5': lora('t5', target_modules=['q'], trainable_token_indices=[5, 1, 40]),
    'rows-llama-tied': tokens('llama-lm-tied', token_indices=[5, 1, 40]),
    'rows-llama': tokens('llama-lm', token_indices=[5, 1, 40], target_modules=['embed_tokens', 'lm_head']),
    'rows-bert-seq': tokens('bert-seq', token_indices=[5, 1]),
    'rows-t5': tokens('t5', token_indices=[5, 1]),
}


def base_model(c, dtype=torch.float32):
    folder = next(f for f in (f"{HERE}/../{kind}/{c['base']}" for kind in ('models', 'seq2seq')) if os.path.isdir(f))
    meta = json.load(open(f'{folder}/meta.json', encoding='utf-8'))
    kind = getattr(transformers, 'AutoModelFor' + CLASS[meta['task']])
    return kind.from_pretrained(folder, dtype=dtype).eval(), meta, load_file(f'{folder}/io.safetensors')


def randomise(model):
    seen = set()
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad and p.data_ptr() not in seen:
                p.add_(torch.randn(p.shape).to(p.dtype) * 0.2)
                seen.add(p.data_ptr())


def clear(logits, given):
    if logits.dim() < 3:
        return logits
    mask = (given['labels'] >= 0) if logits.shape[1] != given['attention_mask'].shape[1] else given['attention_mask'].bool()
    return logits.where(mask[..., None], torch.zeros((), dtype=logits.dtype))


def key_of(parameter, saved):
    plain = parameter.replace('.modules_to_save.default', '').replace('.default', '')
    return next((key for key in (plain, plain.removesuffix('.weight')) if key in saved), None)


def make(name):
    c, folder = CASES[name], f'{HERE}/tables/{name}'
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(zlib.crc32(name.encode()))
    base, meta, given = base_model(c)
    model = get_peft_model(base, c['config'](task_type=TASK[meta['task']], **c['options'])).eval()
    randomise(model)
    model.peft_config['default'].base_model_name_or_path = c['base']
    model.save_pretrained(folder)
    os.remove(f'{folder}/README.md')
    saved = load_file(f'{folder}/adapter_model.safetensors')
    inputs = {k: given[k].long() for k in ('input_ids', 'attention_mask', 'token_type_ids', 'labels') if k in given}
    loaded = PeftModel.from_pretrained(base_model(c)[0], folder, is_trainable=True).eval().double()
    out = loaded(**inputs)
    out.loss.backward()
    tensors = dict(logits=clear(out.logits.detach(), inputs))
    for n, p in loaded.named_parameters():
        key = key_of(n, saved)
        if p.requires_grad and p.grad is not None and key:
            tensors['grad.' + key] = p.grad.clone()
    merged = loaded.merge_and_unload()
    found = clear(merged(**inputs).logits.detach(), inputs)
    difference = ((found - tensors['logits']).norm() / tensors['logits'].norm()).item()
    save_file({k: v.to(torch.float32).contiguous() for k, v in tensors.items()}, f'{folder}/io.safetensors')
    note = dict(base=c['base'], task=meta['task'], loss=out.loss.item())
    with open(f'{folder}/meta.json', 'w', encoding='utf-8') as f:
        json.dump(note, f, indent=1)
        f.write('\n')
    for file in os.listdir(folder):
        os.chmod(f'{folder}/{file}', 0o644)
    print(f'{name:24} loss {out.loss.item():.4f} merged differs by {difference:.1e}', len(saved), len(tensors))


if __name__ == '__main__':
    for wanted in sys.argv[1:] or CASES:
        make(wanted)
