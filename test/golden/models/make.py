"""Makes the tiny BERT, RoBERTa and DistilBERT checkpoints of this folder with what transformers computes from them.

    python make.py [CASE...]        torch 2.13.0, transformers 5.18.0, safetensors; layout in README.md

Weights are random but of a size at which every one matters: matrices normal(0, 1/sqrt(in)), embeddings normal(0,
0.5), biases and norms away from 0 and 1. A case is saved, changed on disk where it says so, loaded again as a user
would, and run in float64.
"""

import os
import sys
from types import SimpleNamespace

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import torch
from safetensors.torch import load_file, save_file
from shared import begin, change_json, difference, finish, label_names, save_io
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForQuestionAnswering,
    ElectraForSequenceClassification,
    ElectraForTokenClassification,
    ElectraModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaForQuestionAnswering,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
    XLMRobertaModel,
)

from cases import CASES

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = dict(bert=BertConfig, roberta=RobertaConfig, distilbert=DistilBertConfig)
CONFIG |= dict(xlm_roberta=XLMRobertaConfig, electra=ElectraConfig)
CLASS = dict(
    electra=dict(
        base=ElectraModel,
        seq=ElectraForSequenceClassification,
        tok=ElectraForTokenClassification,
        mlm=ElectraForMaskedLM,
        qa=ElectraForQuestionAnswering,
    ),
    xlm_roberta=dict(
        base=XLMRobertaModel,
        seq=XLMRobertaForSequenceClassification,
        tok=XLMRobertaForTokenClassification,
        mlm=XLMRobertaForMaskedLM,
        qa=XLMRobertaForQuestionAnswering,
    ),
    bert=dict(
        base=BertModel,
        seq=BertForSequenceClassification,
        tok=BertForTokenClassification,
        mlm=BertForMaskedLM,
        qa=BertForQuestionAnswering,
    ),
    roberta=dict(
        base=RobertaModel,
        seq=RobertaForSequenceClassification,
        tok=RobertaForTokenClassification,
        mlm=RobertaForMaskedLM,
        qa=RobertaForQuestionAnswering,
    ),
    distilbert=dict(
        base=DistilBertModel,
        seq=DistilBertForSequenceClassification,
        tok=DistilBertForTokenClassification,
        mlm=DistilBertForMaskedLM,
        qa=DistilBertForQuestionAnswering,
    ),
)
LENGTHS = [7, 11, 1]
# A gradient that is zero but for rounding: what a softmax does not feel, such as the bias of keys.
ZERO = 1e-12


def randomise(model):
    sinusoids = getattr(model.config, 'sinusoidal_pos_embds', False)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if 'LayerNorm' in name or 'layer_norm' in name:
                p.normal_(1.0 if name.endswith('weight') else 0.0, 0.2)
            elif p.dim() == 1:
                p.normal_(0, 0.2)
            elif 'embeddings' in name:
                if not (sinusoids and 'position' in name):
                    p.normal_(0, 0.5)
            else:
                p.normal_(0, p.shape[-1] ** -0.5)


def save(c, folder):
    """The checkpoint as save_pretrained writes it, then changed on disk where the case says so."""
    extra = {} if c['task'] in ('mlm', 'qa') else label_names(c['labels'])
    if c.get('problem'):
        extra['problem_type'] = c['problem']
    model = CLASS[c['family']][c.get('saved', c['task'])](CONFIG[c['family']](**c['config'], **extra))
    randomise(model)
    model.tie_weights()
    model.to(c.get('dtype', torch.float32)).save_pretrained(folder, max_shard_size=c.get('shard', '5GB'))
    if c.get('gamma_beta') or c.get('position_ids'):
        path = f'{folder}/model.safetensors'
        tensors = load_file(path)
        if c.get('gamma_beta'):
            tensors = {
                k.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta'): v
                for k, v in tensors.items()
            }
        tensors[c['position_ids']] = torch.arange(model.config.max_position_embeddings)[None]
        save_file(tensors, path, metadata={'format': 'pt'})
    if c.get('config4'):
        respell(f'{folder}/config.json', c['family'])


def respell(path, family):
    """config.json as transformers 4 wrote it (before 4.57): torch_dtype, and keys that 5 has dropped."""

    def older(config):
        config['torch_dtype'] = config.pop('dtype')
        for key in ('add_cross_attention', 'is_decoder', 'tie_word_embeddings', 'bos_token_id', 'eos_token_id'):
            if config.get(key) in (None, False) or key == 'tie_word_embeddings':
                config.pop(key, None)
        config |= dict(_name_or_path='somewhere/local', transformers_version='4.30.2')
        config |= (
            dict(tie_weights_=True)
            if family == 'distilbert'
            else dict(position_embedding_type='absolute', gradient_checkpointing=False)
        )
        return config

    change_json(path, older)


