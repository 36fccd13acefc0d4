"""Follows PEFT's AdaLoRA budget over made-up weights and gradients: budget.json.

    python make_budget.py        torch 2.13.0, peft 0.21.0

For each case: settings, `start` (A, E, B of three layers before the first step), and for each step `params` (those that
follow the optimizer), `grads`, and what PEFT leaves: `e` by layer, and `pattern` where it cuts.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import torch
from peft import AdaLoraConfig, get_peft_model
from shared import write_json

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = {
    'every step': dict(init_r=4, target_r=2, tinit=2, tfinal=3, deltaT=1, total_step=12),
    'every third step': dict(init_r=4, target_r=1, tinit=1, tfinal=2, deltaT=3, total_step=12, beta1=0.7, beta2=0.9),
    'no warm-up, no rest': dict(init_r=3, target_r=2, tinit=0, tfinal=0, deltaT=2, total_step=9),
}


class Layers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = torch.nn.Linear(5, 4), torch.nn.Linear(4, 6), torch.nn.Linear(6, 3)

    def forward(self, x):
        return self.three(self.two(self.one(x)))


def numbers(tensor):
    return [float(f'{v:.7g}') for v in tensor.detach().flatten().tolist()]


def follow(name, options):
    torch.manual_seed(len(name))
    model = get_peft_model(Layers(), AdaLoraConfig(target_modules=['one', 'two', 'three'], **options))
    trained = {n.removeprefix('base_model.model.').replace('.default', ''): p for n, p in model.named_parameters() if 'lora_' in n and p.requires_grad}
    steps = []
    for step in range(1, options['total_step'] + 1):
        params, grads = {}, {}
        for n, p in trained.items():
            with torch.no_grad():
                p.add_(torch.randn_like(p) * 0.1)
            p.data = torch.tensor(numbers(p)).view_as(p)
            p.grad = torch.tensor(numbers(torch.randn_like(p))).view_as(p)
            params[n], grads[n] = numbers(p), numbers(p.grad)
        before = model.peft_config['default'].rank_pattern
        model.base_model.update_and_allocate(step)
        pattern = model.peft_config['default'].rank_pattern
        keys = {k.removeprefix('base_model.model.').removeprefix('model.').replace('.default', ''): v for k, v in (pattern or {}).items()}
        steps.append(dict(params=params, grads=grads, e={n: numbers(p) for n, p in trained.items() if 'lora_E' in n}, pattern=keys))
    return dict(name=name, settings=options, steps=steps)


if __name__ == '__main__':
    write_json(f'{HERE}/budget.json', [follow(*case) for case in CASES.items()])
