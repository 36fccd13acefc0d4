"""Combines two LoRA adapters with PEFT's add_weighted_adapter: combined/.

    python make_combined.py        torch 2.13.0, transformers 5.18.0, peft 0.21.0

combined/a, combined/b are adapters over ../models/bert-mlm; combined.safetensors holds, for each kind, the change of
the weight of each module: `KIND/PATH` [out, in]. Weights 0.7 and -0.4, density 0.4 where it counts; rank 3 for svd.
"""

import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from shared import base_model

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = f'{HERE}/combined'
KINDS = {
    'linear': {},
    'cat': {},
    'svd': dict(svd_rank=3),
    'ties': dict(density=0.4),
    'ties_frequency': dict(density=0.4, majority_sign_method='frequency'),
    'magnitude_prune': dict(density=0.4),
}

if __name__ == '__main__':
    torch.manual_seed(3)
    shutil.rmtree(FOLDER, ignore_errors=True)
    base = base_model('bert-mlm')[0]
    common = dict(r=4, target_modules=['query', 'value'], layers_to_transform=[0])
    model = get_peft_model(base, LoraConfig(lora_alpha=6, **common), adapter_name='a')
    model.add_adapter('b', LoraConfig(lora_alpha=10, **common))
    with torch.no_grad():
        for n, p in model.named_parameters():
            if 'lora_' in n:
                p.normal_(0, 0.3)
    for name in ('a', 'b'):
        model.peft_config[name].base_model_name_or_path = 'bert-mlm'
        model.save_pretrained(FOLDER, selected_adapters=[name], save_embedding_layers=False)
    found = {}
    for kind, options in KINDS.items():
        model.add_weighted_adapter(['a', 'b'], [0.7, -0.4], kind, combination_type=kind.split('_frequency')[0], **options)
        for path, module in model.named_modules():
            if hasattr(module, 'lora_A') and kind in getattr(module, 'lora_A'):
                found[f"{kind}/{path.removeprefix('base_model.model.')}"] = module.get_delta_weight(kind).detach().contiguous()
    save_file(found, f'{FOLDER}/combined.safetensors')
    for root, _, files in os.walk(FOLDER):
        for file in files:
            if file == 'README.md':
                os.remove(f'{root}/{file}')
            else:
                os.chmod(f'{root}/{file}', 0o644)
    print(sorted(found), [tuple(v.shape) for v in found.values()][:2])
