"""Runs in mlx-lm the adapters that test/peft/mlx.test.ts writes, and keeps their hashes.

    mkdir written && MLX_WRITTEN=written node dist/test/peft/mlx.test.js
    python check.py written        mlx-lm 0.32.2, mlx[cpu]

Each folder lies on its model of ../models: the logits of ids.json are those of logits.json, and not those of the model
alone. written.json has the SHA-256 of the files that were found to be so.
"""

import hashlib
import json
import sys
from pathlib import Path

import mlx.core as mx
from mlx_lm.tuner.utils import load_adapters
from mlx_lm.utils import load_model

HERE = Path(__file__).parent
MODELS = HERE.parent / 'models'

sums = {}
for folder in sorted(Path(sys.argv[1]).iterdir()):
    model, _ = load_model(MODELS / folder.name)
    model.set_dtype(mx.float32)
    ids = mx.array([json.loads((folder / 'ids.json').read_text())])
    expected = mx.array(json.loads((folder / 'logits.json').read_text()))
    plain = model(ids)[0]
    model = load_adapters(model, str(folder))
    model.eval()
    got = model(ids)[0]
    far = mx.abs(plain - expected).max().item()
    near = mx.abs(got - expected).max().item()
    print(folder.name, 'without', far, 'with', near)
    assert near < 2e-4 * far + 1e-4 and far > 0.01, folder
    sums[folder.name] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ('adapters.safetensors', 'adapter_config.json')
    }
(HERE / 'written.json').write_text(json.dumps(sums, indent=1) + '\n')
