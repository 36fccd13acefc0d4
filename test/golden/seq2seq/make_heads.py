"""Makes tiny encoder-decoders with other heads than a language model's, and what transformers computes from them.

    python make_heads.py        torch 2.13.0, transformers 5.18.0

heads/CASE/ holds config.json and model.safetensors; meta.json: task, lengths, labels, loss; io.safetensors: input_ids,
attention_mask, labels (a class a sequence or token, or first and last token of an answer), logits, `grad.NAME` of the loss.
Float64, dropout off. The token that ends a text stands inside too: the head reads the last.
"""

import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import torch
import transformers
from shared import clear, finish, save_io

HERE = os.path.dirname(os.path.abspath(__file__))
# transformers lets padding take part in where an answer is.
LENGTHS = dict(seq=[7, 11, 4], qa=[10, 10, 10], tok=[7, 11, 4])
COMMON = dict(
    vocab_size=61,
    d_model=24,
    d_kv=10,
    d_ff=36,
    num_heads=3,
    num_layers=2,
    num_decoder_layers=2,
    pad_token_id=0,
    eos_token_id=1,
    decoder_start_token_id=0,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=12,
)
CASES = {
    't5-seq': ('t5', 'seq', dict(num_labels=3)),
    't5-seq-untied': ('t5', 'seq', dict(num_labels=3, feed_forward_proj='gated-gelu', tie_word_embeddings=False)),
    'mt5-seq': ('mt5', 'seq', dict(num_labels=2)),
    't5-tok': ('t5', 'tok', dict(num_labels=4)),
    't5-qa': ('t5', 'qa', dict(num_labels=2)),
}
CLASS = dict(
    seq=transformers.AutoModelForSequenceClassification,
    tok=transformers.AutoModelForTokenClassification,
    qa=transformers.AutoModelForQuestionAnswering,
)


def make(name):
    kind, task, more = CASES[name]
    lengths = LENGTHS[task]
    folder = f'{HERE}/heads/{name}'
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(len(name))
    model = CLASS[task].from_config(transformers.AutoConfig.for_model(kind, **COMMON | more))
    with torch.no_grad():
        for key, p in model.named_parameters():
            p.normal_(1.0 if 'norm' in key else 0.0, 0.2)
    model.tie_weights()
    model.save_pretrained(folder)
    mask = torch.tensor([[1] * n + [0] * (max(lengths) - n) for n in lengths])
    ids = torch.randint(2, 61, mask.shape) * mask
    for row, n in enumerate(lengths):
        ids[row, n - 1] = 1
        # transformers takes texts with equally many ends alone.
        ids[row, 1] = 1
    labels = dict(
        seq=torch.tensor([2, 0, 1]) % more['num_labels'],
        tok=(ids % more['num_labels']).where(mask.bool(), torch.tensor(-100)),
        qa=torch.tensor([[1, 3], [0, 9], [2, 2]]),
    )[task]
    given = dict(start_positions=labels[:, 0], end_positions=labels[:, 1]) if task == 'qa' else dict(labels=labels)
    loaded = CLASS[task].from_pretrained(folder, dtype=torch.float64).eval()
    out = loaded(input_ids=ids, attention_mask=mask, **given)
    out.loss.backward()
    logits = torch.stack([out.start_logits, out.end_logits], -1) if task == 'qa' else out.logits
    given = dict(input_ids=ids.int(), attention_mask=mask.int(), labels=labels.int())
    tensors = given | dict(logits=clear(logits, given).detach())
    for key, p in loaded.named_parameters():
        if p.grad is not None:
            tensors[f'grad.{key}'] = p.grad
    save_io(folder, tensors)
    meta = dict(task=task, labels=None if task == 'qa' else more['num_labels'], lengths=lengths, loss=out.loss.item())
    finish(folder, meta)
    print(name, out.loss.item(), len(tensors), [k for k, _ in loaded.named_parameters()][:2])


for name in CASES:
    make(name)
