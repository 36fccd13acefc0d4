"""Makes short training traces of tiny random encoders with PyTorch + PEFT, wholly in float64.

    python make.py [CASE...]        torch 2.13.0, transformers 5.18.0, peft 0.21.0; layout in README.md

f32 weights and an f32 start are widened; forward (eager attention), loss, gradients, clipping and AdamW run in float64
with dropout off; tensors are stored as f32, losses in full. The task is made up: a few marker words decide the label.
"""

import math
import os
import shutil
import sys
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import numpy as np
import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from shared import CLASS, write_json
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

HERE = os.path.dirname(os.path.abspath(__file__))
WEIGHTS = f'{HERE}/weights'
SHAPE = dict(
    vocab_size=180,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=44,
    max_position_embeddings=24,
    pad_token_id=0,
)
WIDER = dict(hidden_size=32, num_attention_heads=4, max_position_embeddings=26, type_vocab_size=1, pad_token_id=1)
WIDER |= dict(layer_norm_eps=1e-5)
BASES = {
    'tiny-bert': (BertForMaskedLM, BertConfig(**SHAPE)),
    'tiny-roberta': (RobertaForMaskedLM, RobertaConfig(**SHAPE | WIDER)),
    'tiny-distilbert': (
        DistilBertForMaskedLM,
        DistilBertConfig(
            vocab_size=180, dim=24, n_layers=2, n_heads=2, hidden_dim=44, max_position_embeddings=24, pad_token_id=0
        ),
    ),
}
CASES = {
    'lora_seq__tiny-roberta': dict(
        base='tiny-roberta',
        kind='seq',
        mode='lora',
        steps=16,
        batch=4,
        accumulation=2,
        lr=5e-3,
        schedule='cosine',
        decay=0.01,
        lora=dict(
            r=4,
            lora_alpha=6,
            use_rslora=True,
            rank_pattern={'value': 2, 'layer.1.intermediate.dense': 6},
            target_modules=['query', 'key', 'value', 'intermediate.dense', 'output.dense'],
        ),
    ),
    'lora_tok__tiny-distilbert': dict(
        base='tiny-distilbert',
        kind='tok',
        mode='lora',
        steps=20,
        batch=6,
        lr=8e-3,
        lora=dict(r=4, lora_alpha=8, target_modules=['q_lin', 'k_lin', 'v_lin', 'out_lin', 'lin1', 'lin2']),
    ),
    'lora_seq__tiny-bert': dict(
        base='tiny-bert',
        kind='seq',
        mode='lora',
        steps=12,
        batch=6,
        lr=1e-2,
        clip=0.5,
        lora=dict(
            r=4,
            lora_alpha=8,
            alpha_pattern={'layer.0.attention.self.query': 3},
            target_modules=['query', 'value', 'dense'],
        ),
    ),
    'full_seq__tiny-bert': dict(base='tiny-bert', kind='seq', mode='full', steps=14, batch=6, lr=2e-3, decay=0.05),
}
LABELS = dict(seq=['north', 'south', 'west'], tok=['O', 'B-thing', 'I-thing', 'B-place', 'I-place'])


def make_base(name):
    """A random checkpoint as a masked-LM model is saved: its classifier and (BERT) pooler are missing."""
    cls, config = BASES[name]
    torch.manual_seed(zlib.crc32(name.encode()))
    model = cls(config)
    with torch.no_grad():
        for n, p in model.named_parameters():
            if 'LayerNorm' in n or 'layer_norm' in n:
                p.normal_(1.0 if n.endswith('weight') else 0.0, 0.1)
            else:
                p.normal_(0, 0.1 if p.dim() == 1 else 0.3 if 'embeddings' in n else p.shape[-1] ** -0.5)
    model.tie_weights()
    model.save_pretrained(f'{WEIGHTS}/{name}')
    for file in os.listdir(f'{WEIGHTS}/{name}'):
        os.chmod(f'{WEIGHTS}/{name}/{file}', 0o644)  # safetensors creates its files with mode 0600


