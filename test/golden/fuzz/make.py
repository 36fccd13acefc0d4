"""Draws random configurations of BERT, RoBERTa and DistilBERT and writes what transformers computes from each.

    python make.py OUT SEED...        torch 2.13.0, transformers 5.18.0; layout in ../models/README.md

One seed, one case: shapes, activation, ids, dtypes, spellings and files are drawn; weights come from ../models/make.py. Unlike
there every gradient is stored (`grad.NAME`), also that of an embedding table.
"""

import os
import random
import shutil
import sys

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
sys.path[:0] = [f'{GOLDEN}/models', f'{GOLDEN}/python']

import torch
import transformers
from make import CLASS, CONFIG, randomise, respell
from safetensors.torch import load_file, save_file
from shared import change_json, finish, save_io, write_json
from transformers import BertForPreTraining

OTHER = dict(bert='Bert', roberta='Roberta', distilbert='DistilBert')
MULTI = 'multi_label_classification'
ACTIVATIONS = (
    'gelu gelu_new gelu_fast gelu_python gelu_pytorch_tanh gelu_python_tanh gelu_accurate quick_gelu relu relu2 silu swish '
    'tanh linear'
).split()


def draw(seed):
    r = random.Random(seed)
    family = r.choice(['bert', 'roberta', 'distilbert'])
    task = r.choice(['seq', 'seq', 'tok', 'mlm'])
    heads = r.choice([1, 2, 3, 4, 5])
    hidden = heads * r.choice([2, 3, 4, 5, 7, 8, 11, 16, 17])
    layers = r.choice([1, 1, 2, 3])
    vocab = r.randint(12, 60)
    pad = r.choice([0, 1, 2, 3, 5, 9]) if family == 'roberta' else r.choice([0, 0, 1, 4, vocab - 1, None])
    longest = r.choice([1, 2, 5, 9, 17, 33])
    positions = longest + (pad + 1 if family == 'roberta' else 0) + r.choice([0, 0, 1, 7])
    act = r.choice(ACTIVATIONS)
    p = lambda: r.choice([0.0, 0.001, 0.1, 0.5])
    if family == 'distilbert':
        config = dict(dim=hidden, n_heads=heads, n_layers=layers, hidden_dim=r.randint(1, 70), activation=act)
        config |= dict(sinusoidal_pos_embds=r.random() < 0.3, dropout=p(), attention_dropout=p())
        config |= dict(seq_classif_dropout=p())
    else:
        config = dict(hidden_size=hidden, num_attention_heads=heads, num_hidden_layers=layers, hidden_act=act)
        config |= dict(intermediate_size=r.randint(1, 70), type_vocab_size=r.choice([1, 2, 3, 4]))
        config |= dict(layer_norm_eps=r.choice([1e-12, 1e-7, 1e-5, 1e-3, 0.5]))
        config |= dict(classifier_dropout=r.choice([None, 0, 0.3]))
        config |= dict(hidden_dropout_prob=p(), attention_probs_dropout_prob=p())
        config |= dict(chunk_size_feed_forward=r.choice([0, 1]))
    config |= dict(vocab_size=vocab, pad_token_id=pad, max_position_embeddings=positions)
    config |= dict(tie_word_embeddings=r.random() < 0.6, initializer_range=r.choice([0.02, 0.5]))
    problem = r.choice([None, None, MULTI, 'regression', 'single_label_classification']) if task == 'seq' else None
    labels = r.choice([1, 1, 2, 2, 3, 7, 20]) if problem == 'regression' else r.choice([2, 2, 3, 5, 20])
    c = dict(family=family, task=task, config=config, problem=problem, labels=labels, longest=longest, seed=seed)
    if task == 'seq' and problem is None and r.random() < 0.2:
        c['labels'] = 1  # transformers: one label and no problem_type is regression
    saved = r.choice(['same', 'same', 'same', 'base', 'mlm', 'seq', 'tok', 'QuestionAnswering', 'pretraining'])
    c['saved'] = task if saved == 'same' or family != 'bert' and saved == 'pretraining' else saved
    c['dtype'] = r.choice(['float32', 'float32', 'bfloat16', 'float16', 'float64'])
    c['spelling'] = r.choice(['5', '5', '4', 'no dtype', 'both'])
    c['shard'] = r.choice([None, None, 3000])
    c['gamma'], c['position_ids'] = r.random() < 0.25, r.random() < 0.25
    c['decoder'] = r.choice([None, 'copy', 'bias only', 'other'])
    c['rows'] = r.choice([1, 2, 3, 6])
    return c


