"""Parses with gguf-py the GGUF files that test/peft/gguf.test.ts writes, and keeps their hashes.

    mkdir written && GGUF_WRITTEN=written node dist/test/peft/gguf.test.js
    python check.py written        gguf 0.19.0

Every file is read whole: metadata, and each tensor dequantised. model-*: the numbers are those of model-f32 as its
type holds them, by gguf-py's own quantisation. adapter-*: factors in pairs, whose ranks agree. written.json has the
SHA-256 of what was found to be so; the test holds its own files against it.
"""

import hashlib
import json
import sys
from pathlib import Path

import gguf
import numpy as np

HERE = Path(__file__).parent


def read(path):
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    return fields, {t.name: t for t in reader.tensors}


def values(tensor):
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)


def check_model(path, wide):
    fields, tensors = read(path)
    assert fields['general.type'] == 'model' and fields['general.architecture'] == 'llama', path
    assert len(fields['tokenizer.ggml.tokens']) == tensors['token_embd.weight'].shape[1], path
    assert tensors.keys() == wide.keys(), path
    for name, tensor in tensors.items():
        expected = gguf.quants.quantize(values(wide[name]), tensor.tensor_type)
        assert tensor.data.tobytes() == expected.tobytes(), (path, name)
    return len(tensors)


def check_adapter(path):
    fields, tensors = read(path)
    assert (fields['general.type'], fields['adapter.type']) == ('adapter', 'lora'), path
    assert fields['adapter.lora.alpha'] > 0, path
    for name, tensor in tensors.items():
        assert np.isfinite(values(tensor)).all(), (path, name)
        if name.endswith('.lora_a'):
            other = tensors[name[:-1] + 'b']
            assert tensor.shape[1] == other.shape[0], (path, name)  # the rank; dimensions from the innermost on
    return len(tensors)


folder = Path(sys.argv[1])
wide = read(folder / 'model-f32.gguf')[1]
sums = {}
for path in sorted(folder.glob('*.gguf')):
    count = check_model(path, wide) if path.name.startswith('model') else check_adapter(path)
    sums[path.stem] = hashlib.sha256(path.read_bytes()).hexdigest()
    print(path.stem, count, 'tensors')
(HERE / 'written.json').write_text(json.dumps(sums, indent=1) + '\n')
