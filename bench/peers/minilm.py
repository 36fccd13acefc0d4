"""LoRA on a small pretrained BERT with PyTorch + transformers + PEFT: the peer of the real-encoder comparison in
docs/results.md.

Sequence classification (jsonl rows {text, label}; accuracy, macro F1) or token classification (rows {tokens,
ner_tags} in IOB2; entity precision, recall, F1 of seqeval). Writes the splits it trained on and every setting to
--work, so that the other side can read exactly the same, then appends one JSON line per seed to --results and prints
it.

    python minilm.py seq --model DIR --train train.jsonl --test test.jsonl --work banking77 --results banking77.jsonl
    python minilm.py tok --model DIR --train train.jsonl --dev valid.jsonl --test test.jsonl --work wnut17 \\
        --results wnut17.jsonl

Without --dev, a stratified tenth of the training rows is split off (seed 0, the same for every run seed). Training
rows whose text also occurs in dev or test, or earlier in train, are dropped and counted.

The recipe, per seed:
- Base weights frozen, f32. A checkpoint's pooler is kept and frozen, as BertForSequenceClassification does.
- Classifier new: weight normal(0, 0.02), bias 0, trained in full (modules_to_save). LoRA: A kaiming_uniform(a=sqrt
  5), B zero.
- Model dropout as in config.json, LoRA dropout on the input of A.
- Batches: numpy RandomState(seed).permutation of the rows, anew each epoch; the last batch may be short; padded to
  its longest row.
- Loss: mean cross-entropy over the rows (seq) or over the labelled tokens of the batch (tok; first piece of a word,
  the rest ignored).
- AdamW (betas 0.9, 0.999; eps 1e-8), decay on every trained tensor; gradients clipped by their global norm.
- Step t of T, W = ceil(warmup * T): lr * (t+1)/W while t < W, then lr * (T-t)/(T-W).
- Dev after every epoch; the best epoch (accuracy or entity F1, the earliest of equals) is put back and test is read
  once.
- Words past --max-length count as tagged O.
"""

import argparse
import json
import math
import os
import re
import resource
import sys
import time
import warnings

for _name, _value in (('OMP_WAIT_POLICY', 'passive'), ('TOKENIZERS_PARALLELISM', 'false')):
    os.environ.setdefault(_name, _value)
warnings.filterwarnings('ignore')

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from sklearn.metrics import accuracy_score, f1_score
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification, BertForTokenClassification
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()

# lr: the best on dev of 1e-3, 3e-3, 8e-3 in short runs (seq: between the two higher ones; tok: 8e-3 finds no entity)
DEFAULTS = dict(seq=dict(lr=5e-3, epochs=5, max_length=64), tok=dict(lr=3e-3, epochs=8, max_length=96))


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('task', choices=['seq', 'tok'])
    p.add_argument('--model', required=True, help='folder with config.json, model.safetensors, tokenizer.json')
    p.add_argument('--train', required=True)
    p.add_argument('--dev', help='absent: a stratified tenth of --train (seq only)')
    p.add_argument('--test', required=True)
    p.add_argument('--work', required=True, help='folder for the splits and settings.json')
    p.add_argument('--results', required=True, help='jsonl to append to')
    p.add_argument('--seeds', default='0,1,2')
    p.add_argument('--r', type=int, default=8)
    p.add_argument('--alpha', type=float, default=16)
    p.add_argument('--dropout', type=float, default=0.1, help='LoRA dropout')
    p.add_argument('--targets', default='query,value', help='comma-separated, or all-linear')
    p.add_argument('--lr', type=float, help='5e-3 (seq), 3e-3 (tok)')
    p.add_argument('--batch', type=int, default=32)
    p.add_argument('--epochs', type=int)
    p.add_argument('--warmup', type=float, default=0.06)
    p.add_argument('--weight-decay', type=float, default=0.01)
    p.add_argument('--clip', type=float, default=1.0)
    p.add_argument('--max-length', type=int)
    p.add_argument('--limit', type=int, help='only so many training rows (a quick look)')
    p.add_argument('--no-test', action='store_true', help='leave the test set unread (while choosing settings)')
    p.add_argument('--threads', type=int, default=1)
    a = p.parse_args()
    for key, value in DEFAULTS[a.task].items():
        if getattr(a, key) is None:
            setattr(a, key, value)
    if a.task == 'tok' and not a.dev:
        p.error('tok needs --dev')
    return a


