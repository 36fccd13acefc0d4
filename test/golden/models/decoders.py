"""Makes the tiny decoders of this folder with what transformers computes from them.

    python decoders.py [CASE...]        torch 2.13.0, transformers 5.18.0, safetensors; layout in README.md

As make.py, for families with a causal language model: every weight matters, a case is saved, changed on disk where it
says so, loaded again as a user would, and run in float64. Labels of a language model are unshifted.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import torch
from safetensors.torch import load_file, save_file
from shared import CLASS, begin, change_json, difference, finish, label_names, save_io
from transformers import AutoConfig

HERE = os.path.dirname(os.path.abspath(__file__))
LENGTHS = [7, 11, 1]
COMMON = dict(vocab_size=61, max_position_embeddings=32, pad_token_id=0, bos_token_id=1, eos_token_id=2)
# Heads whose width is not hidden / heads, and fewer of keys and values.
GROUPED = COMMON | dict(
    hidden_size=24,
    intermediate_size=36,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
)
LLAMA3 = dict(
    rope_type='llama3',
    rope_theta=500000.0,
    factor=4.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=8,
)
GPT2 = dict(vocab_size=61, n_embd=24, n_layer=2, n_head=3, n_positions=32, bos_token_id=1, eos_token_id=[2, 3])
OPT = dict(
    vocab_size=61,
    hidden_size=24,
    ffn_dim=36,
    num_hidden_layers=2,
    num_attention_heads=3,
    max_position_embeddings=32,
    word_embed_proj_dim=24,
    pad_token_id=1,
)
NEOX = COMMON | dict(hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=3)

MODERN = COMMON | dict(
    hidden_size=24,
    intermediate_size=36,
    num_hidden_layers=4,
    num_attention_heads=3,
    local_attention=4,
    cls_token_id=1,
    sep_token_id=2,
)


def rope(**more):
    return dict(rope_parameters=dict(rope_theta=10000.0) | more)


CASES = {
    'llama-lm': dict(model='llama', config=GROUPED, notes='own lm_head, head_dim not hidden / heads, 2 of 4 heads'),
    'llama-lm-tied': dict(
        model='llama',
        config=GROUPED | dict(tie_word_embeddings=True, head_dim=None, attention_bias=True, mlp_bias=True),
        notes='tied, with every bias',
    ),
    'llama-lm-head-only': dict(
        model='llama',
        config=GROUPED | dict(tie_word_embeddings=True),
        only_head=True,
        notes='the file holds lm_head.weight and no embeddings',
    ),
    'llama-lm-linear': dict(model='llama', config=GROUPED | rope(rope_type='linear', factor=2.0), notes='rope linear'),
    'llama-lm-dynamic': dict(
        model='llama',
        config=GROUPED | dict(max_position_embeddings=8) | rope(rope_type='dynamic', factor=2.0),
        notes='rope dynamic, past the length the model knows',
    ),
    'llama-lm-llama3': dict(
        model='llama', config=GROUPED | dict(rope_parameters=LLAMA3), config4=True, notes='rope llama3, old spelling'
    ),
    'llama-lm-yarn': dict(
        model='llama',
        config=GROUPED | rope(rope_type='yarn', factor=4.0, original_max_position_embeddings=8),
        notes='rope yarn',
    ),
    'llama-lm-bf16': dict(model='llama', config=GROUPED, dtype=torch.bfloat16, shard='8KB', notes='bf16 shards'),
    'llama-seq': dict(model='llama', task='seq', labels=3, config=GROUPED, notes='from the last token'),
    'llama-tok': dict(model='llama', task='tok', labels=4, config=GROUPED, notes='a class for each token'),
    'mistral-lm': dict(model='mistral', config=GROUPED | dict(sliding_window=4), notes='a window of 4 tokens'),
    'qwen2-lm': dict(model='qwen2', config=GROUPED, drop=['head_dim'], notes='biases of query, key, value'),
    'qwen2-lm-window': dict(
        model='qwen2',
        config=GROUPED | dict(use_sliding_window=True, sliding_window=3, max_window_layers=1),
        drop=['head_dim'],
        notes='a window in the second layer',
    ),
    'qwen3-lm': dict(model='qwen3', config=GROUPED, notes='norms of heads'),
    'gemma-lm': dict(model='gemma', config=GROUPED, notes='norms about 1, scaled embeddings'),
    'gemma2-lm': dict(
        model='gemma2',
        config=GROUPED | dict(sliding_window=4, query_pre_attn_scalar=5, attn_logit_softcapping=2.0),
        notes='bounded scores and logits, a window in the first layer',
    ),
    'gemma3-lm': dict(
        model='gemma3_text',
        config=GROUPED
        | dict(
            num_hidden_layers=3,
            sliding_window=4,
            query_pre_attn_scalar=5,
            attn_logit_softcapping=2.0,
            layer_types=['sliding_attention', 'full_attention', 'sliding_attention'],
            rope_parameters=dict(
                full_attention=dict(rope_type='linear', factor=4.0, rope_theta=1e6),
                sliding_attention=dict(rope_type='default', rope_theta=1e4),
            ),
        ),
        notes='two ropes, norms of heads; a bound of scores that transformers does not apply',
    ),
    'phi3-lm': dict(
        model='phi3', config=GROUPED, drop=['head_dim'], notes='fused layers; half of a head turns', rope_share=1.0
    ),
    'phi3-lm-longrope': dict(
        model='phi3',
        config=GROUPED
        | dict(
            hidden_size=32,
            original_max_position_embeddings=8,
            rope_parameters=dict(
                rope_type='longrope',
                rope_theta=10000.0,
                partial_rotary_factor=1.0,
                original_max_position_embeddings=8,
                short_factor=[1.0, 1.1, 1.2, 1.3],
                long_factor=[1.5, 2.0, 3.0, 4.0],
            ),
        ),
        drop=['head_dim'],
        notes='longrope, past the original length',
    ),
    'gpt2-lm': dict(model='gpt2', config=GPT2, notes='transposed layers, a list of end tokens'),
    'gpt2-lm-scales': dict(
        model='gpt2',
        config=GPT2 | dict(scale_attn_by_inverse_layer_idx=True, n_inner=30, activation_function='relu'),
        notes='scores scaled by layer',
    ),
    'gpt2-seq': dict(model='gpt2', task='seq', labels=3, config=GPT2 | dict(pad_token_id=0), notes='from the last token'),
    'opt-lm': dict(model='opt', config=OPT, notes='positions begin at 2'),
    'opt-lm-post': dict(
        model='opt',
        config=OPT | dict(do_layer_norm_before=False, word_embed_proj_dim=16),
        notes='norms after the sublayers, projected embeddings (OPT 350M)',
    ),
    'modernbert-mlm': dict(
        model='modernbert', task='mlm', config=MODERN, notes='two layers with a window, two ropes'
    ),
    'modernbert-tok': dict(
        model='modernbert',
        task='tok',
        labels=4,
        config=MODERN | dict(norm_bias=True, attention_bias=True, mlp_bias=True, classifier_bias=True),
        notes='every bias',
    ),
    'modernbert-seq': dict(model='modernbert', task='seq', labels=3, config=MODERN, notes='from the first token'),
    'neox-lm': dict(model='gpt_neox', config=NEOX | rope(partial_rotary_factor=0.5), notes='half of a head turns'),
    'neox-lm-serial': dict(
        model='gpt_neox',
        config=NEOX | dict(use_parallel_residual=False, attention_bias=False) | rope(partial_rotary_factor=1.0),
        notes='one sublayer after the other',
    ),
}


def randomise(model):
    about_one = 0.0 if model.config.model_type.startswith('gemma') else 1.0
    with torch.no_grad():
        for name, p in model.named_parameters():
            if 'norm' in name or 'ln_' in name:
                p.normal_(about_one if name.endswith('weight') else 0.0, 0.2)
            elif p.dim() == 1:
                p.normal_(0, 0.2)
            elif any(part in name for part in ('embed', 'wte', 'wpe')):
                p.normal_(0, 0.5)
            else:
                p.normal_(0, 24**-0.5)


def respell(path):
    """config.json as transformers 4 wrote it: rope_theta and rope_scaling, torch_dtype."""

    def older(config):
        config['torch_dtype'] = config.pop('dtype')
        scaling = config.pop('rope_parameters')
        config['rope_theta'] = scaling.pop('rope_theta')
        config['rope_scaling'] = scaling
        config['transformers_version'] = '4.57.6'
        return config

    change_json(path, older)


def save(c, folder):
    extra = {} if c['task'] in ('lm', 'mlm') else label_names(c['labels'])
    given = {k: v for k, v in (c['config'] | extra).items() if k not in c.get('drop', [])}
    model = CLASS[c['task']].from_config(AutoConfig.for_model(c['model'], **given))
    randomise(model)
    model.tie_weights()
    model.to(c.get('dtype', torch.float32)).save_pretrained(folder, max_shard_size=c.get('shard', '5GB'))
    if c.get('only_head'):
        path = f'{folder}/model.safetensors'
        tensors = load_file(path)
        tensors['lm_head.weight'] = tensors.pop('model.embed_tokens.weight')
        save_file(tensors, path, metadata={'format': 'pt'})
    if c.get('config4'):
        respell(f'{folder}/config.json')


def inputs(c):
    width = max(LENGTHS)
    mask = torch.tensor([[1] * n + [0] * (width - n) for n in LENGTHS])
    pad = c['config'].get('pad_token_id', 0)
    out = dict(input_ids=torch.randint(4, 61, mask.shape).where(mask.bool(), torch.tensor(pad)), attention_mask=mask)
    if c['task'] == 'seq':
        out['labels'] = torch.randint(0, c['labels'], (len(LENGTHS),))
        return out
    classes = 61 if c['task'] in ('lm', 'mlm') else c['labels']
    keep = mask.bool() & (torch.rand(mask.shape) < 0.7)
    keep[1, 2] = True
    out['labels'] = torch.randint(0, classes, mask.shape).where(keep, torch.tensor(-100))
    return out


def run(model, given, dtype, attention):
    model.to(dtype).set_attn_implementation(attention)
    model.zero_grad()
    base = getattr(model, model.base_model_prefix)
    if model.config.model_type == 'modernbert' or model.config.to_dict().get('sliding_window'):
        got, loss = run_apart(model, base, given)
    else:
        ids = {k: v for k, v in given.items() if k != 'labels'}
        seen = base(**ids, output_hidden_states=True)
        out = model(**given)
        loss = out.loss
        got = {f'hidden.{i}': h for i, h in enumerate(seen.hidden_states)} | dict(logits=out.logits)
    loss.backward()
    valid = given['attention_mask'].bool()
    rows = lambda x: x.detach().where(valid.view(*valid.shape, *[1] * (x.dim() - 2)), torch.zeros((), dtype=x.dtype))
    got = {k: rows(v) if v.dim() == 3 else v.detach() for k, v in got.items()}
    grads = {n: p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None}
    return got, loss.item(), grads


def run_apart(model, base, given):
    """Row by row: behind a window, padding sees nothing but padding, and eager attention makes that NaN."""
    parts, losses, count, width = [], [], 0, max(LENGTHS)
    for ids, labels, n in zip(given['input_ids'], given['labels'], LENGTHS):
        seen = base(input_ids=ids[None, :n], output_hidden_states=True)
        part = {f'hidden.{i}': h for i, h in enumerate(seen.hidden_states)}
        part['logits'] = model(input_ids=ids[None, :n]).logits
        logits, wanted = part['logits'][0], labels[None] if labels.dim() == 0 else labels[:n]
        if type(model).__name__.endswith('CausalLM'):
            logits, wanted = logits[:-1], wanted[1:]
        elif labels.dim() == 0:
            logits = part['logits']
        if (wanted != -100).any():
            losses.append(torch.nn.functional.cross_entropy(logits, wanted, reduction='sum'))
            count += (wanted != -100).sum()
        pad = lambda v: torch.nn.functional.pad(v, (0, 0, 0, width - n)) if v.dim() == 3 else v
        parts.append({k: pad(v) for k, v in part.items()})
    return {k: torch.cat([part[k] for part in parts]) for k in parts[0]}, sum(losses) / count


def expected(model, given):
    got, loss, grads = run(model, given, torch.float64, 'eager')
    other, other_loss, other_grads = run(model, given, torch.float32, 'eager')
    used = {k: v for k, v in grads.items() if 'k_proj.bias' not in k}  # zero but for rounding
    worst = max(difference(other, got), abs(other_loss - loss) / abs(loss), 0.1 * difference(other_grads, used))
    assert worst < 5e-5, worst
    return got, loss, grads


def make(name):
    c, folder = dict(task='lm') | CASES[name], f'{HERE}/{name}'
    begin(folder)
    save(c, folder)
    model, info = CLASS[c['task']].from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if c.get('only_head'):  # transformers takes the head for the embeddings only while saving
        with torch.no_grad():
            model.model.embed_tokens.weight.copy_(load_file(f'{folder}/model.safetensors')['lm_head.weight'])
    else:
        assert not info['missing_keys'] and not info['mismatched_keys'], info
    model.eval()
    given = inputs(c)
    got, loss, grads = expected(model, given)
    tensors = {k: v.int() for k, v in given.items()} | got
    for n, g in grads.items():
        if 'k_proj.bias' in n:
            continue
        if c['model'] == 'gpt_neox':
            n = n.replace('lm_head', 'embed_out')  # its name in files
        if any(part in n for part in ('embed_tokens', 'wte', 'wpe', 'embed_in', 'embed_positions', 'lm_head', 'embed_out')):
            tensors[f'grad_rows.{n}'] = g @ torch.arange(g.shape[1], dtype=g.dtype).cos()
        else:
            tensors[f'grad.{n}'] = g
    save_io(folder, tensors)
    meta = dict(
        family=c['model'],
        task=c['task'],
        problem=None,
        labels=c.get('labels'),
        loss=loss,
        lengths=LENGTHS,
        notes=c['notes'],
        missing=[],
        unexpected=[],
        config='transformers 4' if c.get('config4') else 'transformers 5',
    )
    if os.path.exists(f'{folder}/generation_config.json'):
        os.remove(f'{folder}/generation_config.json')
    size = finish(folder, meta)
    print(f'{name:24} loss {loss:.6f}  {size} kB')


if __name__ == '__main__':
    for wanted_case in sys.argv[1:] or CASES:
        make(wanted_case)