def inputs(c, config):
    width, pad = max(LENGTHS), config.pad_token_id
    ids = torch.randint(3, config.vocab_size, (len(LENGTHS), width))
    if c.get('pad_inside'):
        ids[0, 4] = ids[1, 7] = pad
    mask = torch.tensor([[1] * n + [0] * (width - n) for n in LENGTHS])
    out = dict(input_ids=ids.where(mask.bool(), torch.tensor(pad)), attention_mask=mask)
    if getattr(config, 'type_vocab_size', 0) > 1:
        out['token_type_ids'] = torch.stack([(torch.arange(width) >= n // 2).long() for n in LENGTHS]) * mask
    out['labels'] = labels(c, config, mask)
    return out


def labels(c, config, mask):
    rows, width = mask.shape
    if c['task'] == 'qa':
        return torch.tensor([[n // 3, n // 2] for n in LENGTHS])
    if c['task'] == 'seq':
        if c.get('problem') == 'regression':
            return torch.randn(rows)
        if c.get('problem') == 'multi_label_classification':
            return torch.randint(0, 2, (rows, c['labels'])).float()
        return torch.randint(0, c['labels'], (rows,))
    classes, share = (config.vocab_size, 0.3) if c['task'] == 'mlm' else (c['labels'], 0.7)
    keep = mask.bool() & (torch.rand(rows, width) < share)
    keep[1, 2] = True
    return torch.randint(0, classes, (rows, width)).where(keep, torch.tensor(-100))


def spans(model, given):
    """Start and end logits side by side; the loss is that of each row alone, since transformers lets padding into it."""
    unlabelled = {k: v for k, v in given.items() if k != 'labels'}
    whole, losses = model(**unlabelled), []
    for i, n in enumerate(LENGTHS):
        start, end = given['labels'][i : i + 1].unbind(-1)
        row = {k: v[i : i + 1, :n] for k, v in unlabelled.items()}
        losses.append(model(**row, start_positions=start, end_positions=end).loss)
    logits = torch.stack((whole.start_logits, whole.end_logits), -1)
    return SimpleNamespace(logits=logits, loss=torch.stack(losses).mean())


def run(model, given, dtype, attention):
    """Hidden states, pooled output, logits, loss, gradients; in `dtype` with the named attention."""
    model.to(dtype).set_attn_implementation(attention)
    model.zero_grad()
    base = getattr(model, model.base_model_prefix)
    floats = {k: v.to(dtype) if v.is_floating_point() else v for k, v in given.items()}
    seen = base(**{k: v for k, v in floats.items() if k != 'labels'}, output_hidden_states=True)
    out = spans(model, floats) if hasattr(model, 'qa_outputs') else model(**floats)
    out.loss.backward()
    valid = given['attention_mask'].bool()
    rows = lambda x: x.detach().where(valid.view(*valid.shape, *[1] * (x.dim() - 2)), torch.zeros((), dtype=x.dtype))
    got = {f'hidden.{i}': rows(h) for i, h in enumerate(seen.hidden_states)}
    if getattr(seen, 'pooler_output', None) is not None:
        got['pooled'] = seen.pooler_output.detach()
    got['logits'] = (
        rows(out.logits) if out.logits.shape[:2] == valid.shape and out.logits.dim() == 3 else out.logits.detach()
    )
    grads = {n: p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None}
    return got, out.loss.item(), grads


def wanted(name, layers):
    """Gradients worth storing: head, embeddings (one number a row), first query, last feed-forward, some norms."""
    first, last = '.layer.0.', f'.layer.{layers - 1}.'
    if '.embeddings.' in name:
        return True
    if '.layer.' not in name:
        return True
    if first in name and ('query' in name or 'q_lin' in name or 'value.bias' in name or 'v_lin.bias' in name):
        return True
    return last in name and (
        'LayerNorm' in name or 'layer_norm' in name or 'intermediate.dense.bias' in name or 'lin1.bias' in name
    )


def expected(model, given):
    """The float64 run; asserts that SDPA gives the same in float64, and both in float32 to rounding."""
    got, loss, grads = run(model, given, torch.float64, 'eager')
    for dtype, attention, bar in (
        (torch.float64, 'sdpa', 1e-11),
        (torch.float32, 'eager', 2e-5),
        (torch.float32, 'sdpa', 2e-5),
    ):
        other, other_loss, other_grads = run(model, given, dtype, attention)
        used = {k: v for k, v in grads.items() if v.abs().max() > ZERO}
        worst = max(difference(other, got), abs(other_loss - loss) / abs(loss), 0.1 * difference(other_grads, used))
        assert worst < bar, (dtype, attention, worst)
    return got, loss, grads


def make(name):
    c, folder = CASES[name], f'{HERE}/{name}'
    begin(folder)
    save(c, folder)
    cls = CLASS[c['family']][c['task']]
    model, info = cls.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not info['mismatched_keys'], info
    missing = sorted(info['missing_keys'])
    extra = {}
    with torch.no_grad():
        for n, p in model.named_parameters():
            if n in missing:
                p.normal_(0, p.shape[-1] ** -0.5)
                extra[n] = p.detach().clone()
    model.eval()
    given = inputs(c, model.config)
    got, loss, grads = expected(model, given)
    grads = {n: g for n, g in grads.items() if g.abs().max() > ZERO and wanted(n, model.config.num_hidden_layers)}
    tensors = {k: v.int() if not v.is_floating_point() else v for k, v in given.items()} | got
    for n, g in grads.items():
        if 'embeddings.weight' in n:  # a plain row sum would be zero: the norm behind the embeddings takes the mean out
            tensors[f'grad_rows.{n}'] = g @ torch.arange(g.shape[1], dtype=g.dtype).cos()
        else:
            tensors[f'grad.{n}'] = g
    save_io(folder, tensors)
    if extra:
        save_file(extra, f'{folder}/extra.safetensors')
    meta = dict(
        family=c['family'],
        task=c['task'],
        problem=c.get('problem'),
        labels=None if c['task'] in ('mlm', 'qa') else c['labels'],
        loss=loss,
        lengths=LENGTHS,
        notes=c['notes'],
        missing=missing,
        unexpected=sorted(info['unexpected_keys']),
        config='transformers 4' if c.get('config4') else 'transformers 5',
    )
    size = finish(folder, meta)
    print(f'{name:28} loss {loss:.6f}  {size} kB  missing {missing}  unexpected {meta["unexpected"]}')


if __name__ == '__main__':
    for wanted_case in sys.argv[1:] or CASES:
        make(wanted_case)
