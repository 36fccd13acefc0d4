"""Makes adapters of embeddings, output layers and token rows with PEFT over the tiny checkpoints of ../models.

    python make_tables.py [CASE...]        torch 2.13.0, transformers 5.18.0, peft 0.21.0

tables/CASE/ holds what methods/CASE does (make_methods.py), with PEFT's own copies of base weights where it writes them.
PEFT merges a tied pair in place, both changes into one weight: how far that is off is printed, and nothing to hold to.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import torch
import transformers
from peft import LoraConfig, PeftModel, TrainableTokensConfig, get_peft_model
from safetensors.torch import load_file
from shared import TASK, base_model, begin, clear, finish, given_of, relative, save_io

HERE = os.path.dirname(os.path.abspath(__file__))
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


def randomise(model):
    seen = set()
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad and p.data_ptr() not in seen:
                p.add_(torch.randn(p.shape).to(p.dtype) * 0.2)
                seen.add(p.data_ptr())


def shown(logits, given):
    """Logits with those of padding zero; an encoder-decoder says as much as it has labels."""
    rows = given['attention_mask']
    if logits.dim() == 3 and logits.shape[1] != rows.shape[1]:
        rows = given['labels'] >= 0
    return clear(logits, dict(attention_mask=rows))


def key_of(parameter, saved):
    plain = parameter.replace('.modules_to_save.default', '').replace('.default', '')
    return next((key for key in (plain, plain.removesuffix('.weight')) if key in saved), None)


def make(name):
    c, folder = CASES[name], f'{HERE}/tables/{name}'
    begin(folder)
    base, meta = base_model(c['base'], torch.float32)
    model = get_peft_model(base, c['config'](task_type=TASK[meta['task']], **c['options'])).eval()
    randomise(model)
    model.peft_config['default'].base_model_name_or_path = c['base']
    model.save_pretrained(folder)
    os.remove(f'{folder}/README.md')
    saved = load_file(f'{folder}/adapter_model.safetensors')
    given = given_of(c['base'])
    fresh, _ = base_model(c['base'], torch.float32)
    loaded = PeftModel.from_pretrained(fresh, folder, is_trainable=True).eval().double()
    out = loaded(**given)
    out.loss.backward()
    tensors = dict(logits=shown(out.logits.detach(), given))
    for n, p in loaded.named_parameters():
        key = key_of(n, saved)
        if p.requires_grad and p.grad is not None and key:
            tensors['grad.' + key] = p.grad.clone()
    merged = loaded.merge_and_unload()
    apart = relative(shown(merged(**given).logits.detach(), given), tensors['logits'])
    save_io(folder, tensors)
    loss = out.loss.item()
    size = finish(folder, dict(base=c['base'], task=meta['task'], loss=loss))
    print(f'{name:24} loss {loss:.4f} merged differs by {apart:.1e} {size} kB', len(saved), len(tensors))


if __name__ == '__main__':
    for wanted in sys.argv[1:] or CASES:
        make(wanted)