def save(c, folder):
    """The checkpoint as save_pretrained writes it, then changed on disk as drawn."""
    classes = CLASS[c['family']] | dict(pretraining=BertForPreTraining)
    name = f"{OTHER[c['family']]}For{c['saved']}"
    cls = classes.get(c['saved']) or getattr(transformers, name)
    names = dict(num_labels=c['labels']) if c['saved'] == c['task'] or c['task'] == 'mlm' else {}
    model = cls(CONFIG[c['family']](**c['config'], **names, **(dict(problem_type=c['problem']) if c['problem'] else {})))
    randomise(model)
    model.tie_weights()
    model.to(getattr(torch, c['dtype'])).save_pretrained(folder)
    edit(c, folder, model)
    path = f'{folder}/config.json'
    if c['spelling'] == '4':
        tie = c['config']['tie_word_embeddings']
        respell(path, c['family'])
        change_json(path, lambda config: config | (dict() if tie else dict(tie_word_embeddings=False)))
    if c['spelling'] == 'no dtype':
        change_json(path, lambda config: {k: v for k, v in config.items() if k != 'dtype'})
    if c['spelling'] == 'both':
        change_json(path, lambda config: config | dict(torch_dtype=config['dtype'], unknown_key={'a': [1, None]}))


def edit(c, folder, model):
    """Old names, buffers, decoders that are also in the file, shards."""
    path = f'{folder}/model.safetensors'
    tensors = {k: v.clone() for k, v in load_file(path).items()}
    prefix = '' if c['saved'] == 'base' else f"{c['family']}."
    if c['saved'] in ('mlm', 'pretraining'):
        decoders = dict(bert=('cls.predictions.decoder', 'cls.predictions.bias'), distilbert=('vocab_projector', None))
        at, bias = decoders.get(c['family'], ('lm_head.decoder', 'lm_head.bias'))
        words = tensors[f'{prefix}embeddings.word_embeddings.weight']
        if c['decoder'] in ('copy', 'other'):
            tensors[f'{at}.weight'] = words.clone() if c['decoder'] == 'copy' else words * 0.5 + 0.1
            if bias:
                tensors[f'{at}.bias'] = tensors[bias].clone()
        if c['decoder'] == 'bias only' and bias and c['config']['tie_word_embeddings']:
            tensors[f'{at}.bias'] = tensors.pop(bias)
    if c['gamma']:
        old = lambda k: k.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')
        tensors = {old(k): v for k, v in tensors.items()}
    if c['position_ids']:
        tensors[f'{prefix}embeddings.position_ids'] = torch.arange(c['config']['max_position_embeddings'])[None]
    os.remove(path)
    if not c['shard']:
        return save_file(tensors, path, metadata={'format': 'pt'})
    order, half = sorted(tensors), len(tensors) // 2
    parts = [order[:half], order[half:]]
    files = [f'model-0000{i + 1}-of-00002.safetensors' for i in range(2)]
    for file, part in zip(files, parts):
        save_file({k: tensors[k] for k in part}, f'{folder}/{file}', metadata={'format': 'pt'})
    size = sum(v.numel() * v.element_size() for v in tensors.values())
    where = {k: file for file, part in zip(files, parts) for k in part}
    index = dict(metadata=dict(total_size=size), weight_map=where)
    write_json(f'{folder}/model.safetensors.index.json', index, end='')


