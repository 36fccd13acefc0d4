# Some of E2E, which describes a restaurant in several ways: 500 rows of dev.jsonl to train, 100 of other restaurants
# to validate, 100 restaurants of test.jsonl with a description each. python bench/peers/restaurants.py E2E OUT
import json
import os
import random
import sys

source, out = sys.argv[1:]
os.makedirs(out, exist_ok=True)
draw = random.Random(0)


def read(name):
    with open(f'{source}/{name}.jsonl') as file:
        return [json.loads(line) for line in file]


def restaurants(rows):
    return draw.sample(sorted({row['prompt'] for row in rows}), 100)


def one_each(rows, prompts):
    return [next(row for row in rows if row['prompt'] == prompt) for prompt in prompts]


dev, test = read('dev'), read('test')
held = restaurants(dev)
splits = {
    'train': draw.sample([row for row in dev if row['prompt'] not in held], 500),
    'valid': one_each(dev, held),
    'test': one_each(test, restaurants(test)),
}
for name, rows in splits.items():
    with open(f'{out}/{name}.jsonl', 'w') as file:
        file.writelines(json.dumps(row) + '\n' for row in rows)
    print(name, len(rows))