def read(path):
    with open(path, encoding='utf-8') as f:
        return [json.loads(line) for line in f if line.strip()]


def key(row):
    text = row['text'] if 'text' in row else ' '.join(row['tokens'])
    return ' '.join(text.lower().split())


def stratified_tenth(rows):
    """Indices of the dev rows: of each label its rows in a seeded order, the first tenth (at least one)."""
    rng, dev = np.random.RandomState(0), []
    for label in sorted({r['label'] for r in rows}):
        own = [i for i, r in enumerate(rows) if r['label'] == label]
        dev += [own[j] for j in rng.permutation(len(own))[: max(1, round(len(own) / 10))]]
    return sorted(dev)


def make_splits(a):
    rows, test = read(a.train), read(a.test)
    if a.dev:
        dev, train_index, dev_index = read(a.dev), list(range(len(rows))), None
    else:
        dev_index = stratified_tenth(rows)
        taken = set(dev_index)
        dev, train_index = [rows[i] for i in dev_index], [i for i in range(len(rows)) if i not in taken]
    held, kept, dropped = {key(r) for r in dev + test}, [], []
    for i in train_index:
        (dropped if key(rows[i]) in held else kept).append(i)
        held.add(key(rows[i]))
    if a.limit:
        kept = sorted(kept[j] for j in np.random.RandomState(0).permutation(len(kept))[: a.limit])
    splits = dict(train=[rows[i] for i in kept], dev=dev, test=test)
    return splits, dict(train_rows=kept, dev_rows_of_train_file=dev_index, dropped_duplicates=dropped)


def label_list(task, splits):
    if task == 'seq':
        return sorted({r['label'] for r in splits['train']})
    types = sorted({t[2:] for r in splits['train'] for t in r['ner_tags'] if t != 'O'})
    return ['O'] + [prefix + t for t in types for prefix in ('B-', 'I-')]


def encode(a, rows, labels):
    """Token ids, labels (an int, or one per piece with -100 where ignored), and for tok the word tags."""
    tokenizer = Tokenizer.from_file(os.path.join(a.model, 'tokenizer.json'))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=a.max_length)
    index, out = {l: i for i, l in enumerate(labels)}, []
    for row in rows:
        if a.task == 'seq':
            out.append((tokenizer.encode(row['text']).ids, index[row['label']], None))
            continue
        e = tokenizer.encode(row['tokens'], is_pretokenized=True)
        first = [w is not None and (i == 0 or e.word_ids[i - 1] != w) for i, w in enumerate(e.word_ids)]
        tags = [index[row['ner_tags'][w]] if f else -100 for w, f in zip(e.word_ids, first)]
        out.append((e.ids, tags, [w for w, f in zip(e.word_ids, first) if f]))
    return out


def batch(task, rows, pad):
    width = max(len(r[0]) for r in rows)
    ids = torch.tensor([r[0] + [pad] * (width - len(r[0])) for r in rows])
    mask = torch.tensor([[1] * len(r[0]) + [0] * (width - len(r[0])) for r in rows])
    if task == 'seq':
        return dict(input_ids=ids, attention_mask=mask, labels=torch.tensor([r[1] for r in rows]))
    return dict(
        input_ids=ids, attention_mask=mask, labels=torch.tensor([r[1] + [-100] * (width - len(r[1])) for r in rows])
    )


