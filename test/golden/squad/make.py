"""Makes scores.json of this folder: answers and golds with the exact match and F1 that the rules of SQuAD give.

    python make.py        no packages

The rules (Rajpurkar et al. 2016, 2018): text is lowered, then the ASCII punctuation of Python's `string` goes, then the
words a, an, the; what is left is cut at white space. Exact match: the same words in the same order. F1: of the words as
bags; where either side has none, whether both have none. Of several golds the best counts; golds without words are
left out, and without any gold the right answer is the empty one.
"""

import collections
import json
import os
import random
import re
import string

WORDS = ['the', 'a', 'an', 'An', 'Denver', 'Broncos', 'broncos', "Luke's", 'Luke', '118', '24–10', '1,000', 'U.S.', 'éa', 'theory']
JOINS = [' ', '  ', '\t', '-', ', ', ' – ', '\u00a0', '\u3000', '\u2009', '\x1f', '\u0085', '']


def words(text):
    kept = ''.join(c for c in text.lower() if c not in set(string.punctuation))
    return re.sub(r'\b(a|an|the)\b', ' ', kept).split()


def f1(said, gold):
    if not said or not gold:
        return float(said == gold)
    same = sum((collections.Counter(said) & collections.Counter(gold)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(said), same / len(gold)
    return 2 * precision * recall / (precision + recall)


def score(answer, golds):
    right = [g for g in golds if words(g)] or ['']
    said = words(answer)
    return max(float(said == words(g)) for g in right), max(f1(said, words(g)) for g in right)


def made_up(rng):
    parts = [rng.choice(WORDS) for _ in range(rng.randrange(1, 6))]
    return ''.join(part + rng.choice(JOINS) for part in parts)


def main():
    rng = random.Random(7)
    cases = [('', []), ('', ['the']), ('Paris', []), ('', ['Paris']), ('the', ['Paris']), ('Paris.', ['the Paris!', 'Rome'])]
    for _ in range(120):
        golds = [made_up(rng) for _ in range(rng.randrange(0, 4))]
        answer = rng.choice(golds) + rng.choice(['', ' Luke', '.']) if golds and rng.random() < 0.5 else made_up(rng)
        cases.append((answer, golds))
    rows = [dict(answer=a, golds=g, exact=score(a, g)[0], f1=score(a, g)[1]) for a, g in cases]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'scores.json'), 'w', encoding='utf-8') as f:
        f.write('[\n' + ',\n'.join(json.dumps(row) for row in rows) + '\n]\n')


if __name__ == '__main__':
    main()
