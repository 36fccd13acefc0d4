"""Writes dtypes.safetensors (every dtype torch can save, awkward names and shapes), rounding.json (f32 bits with the
bits torch rounds them to) and empty.safetensors. Run: python make_safetensors.py  (safetensors 0.8.0, torch 2.13)"""
import json
import os
import pathlib
import random

import torch
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent
names = {
    "bool": torch.bool, "uint8": torch.uint8, "int8": torch.int8, "int16": torch.int16, "uint16": torch.uint16,
    "float16": torch.float16, "bfloat16": torch.bfloat16, "int32": torch.int32, "uint32": torch.uint32,
    "float32": torch.float32, "float64": torch.float64, "int64": torch.int64, "uint64": torch.uint64,
    "complex64": torch.complex64, "float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2,
    "float8_e4m3fnuz": torch.float8_e4m3fnuz, "float8_e5m2fnuz": torch.float8_e5m2fnuz,
    "float8_e8m0fnu": torch.float8_e8m0fnu,
}
tensors = {}
for i, (name, dtype) in enumerate(names.items()):
    count = 3 + i % 4
    size = torch.empty(0, dtype=dtype).element_size()
    data = bytes((7 * k + i) % (2 if dtype == torch.bool else 120) for k in range(count * size))
    tensors[name] = torch.frombuffer(bytearray(data), dtype=dtype)
tensors.update({
    "scalar": torch.tensor(2.5), "none": torch.zeros(0, 4), "a": torch.arange(3.0), "Z": torch.arange(2.0),
    "grüße \"\\ \n\x1f\x7f": torch.ones(1, 2, 1), "\uff5e": torch.ones(1), "\U0001f600": torch.zeros(1),
    "layer.10.w": torch.arange(6, dtype=torch.float32).reshape(2, 3).bfloat16(), "layer.9.w": torch.ones(2).bfloat16(),
})
save_file(tensors, here / "dtypes.safetensors", metadata={"format": "pt"})
save_file({}, here / "empty.safetensors")
for name in ("dtypes", "empty"):
    os.chmod(here / f"{name}.safetensors", 0o644)

random.seed(1)
bits = [0, 0x80000000, 0x7F800000, 0xFF800000, 0x477FEFFF, 0x477FF000, 0x477FE000, 0x33000000, 0x33000001, 0x32FFFFFF,
        0x38800000, 0x387FFFFF, 0x387FE000, 0x387FF000, 0x33800000, 0x33C00000, 0x34200000, 0x7F7FFFFF, 0x3F808000,
        0x3F818000, 0x3F808001, 0x00000001, 0x00800000, 0x3F801000, 0x3F803000]
bits += [random.getrandbits(32) & 0x80000000 | (0x30000000 + random.getrandbits(28) % 0x19000000) for _ in range(200)]
bits += [b for b in (random.getrandbits(32) for _ in range(100)) if b & 0x7FFFFFFF <= 0x7F800000]
values = torch.tensor(bits, dtype=torch.int64).to(torch.uint32).view(torch.float32)
out = {
    "f32": bits,
    "f16": values.half().view(torch.uint16).tolist(),
    "bf16": values.bfloat16().view(torch.uint16).tolist(),
}
(here / "rounding.json").write_text(json.dumps(out) + "\n")
