# The first 20 intents of banking77 in the order of the alphabet: 40 rows of each to train, 10 to validate (of train.jsonl,
# shuffled with seed 0), all 40 of test.jsonl. python bench/peers/intents.py BANKING77 OUT
import json
import os
import random
import sys

source, out = sys.argv[1:]
os.makedirs(out, exist_ok=True)


def read(name):
    with open(f'{source}/{name}.jsonl') as file:
        return [json.loads(line) for line in file]


shuffled = read('train')
random.Random(0).shuffle(shuffled)
names = sorted({row['label'] for row in shuffled})[:20]
test = [row for row in read('test') if row['label'] in names]
splits = {'train': [], 'validation': [], 'test': test}
for name in names:
    rows = [row for row in shuffled if row['label'] == name]
    splits['validation'] += rows[:10]
    splits['train'] += rows[10:50]
for name, rows in splits.items():
    random.Random(1).shuffle(rows)
    with open(f'{out}/{name}.jsonl', 'w') as file:
        file.writelines(json.dumps(row) + '\n' for row in rows)
    print(name, len(rows))
