"""Weights as bitsandbytes stores them (4-bit, plain and doubly quantised, and 8-bit), with what it makes of them.

    python make.py    # bitsandbytes 0.50.2, on the CPU; writes stored.safetensors, values.safetensors and some of what
    # they were made of, source.safetensors, here
"""

from pathlib import Path

import bitsandbytes.functional as F
import torch
from safetensors.torch import save_file

torch.manual_seed(3)
here = Path(__file__).parent
stored, values, source = {}, {}, {}
for kind in ("nf4", "fp4"):
    for nested in (False, True):
        # 50 blocks of 64, so one nested block that is not full. Rows are whole blocks: of others its CPU kernel takes
        # the scales of wrong blocks.
        weight = torch.randn(25, 128) * 0.05
        codes, state = F.quantize_4bit(weight, quant_type=kind, blocksize=64, compress_statistics=nested)
        name = f"{kind}{'_nested' if nested else ''}.weight"
        stored[name] = codes
        stored |= {f"{name}.{key}": part.clone() for key, part in state.as_dict(packed=True).items()}
        values[name] = F.dequantize_4bit(codes, state).float()
        if nested:
            source[name] = weight
weight = torch.randn(25, 128).half()
codes, scales, _ = F.int8_vectorwise_quant(weight)
stored |= {"int8.weight": codes, "int8.SCB": scales, "int8.weight_format": torch.tensor(0, dtype=torch.uint8)}
values["int8.weight"] = F.int8_vectorwise_dequant(codes, scales).float()
source["int8.weight"] = weight
save_file(source, here / "source.safetensors")
save_file(stored, here / "stored.safetensors")
save_file(values, here / "values.safetensors")