@torch.no_grad()
def evaluate(a, model, rows, encoded, labels, pad):
    model.eval()
    predicted = [None] * len(encoded)
    by_length = sorted(range(len(encoded)), key=lambda i: len(encoded[i][0]))
    for k in range(0, len(by_length), 64):
        take = by_length[k : k + 64]
        inputs = batch(a.task, [encoded[i] for i in take], pad)
        del inputs['labels']
        best = model(**inputs).logits.argmax(-1)
        for j, i in enumerate(take):
            predicted[i] = best[j].tolist()
    model.train()
    if a.task == 'seq':
        gold = [e[1] for e in encoded]
        return dict(
            accuracy=accuracy_score(gold, predicted),
            macro_f1=f1_score(gold, predicted, labels=range(len(labels)), average='macro', zero_division=0),
        )
    return entity_scores(rows, encoded, predicted, labels)


def entity_scores(rows, encoded, predicted, labels):
    from seqeval.metrics import accuracy_score as tag_accuracy, f1_score as f1, precision_score, recall_score
    from seqeval.scheme import IOB2

    gold, guess = [r['ner_tags'] for r in rows], []
    for row, (_, tags, words), best in zip(rows, encoded, predicted):
        out = ['O'] * len(row['tokens'])
        for word, piece in zip(words, [j for j, t in enumerate(tags) if t != -100]):
            out[word] = labels[best[piece]]
        guess.append(out)
    return dict(
        precision=float(precision_score(gold, guess, zero_division=0)),
        recall=float(recall_score(gold, guess, zero_division=0)),
        f1=float(f1(gold, guess, zero_division=0)),
        strict_f1=float(f1(gold, guess, mode='strict', scheme=IOB2, zero_division=0)),
        tag_accuracy=float(tag_accuracy(gold, guess)),
    )


def build(a, labels, seed):
    torch.manual_seed(seed)
    cls = BertForSequenceClassification if a.task == 'seq' else BertForTokenClassification
    model = cls.from_pretrained(
        a.model,
        dtype=torch.float32,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={l: i for i, l in enumerate(labels)},
    )
    with torch.no_grad():
        model.classifier.weight.normal_(0, 0.02)
        model.classifier.bias.zero_()
    targets = a.targets if a.targets == 'all-linear' else a.targets.split(',')
    config = LoraConfig(
        r=a.r,
        lora_alpha=a.alpha,
        lora_dropout=a.dropout,
        target_modules=targets,
        task_type='SEQ_CLS' if a.task == 'seq' else 'TOKEN_CLS',
    )
    return get_peft_model(model, config)


def peak_mib():
    with open('/proc/self/status', encoding='ascii') as f:
        return int(re.search(r'VmHWM:\s+(\d+)', f.read()).group(1)) / 1024


def reset_peak():
    try:
        with open('/proc/self/clear_refs', 'w', encoding='ascii') as f:
            f.write('5')
    except OSError:
        pass  # the peak then includes what came before


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rate(t, total, warmup):
    return (t + 1) / warmup if t < warmup else (total - t) / (total - warmup)


def train_epoch(a, model, params, optimizer, encoded, order, state, pad):
    """One pass in the given order; state counts steps and carries the schedule. Returns the mean loss of its steps."""
    losses = []
    for k in range(0, len(order), a.batch):
        for group in optimizer.param_groups:
            group['lr'] = a.lr * rate(state['step'], state['total'], state['warmup'])
        loss = model(**batch(a.task, [encoded[i] for i in order[k : k + a.batch]], pad)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, a.clip)
        optimizer.step()
        state['step'] += 1
        losses.append(loss.item())
    return float(np.mean(losses))