def make_rows(kind, count, vocab, rng):
    """Rows of 5 to 20 words between words 3 and 4; words 10 to 12 (tok: 20 to 22 behind them) mark the label."""
    ids, targets = [], []
    for _ in range(count):
        words = rng.randint(40, min(vocab, 100), rng.randint(5, 21)).tolist()
        label = int(rng.randint(3))
        if kind == 'seq':
            for place in rng.permutation(len(words))[: len(words) // 2]:
                words[place] = 10 + label
            targets.append(label)
        else:
            tags = [0] * len(words)
            place = int(rng.randint(len(words) - 2))
            words[place], words[place + 1] = 10 + label, 20 + label
            if label:
                tags[place], tags[place + 1] = 2 * label - 1, 2 * label
            tags = [-100 if rng.rand() < 0.2 and not t else t for t in tags]  # as the later pieces of a word
            targets.append([-100, *tags, -100])
        ids.append([3, *words, 4])
    return dict(ids=ids, labels=targets)


def pad(rows, value):
    out = np.full((len(rows), max(map(len, rows))), value, dtype=np.int32)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return torch.tensor(out)


def micro_batch(kind, data, index, pad_id):
    rows = [data['ids'][i] for i in index]
    ids = pad(rows, pad_id).long()
    mask = torch.tensor([[1] * len(r) + [0] * (ids.shape[1] - len(r)) for r in rows])
    own = [data['labels'][i] for i in index]
    return ids, mask, torch.tensor(own) if kind == 'seq' else pad(own, -100).long()


def start_model(c, rng_std=0.1):
    """The model at step 0 and the tensors the base file lacks."""
    names = LABELS[c['kind']]
    model = CLASS[c['kind']].from_pretrained(
        f"{WEIGHTS}/{c['base']}",
        dtype=torch.float32,
        attn_implementation='eager',
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={n: i for i, n in enumerate(names)},
    )
    stored = set(load_file(f"{WEIGHTS}/{c['base']}/model.safetensors"))
    extra = {}
    with torch.no_grad():
        for n, p in model.named_parameters():
            if n not in stored:
                p.normal_(0, rng_std if 'classifier' in n else p.shape[-1] ** -0.5) if p.dim() > 1 else p.zero_()
                extra[n] = p
    if c['mode'] == 'lora':
        frozen = {n: p.detach().clone() for n, p in extra.items() if 'classifier' not in n}
        model = get_peft_model(
            model, LoraConfig(task_type=dict(seq='SEQ_CLS', tok='TOKEN_CLS')[c['kind']], **c['lora'])
        )
        with torch.no_grad():
            for n, p in model.named_parameters():
                if '.lora_B.' in n:
                    p.normal_(0, 0.02)
        return model, frozen, stored
    return model.requires_grad_(True), {}, stored


class Trace:
    def __init__(self, name):
        self.name, self.c, self.out = name, CASES[name], f'{HERE}/{name}'
        shutil.rmtree(self.out, ignore_errors=True)
        os.makedirs(self.out)
        torch.manual_seed(0)
        self.model, self.frozen, self.stored = start_model(self.c)
        self.parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.pad = self.model.config.pad_token_id
        self.draw()
        full = self.c['mode'] == 'full'
        self.by_row = [n for n in self.parameters if full and n.endswith('word_embeddings.weight')]
        self.unstored = [n for n in self.parameters if full and n.endswith('key.bias')]  # their gradient is rounding
        self.rows = torch.tensor(sorted({t for r in self.train['ids'] for t in r} | {self.pad}))

    def draw(self):
        c, rng = self.c, np.random.RandomState(0)
        data = make_rows(
            c['kind'], 24, self.model.config.vocab_size, np.random.RandomState(zlib.crc32(self.name.encode()))
        )
        self.test = make_rows(c['kind'], 8, self.model.config.vocab_size, np.random.RandomState(7))
        need, order = c['steps'] * c.get('accumulation', 1), []
        while len(order) < need:
            order += rng.permutation(24)[: 24 // c['batch'] * c['batch']].reshape(-1, c['batch']).tolist()
        self.train, self.order = data, order[:need]

    def save(self, file, tensors, only=None):
        kept = {k: v for k, v in tensors.items() if (only is None or k in only) and k not in self.unstored}
        save_file(
            {
                f'{k}[rows]' if k in self.by_row else k: (v.detach()[self.rows] if k in self.by_row else v.detach())
                .to(torch.float32, copy=True)
                .contiguous()
                for k, v in kept.items()
            },
            f'{self.out}/{file}.safetensors',
        )

    def save_start(self):
        if self.frozen:
            save_file(self.frozen, f'{self.out}/frozen_extra.safetensors')
        self.save(
            'init',
            self.parameters,
            None if self.c['mode'] == 'lora' else [n for n in self.parameters if n not in self.stored],
        )
        tensors = dict(order=torch.tensor(self.order, dtype=torch.int32))
        for k, d in (('train', self.train), ('test', self.test)):
            tensors[f'{k}_ids'] = pad(d['ids'], self.pad)
            tensors[f'{k}_len'] = torch.tensor([len(r) for r in d['ids']], dtype=torch.int32)
            seq = self.c['kind'] == 'seq'
            tensors[f'{k}_labels'] = torch.tensor(d['labels'], dtype=torch.int32) if seq else pad(d['labels'], -100)
        if self.by_row:
            tensors['embedding_rows'] = self.rows.int()
        save_file(tensors, f'{self.out}/batches.safetensors')

    def batch(self, data, index):
        return micro_batch(self.c['kind'], data, index, self.pad)

    def logits(self, data, index):
        ids, mask, labels = self.batch(data, index)
        out = self.model(input_ids=ids, attention_mask=mask).logits
        assert out.dtype == torch.float64
        return out, labels

    def loss_sum(self, data, index):
        out, labels = self.logits(data, index)
        keep = labels != -100
        return cross_entropy(out[keep], labels[keep], reduction='sum'), labels[keep], out[keep].argmax(-1)

    @torch.no_grad()
    def evaluate(self, data):
        loss, labels, best = self.loss_sum(data, range(len(data['ids'])))
        hit = best == labels
        out = dict(loss=loss.item() / len(labels), accuracy=hit.double().mean().item())
        return (
            out if self.c['kind'] == 'seq' else out | dict(entity_tag_accuracy=hit[labels != 0].double().mean().item())
        )

    def rate(self, t):
        steps, lr = self.c['steps'], self.c['lr']
        warm = max(1, steps // 10)
        if t < warm:
            return lr * (t + 1) / warm
        if self.c.get('schedule') == 'cosine':
            return lr * 0.5 * (1 + math.cos(math.pi * (t - warm) / (steps - warm)))
        return lr * (steps - t) / (steps - warm)

    def step(self, t, optimizer):
        """One optimizer step; returns its loss, rate and gradient norm before clipping."""
        n = self.c.get('accumulation', 1)
        parts = [self.loss_sum(self.train, index) for index in self.order[t * n : (t + 1) * n]]
        loss = sum(p[0] for p in parts) / sum(len(p[1]) for p in parts)
        optimizer.zero_grad()
        loss.backward()
        if t == 0:
            self.save('grads_step0', {n: p.grad for n, p in self.parameters.items()})
        optimizer.param_groups[0]['lr'] = self.rate(t)
        norm = torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.c.get('clip', 1.0))
        optimizer.step()
        if t == 9 or t == 0 and self.c['mode'] == 'lora':
            self.save(f'after_step{t + 1}', self.parameters)
        return loss.item(), self.rate(t), norm.item()

    def run(self):
        c = self.c
        self.save_start()
        self.model.double().eval()
        evaluate = lambda: dict(train=self.evaluate(self.train), test=self.evaluate(self.test))
        with torch.no_grad():
            before, first = evaluate(), self.logits(self.test, range(8))[0]
        optimizer = torch.optim.AdamW(
            list(self.parameters.values()),
            lr=c['lr'],
            betas=(0.9, 0.999),
            eps=c.get('eps', 1e-6),
            weight_decay=c.get('decay', 0.0),
            foreach=False,
        )
        steps = [self.step(t, optimizer) for t in range(c['steps'])]
        with torch.no_grad():
            after, last = evaluate(), self.logits(self.test, range(8))[0]
        self.save('final', self.parameters)
        save_file(dict(before=first.float(), after=last.float()), f'{self.out}/eval_logits_first.safetensors')
        loss, rate, norm = map(list, zip(*steps))
        write_json(f'{self.out}/losses.json', dict(loss=loss, lr=rate, grad_norm=norm))
        write_json(f'{self.out}/meta.json', self.meta(dict(before=before, after=after)), indent=1)
        if c['mode'] == 'lora':
            self.model.float().peft_config['default'].base_model_name_or_path = c['base']
            self.model.save_pretrained(f'{self.out}/adapter', save_embedding_layers=False)
            os.remove(f'{self.out}/adapter/README.md')
        files = [f'{where}/{f}' for where, _, names in os.walk(self.out) for f in names]
        for file in files:
            os.chmod(file, 0o644)
        size, test = sum(map(os.path.getsize, files)) // 1024, f'test {before["test"]} -> {after["test"]}'
        span = f'loss {loss[0]:.4f} -> {loss[-1]:.4f}, norm {min(norm):.2f}..{max(norm):.2f}'
        print(f'{self.name:28} {span}, {test}, {size} kB')

    def meta(self, results):
        c, decay = self.c, '(1+cos(pi(t-W)/(T-W)))/2' if self.c.get('schedule') == 'cosine' else '(T-t)/(T-W)'
        lora = c.get('lora') and dict(
            r=c['lora']['r'],
            alpha=c['lora']['lora_alpha'],
            scaling=c['lora']['lora_alpha']
            / (math.sqrt(c['lora']['r']) if c['lora'].get('use_rslora') else c['lora']['r']),
            use_rslora=c['lora'].get('use_rslora', False),
            rank_pattern=c['lora'].get('rank_pattern', {}),
            alpha_pattern=c['lora'].get('alpha_pattern', {}),
            dropout=0.0,
            target_modules=c['lora']['target_modules'],
            init='init.safetensors: A as PEFT (kaiming_uniform, a=sqrt 5), B normal std 0.02',
        )
        out = dict(
            name=self.name,
            base_model=c['base'],
            kind=c['kind'],
            mode=c['mode'],
            notes='random ids, marker words decide the label',
            seed=0,
            labels=LABELS[c['kind']],
            n_train=24,
            n_eval=dict(test=8),
            steps=c['steps'],
            batch_size=c['batch'],
            grad_accumulation=c.get('accumulation', 1),
            max_len=22,
            lora=lora,
            optimizer=dict(
                name='AdamW',
                lr=c['lr'],
                betas=[0.9, 0.999],
                eps=c.get('eps', 1e-6),
                weight_decay=c.get('decay', 0.0),
                clip_global_norm=c.get('clip', 1.0),
                schedule=f'linear warm-up over W = max(1, steps//10) steps, (t+1)/W, then {decay}',
            ),
            pad_id=self.pad,
            dtype='float32',
            compute_dtype='float64',
            trainable_params=sum(p.numel() for p in self.parameters.values()),
            versions=dict(torch=torch.__version__, transformers=transformers.__version__, peft=peft.__version__),
            results=results,
            eval_logits=dict(set='test', rows=8),
        )
        return out | dict(stored_rows=self.by_row, not_stored=self.unstored) if self.by_row else out


if __name__ == '__main__':
    for base in BASES:
        make_base(base)
    for wanted in sys.argv[1:] or CASES:
        Trace(wanted).run()
