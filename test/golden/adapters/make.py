"""Makes LoRA adapters with PEFT over the tiny checkpoints of ../models, and what the adapted models compute.

    python make.py [CASE...]        torch 2.13.0, transformers 5.18.0, peft 0.21.0; layout in README.md

A, B, heads and trained biases are random and far from zero, so that a missing one shows. Every adapter is saved by PEFT, loaded
again by PEFT onto a fresh base, and run in float64.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from shared import TASK, base_model, begin, clear, finish, given_of, relative, save_io, wide

HERE = os.path.dirname(os.path.abspath(__file__))


def case(base, notes, **lora):
    return dict(base=base, notes=notes, lora=lora)


CASES = {
    'bert-seq-default': case('bert-seq', "PEFT's default targets (query, value), r 8, alpha 8"),
    'bert-tok-default': case('bert-tok', 'default targets, r 4, alpha 16', r=4, lora_alpha=16),
    'bert-seq-all-linear': case(
        'bert-seq',
        'all-linear (written out by PEFT), pooler among them',
        r=3,
        lora_alpha=6,
        target_modules='all-linear',
    ),
    'bert-seq-list': case(
        'bert-seq',
        'output.dense names both dense layers, dense would also name the pooler; dropout in the config',
        r=4,
        lora_alpha=8,
        lora_dropout=0.1,
        target_modules=['key', 'intermediate.dense', 'output.dense'],
    ),
    'bert-seq-regex': case(
        'bert-seq',
        'target_modules a regular expression (full match)',
        r=2,
        lora_alpha=3,
        target_modules=r'bert\.encoder\.layer\.[01]\.attention\.(self\.(query|key)|output\.dense)',
    ),
    'bert-tok-patterns': case(
        'bert-tok',
        'rank_pattern and alpha_pattern; scaling differs by module',
        r=4,
        lora_alpha=10,
        target_modules=['query', 'key', 'value'],
        rank_pattern={'key': 2, 'layer.1.attention.self.query': 6},
        alpha_pattern={r'layer\.0\..*\.value': 3, 'bert.encoder.layer.1.attention.self.key': 5},
    ),
    'bert-tok-exclude': case(
        'bert-tok',
        'exclude_modules and layers_to_transform',
        r=4,
        lora_alpha=4,
        target_modules=['query', 'value', 'output.dense'],
        exclude_modules=['attention.output.dense'],
        layers_to_transform=[1],
    ),
    'bert-seq-modules-to-save': case(
        'bert-seq', 'the pooler is trained in full beside the classifier', r=4, lora_alpha=8, modules_to_save=['pooler']
    ),
    'bert-seq-bias-lora-only': case(
        'bert-seq', 'bias lora_only: biases of the targeted modules', r=4, lora_alpha=8, bias='lora_only'
    ),
    'bert-tok-bias-all': case(
        'bert-tok', 'bias all: every bias of the model, with the strays PEFT writes', r=4, lora_alpha=8, bias='all'
    ),
    'bert-seq-gaussian': case(
        'bert-seq',
        'init_lora_weights gaussian in the config',
        r=4,
        lora_alpha=8,
        init_lora_weights='gaussian',
        lora_dropout=0.05,
    ),
    'bert-seq-init-false': case(
        'bert-seq', 'init_lora_weights false in the config', r=4, lora_alpha=8, init_lora_weights=False
    ),
    'bert-tok-bf16-base': case('bert-bf16', 'base and head bf16, A and B f32 in one file', r=4, lora_alpha=8),
    'bert-mlm-no-task': case(
        'bert-mlm',
        'no task_type: auto_mapping filled in, no head saved',
        r=4,
        lora_alpha=8,
        target_modules=['query', 'value'],
    ),
    'roberta-seq-rslora': case(
        'roberta-seq',
        'rslora, alpha / sqrt(r); the head is classifier.dense and classifier.out_proj',
        r=4,
        lora_alpha=6,
        use_rslora=True,
        target_modules=['query', 'value', 'dense'],
    ),
    'roberta-tok-default': case('roberta-tok-f16', 'default targets on an f16 base', r=4, lora_alpha=8),
    'distilbert-seq': case(
        'distilbert-seq',
        'pre_classifier is saved because its name ends in classifier',
        r=4,
        lora_alpha=8,
        target_modules=['q_lin', 'v_lin'],
    ),
    'distilbert-tok': case(
        'distilbert-tok',
        'attention and feed-forward, rslora with rank_pattern',
        r=4,
        lora_alpha=8,
        use_rslora=True,
        target_modules=['q_lin', 'k_lin', 'v_lin', 'out_lin', 'lin1', 'lin2'],
        rank_pattern={'lin1': 2},
    ),
}


def randomise(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if '.lora_A.' in name:
                p.normal_(0, p.shape[1] ** -0.5)
            elif '.lora_B.' in name:
                p.normal_(0, 0.3)
            elif p.requires_grad:
                p.add_(torch.randn(p.shape).to(p.dtype) * 0.2)


def forward(model, given):
    return clear(model(**{k: v for k, v in given.items() if k != 'labels'}).logits.detach(), given)


def compute(model, given):
    model.zero_grad()
    out = model(**wide(given))
    out.loss.backward()
    return clear(out.logits.detach(), given), out.loss.item()


def file_name(parameter):
    """The name a trained parameter has in adapter_model.safetensors."""
    return parameter.replace('.modules_to_save.default', '').replace('.default', '')


def make(name):
    c, folder = CASES[name], f'{HERE}/{name}'
    begin(folder)
    base, meta = base_model(c['base'])
    model = get_peft_model(base, LoraConfig(task_type=TASK[meta['task']], **c['lora'])).eval()
    randomise(model)
    model.peft_config['default'].base_model_name_or_path = c['base']
    model.save_pretrained(folder, save_embedding_layers=False)
    os.remove(f'{folder}/README.md')
    saved = load_file(f'{folder}/adapter_model.safetensors')
    tensors, loss = results(c, folder, given_of(c['base']), saved, model)
    save_io(folder, tensors)
    modules = {
        n.split('.lora_A.')[0].removeprefix('base_model.model.'): p.shape[0]
        for n, p in model.named_parameters()
        if '.lora_A.' in n
    }
    scaling = {n: model.get_submodule('base_model.model.' + n).scaling['default'] for n in modules}
    size = finish(
        folder,
        dict(
            base=c['base'],
            task=meta['task'],
            notes=c['notes'],
            loss=loss,
            modules={n: [r, scaling[n]] for n, r in modules.items()},
            trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        ),
    )
    others = sorted(k for k in saved if 'lora_' not in k)
    print(f'{name:26} loss {loss:.6f} {size} kB {len(modules)} modules; also saved {others[:6]} {len(others)}')


def results(c, folder, given, saved, trained):
    """Logits and gradients of the loaded adapter, weights of its first module; asserts what must agree."""
    fresh = lambda: base_model(c['base'], torch.float32)[0]
    bare = forward(fresh().double(), given)
    model = PeftModel.from_pretrained(fresh(), folder, is_trainable=True).eval().double()
    logits, loss = compute(model, given)
    assert relative(compute(trained.float().double(), given)[0], logits) < 1e-12
    assert relative(logits, bare) > 0.01, 'the adapter does nothing'
    tensors = dict(logits=logits, logits_base=bare)
    for n, p in model.named_parameters():
        if p.requires_grad and p.grad is not None:
            assert file_name(n) in saved, n
            tensors['grad.' + file_name(n)] = p.grad.clone()
    first = next(n.split('.lora_A.')[0] for n, _ in model.named_parameters() if '.lora_A.' in n)
    path = first.removeprefix('base_model.model.')
    tensors['delta.' + path] = model.get_submodule(first).get_delta_weight('default').detach()
    merged = model.merge_and_unload()
    tensors['merged.' + path] = merged.get_submodule(path).weight.detach()
    assert relative(forward(merged, given), logits) < 1e-12
    return tensors, loss


if __name__ == '__main__':
    for wanted in sys.argv[1:] or CASES:
        make(wanted)