def run_seed(a, seed, splits, encoded, labels):
    score = 'accuracy' if a.task == 'seq' else 'f1'
    reset_peak()
    model = build(a, labels, seed)
    pad = model.config.pad_token_id or 0
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=a.lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=a.weight_decay)
    n = len(encoded['train'])
    total = math.ceil(n / a.batch) * a.epochs
    state = dict(step=0, total=total, warmup=max(1, math.ceil(a.warmup * total)))
    rng, epochs, best, kept = np.random.RandomState(seed), [], -1.0, None
    before = evaluate(a, model, splits['dev'], encoded['dev'], labels, pad)
    start_cpu, start_wall, eval_cpu, eval_wall = cpu(), time.perf_counter(), 0.0, 0.0
    for epoch in range(a.epochs):
        loss = train_epoch(a, model, params, optimizer, encoded['train'], rng.permutation(n).tolist(), state, pad)
        c, w = cpu(), time.perf_counter()
        dev = evaluate(a, model, splits['dev'], encoded['dev'], labels, pad)
        epochs.append(dict(loss=loss, **dev))
        print(
            f'seed {seed} epoch {epoch + 1}/{a.epochs} {epochs[-1]} cpu {cpu() - start_cpu:.0f} s',
            file=sys.stderr,
            flush=True,
        )
        if dev[score] > best:
            best, kept, best_epoch = dev[score], [p.detach().clone() for p in params], epoch + 1
        eval_cpu, eval_wall = eval_cpu + cpu() - c, eval_wall + time.perf_counter() - w
    train_cpu, train_wall = cpu() - start_cpu - eval_cpu, time.perf_counter() - start_wall - eval_wall
    with torch.no_grad():
        for p, value in zip(params, kept):
            p.copy_(value)
    test = None if a.no_test else evaluate(a, model, splits['test'], encoded['test'], labels, pad)
    return dict(
        side='peft',
        task=a.task,
        seed=seed,
        lr=a.lr,
        targets=a.targets,
        r=a.r,
        steps=total,
        best_epoch=best_epoch,
        dev=epochs[best_epoch - 1],
        test=test,
        before_dev=before,
        epochs=epochs,
        trainable=sum(p.numel() for p in params),
        total_parameters=sum(p.numel() for p in model.parameters()),
        cpu_s=round(train_cpu, 2),
        wall_s=round(train_wall, 2),
        eval_cpu_s=round(eval_cpu, 2),
        rss_peak=round(peak_mib()),
        threads=a.threads,
    )


def write_work(a, splits, rows, labels):
    os.makedirs(a.work, exist_ok=True)
    for name, part in splits.items():
        with open(os.path.join(a.work, name + '.jsonl'), 'w', encoding='utf-8') as f:
            f.writelines(json.dumps(r, ensure_ascii=False) + '\n' for r in part)
    hide = {'model', 'train', 'dev', 'test', 'work', 'results', 'no_test'}
    settings = dict(
        settings={k: v for k, v in vars(a).items() if k not in hide},
        labels=labels,
        rows={k: len(v) for k, v in splits.items()},
        recipe=[' '.join(x.split()) for x in __doc__.split('The recipe, per seed:\n- ')[1].split('\n- ')],
        versions={m: __import__(m).__version__ for m in ('torch', 'transformers', 'peft', 'tokenizers')},
        **rows,
    )
    with open(os.path.join(a.work, 'settings.json'), 'w', encoding='utf-8') as f:
        json.dump(settings, f, indent=1, ensure_ascii=False)


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    splits, rows = make_splits(a)
    labels = label_list(a.task, splits)
    write_work(a, splits, rows, labels)
    encoded = {name: encode(a, part, labels) for name, part in splits.items()}
    for seed in map(int, a.seeds.split(',')):
        line = json.dumps(run_seed(a, seed, splits, encoded, labels))
        print(line, flush=True)
        os.makedirs(os.path.dirname(os.path.abspath(a.results)), exist_ok=True)
        with open(a.results, 'a', encoding='utf-8') as f:
            f.write(line + '\n')


if __name__ == '__main__':
    main()
