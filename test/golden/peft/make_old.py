"""Writes an adapter of ../adapters as PEFT 0.5 did: fewer keys in adapter_config.json, tensors by torch.save.

    python make_old.py        torch 2.13.0, peft 0.21.2, safetensors

old/ is ../adapters/bert-tok-default, whose io.safetensors says what it computes; peft loads it with these logits too.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import torch
from peft import PeftModel
from safetensors.torch import load_file
from shared import base_model, clear, given_of, read_json, relative, wide, write_json

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = f'{HERE}/../adapters/bert-tok-default'
KEYS = """auto_mapping base_model_name_or_path bias fan_in_fan_out inference_mode init_lora_weights layers_pattern
layers_to_transform lora_alpha lora_dropout modules_to_save peft_type r revision target_modules task_type""".split()


def main():
    folder = f'{HERE}/old'
    os.makedirs(folder, exist_ok=True)
    config = read_json(f'{SOURCE}/adapter_config.json')
    config = {key: config[key] for key in KEYS} | dict(modules_to_save=None)
    write_json(f'{folder}/adapter_config.json', config, end='', indent=2, sort_keys=True)
    torch.save(load_file(f'{SOURCE}/adapter_model.safetensors'), f'{folder}/adapter_model.bin')
    model = PeftModel.from_pretrained(base_model('bert-tok', torch.float32)[0], folder).eval().double()
    given = given_of('bert-tok')
    logits = clear(model(**wide(given)).logits.detach(), given)
    assert relative(load_file(f'{SOURCE}/io.safetensors')['logits'].double(), logits) < 1e-6


main()