def inputs(c, config):
    r, vocab, pad = random.Random(c['seed'] + 1), config.vocab_size, config.pad_token_id
    lengths = [c['longest']] + [r.choice([1, 1, r.randint(1, c['longest'])]) for _ in range(c['rows'] - 1)]
    r.shuffle(lengths)
    width = max(lengths)
    ids = torch.randint(0, vocab, (len(lengths), width))  # the pad id too, attended to
    mask = torch.tensor([[1] * n + [0] * (width - n) for n in lengths])
    out = dict(input_ids=ids.where(mask.bool(), torch.tensor(pad or 0)), attention_mask=mask)
    if getattr(config, 'type_vocab_size', 0) > 1:
        out['token_type_ids'] = torch.randint(0, config.type_vocab_size, ids.shape) * mask
    rows, classes = len(lengths), c['labels']
    if c['task'] == 'seq':
        if c['problem'] == 'regression' or c['labels'] == 1 and not c['problem']:
            labels = torch.randn(rows, classes) if classes > 1 else torch.randn(rows)
        elif c['problem'] == MULTI:
            labels = torch.randint(0, 2, (rows, classes)).float()
        else:
            labels = torch.randint(0, classes, (rows,))
            if rows > 2:
                labels[0] = -100
    else:
        classes = vocab if c['task'] == 'mlm' else classes
        keep = mask.bool() & (torch.rand(rows, width) < 0.5)
        keep[lengths.index(width), 0] = True
        labels = torch.randint(0, classes, (rows, width)).where(keep, torch.tensor(-100))
    return out | dict(labels=labels), lengths


def run(model, given):
    model.double().set_attn_implementation('eager')
    base = getattr(model, model.base_model_prefix)
    floats = {k: v.double() if v.is_floating_point() else v for k, v in given.items()}
    seen = base(**{k: v for k, v in floats.items() if k != 'labels'}, output_hidden_states=True)
    out = model(**floats)
    out.loss.backward()
    got = {f'hidden.{i}': h.detach() for i, h in enumerate(seen.hidden_states)} | dict(logits=out.logits.detach())
    return got, out.loss.item(), {f'grad.{n}': p.grad for n, p in model.named_parameters() if p.grad is not None}


def make(seed, out, name):
    c, folder = draw(seed), f'{out}/{name}'
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(seed)
    save(c, folder)
    missing_names = c['saved'] != c['task']
    more = dict(num_labels=c['labels']) if missing_names and c['task'] != 'mlm' else {}
    more |= dict(problem_type=c['problem']) if c['problem'] and missing_names else {}
    cls = CLASS[c['family']][c['task']]
    model, info = cls.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **more)
    assert not info['mismatched_keys'], info
    extra = {}
    with torch.no_grad():
        for n, p in model.named_parameters():
            if n in info['missing_keys']:
                p.normal_(0, p.shape[-1] ** -0.5)
                extra[n] = p.detach().clone()
    given, lengths = inputs(c, model.config)
    got, loss, grads = run(model.eval(), given)
    extra = {n: p for n, p in extra.items() if f'grad.{n}' in grads}  # an untied BERT has a bias that nothing reads
    tensors = {k: v.int() if not v.is_floating_point() else v for k, v in given.items()} | got | grads
    save_io(folder, tensors)
    if extra:
        save_file(extra, f'{folder}/extra.safetensors')
    meta = dict(task=c['task'], problem=c['problem'], labels=c['labels'] if more else None, loss=loss, lengths=lengths)
    meta |= dict(missing=sorted(extra), unexpected=sorted(info['unexpected_keys']), drawn=c)
    size = finish(folder, meta)
    print(f"{name} {c['family']} {c['task']} from {c['saved']} loss {loss:.5f} {size} kB missing {len(extra)}")


if __name__ == '__main__':
    for wanted in sys.argv[2:]:
        make(int(wanted), sys.argv[1], f'case-{int(wanted):03d}')
