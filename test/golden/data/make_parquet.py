"""Parquet files as `datasets` and pyarrow write them, and what pyarrow reads of them.

pip install datasets pyarrow
python test/golden/data/make_parquet.py
"""

import datetime
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent

texts = [f"text {i}: größe 👍 日本 {'x' * (i % 7)}" for i in range(30)]
labels = [i % 3 for i in range(29)] + [-1]
features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "fair", "good"])})
datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features).to_parquet(HERE / "classes.parquet", batch_size=12)

datasets.Dataset.from_dict({"text": texts[:24], "label": labels[:24]}, features=features).to_parquet(HERE / "rows.parquet", batch_size=9)

words = [["Anna", "lives", "in", "Bern"], ["nobody"], ["in", "Ulm", "and", "Bonn"]]
tags = [[1, 0, 0, 2], [0], [0, 2, 0, 2]]
features = datasets.Features(
    {
        "tokens": datasets.Sequence(datasets.Value("string")),
        "ner_tags": datasets.Sequence(datasets.ClassLabel(names=["O", "B-PER", "B-LOC"])),
    }
)
datasets.Dataset.from_dict({"tokens": words, "ner_tags": tags}, features=features).to_parquet(HERE / "tags.parquet")

table = pa.table(
    {
        "messages": [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]] * 3 + [None],
        "number": pa.array([1, -(2**53) + 1, 2**60, None], pa.int64()),
        "small": pa.array([1, 2, 3, 4], pa.int8()),
        "share": pa.array([0.5, -1.25, None, 1e300], pa.float64()),
        "flag": [True, False, None, True],
        "when": [datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)] * 3 + [None],
        "kind": pa.array(["a", "b", "a", None]).dictionary_encode(),
        "empty": pa.array([[], ["x"], None, []], pa.list_(pa.string())),
    }
)
for codec in ["NONE", "SNAPPY", "GZIP", "ZSTD", "BROTLI", "LZ4"]:
    pq.write_table(table, HERE / f"types.{codec.lower()}.parquet", compression=codec, row_group_size=2)
rows = pq.read_table(HERE / "types.zstd.parquet").to_pylist()
for row in rows:
    number = row["number"]
    row["number"] = str(number) if number and abs(number) > 2**53 else number
    row["when"] = row["when"] and row["when"].strftime("%Y-%m-%dT%H:%M:%S.000Z")
(HERE / "types.json").write_text(json.dumps(rows, indent=1) + "\n")
