"""Makes quantised weights with bitsandbytes on the CPU: codes, scales and what they stand for.

    python make.py        torch 2.14.1, bitsandbytes 0.50.2

Bytes are hexadecimal, little-endian. codes: as bitsandbytes packs them; nf4: scales are the codes of the absmax, in
blocks of 256 with `nested` and one offset. This is the PyTorch code of bitsandbytes, exact like its CUDA kernels; its
library for the CPU approximates, and chooses another scale for about one value in 200.
"""

import ctypes
import json
from pathlib import Path

import torch


def no_library(name):
    raise OSError(f'{name} is not to be used')


ctypes.cdll.LoadLibrary = no_library
import bitsandbytes
from bitsandbytes import functional as bnb

here = Path(__file__).parent


def weight(out, width, seed):
    """Bell-shaped, with a block of zeros and a few outliers; the test makes the same numbers."""
    state, values = seed, []
    for i in range(out * width):
        total = 0
        for _ in range(4):
            state = (state * 1664525 + 1013904223) % 2**32
            total += (state >> 8) / 2**24 - 0.5
        values.append(0 if 64 <= i < 128 else total * (1.5 if i % 577 == 0 else 0.0625))
    return torch.tensor(values, dtype=torch.float64).float().view(out, width)


def hexed(tensor):
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes().hex()


def nf4_case(w):
    codes, state = bnb.quantize_4bit(w, blocksize=64, quant_type='nf4', compress_statistics=True)
    return {
        'codes': hexed(codes),
        'scales': hexed(state.absmax),
        'nested': hexed(state.state2.absmax),
        'offset': hexed(state.offset.view(1)),
        'dequantized': hexed(bnb.dequantize_4bit(codes, state)),
    }


def int8_case(w):
    codes, absmax, _ = torch.ops.bitsandbytes.int8_vectorwise_quant.default(w.clone())
    values = torch.ops.bitsandbytes.int8_vectorwise_dequant.default(codes, absmax)
    return {'codes': hexed(codes), 'absmax': hexed(absmax), 'dequantized': hexed(values)}


def main():
    cases = []
    # Whole blocks; several nested blocks; blocks across rows; a ragged last block.
    for seed, (out, width) in enumerate([(4, 64), (260, 80), (6, 100), (5, 30)]):
        w = weight(out, width, seed)
        case = {'shape': [out, width], 'seed': seed, 'nf4': nf4_case(w), 'int8': int8_case(w)}
        if w.numel() > 4096:  # most of the file, and made of the other parts alike
            for part in case['nf4'], case['int8']:
                del part['dequantized']
        cases.append(case)
    made = {'bitsandbytes': bitsandbytes.__version__, 'torch': torch.__version__, 'cases': cases}
    (here / 'weights.json').write_text(json.dumps(made, indent=1) + '\n')


main()
