"""Scores of generated texts by rouge-score and sacrebleu: texts.json.

    python texts.py        rouge-score 0.1.2, sacrebleu 2.5.1
"""

import json
import os

from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF

HERE = os.path.dirname(os.path.abspath(__file__))
PAIRS = [
    ('The cat sat on the mat.', 'The cat sat on the mat.'),
    ('A cat sat on a mat, quietly.', 'The cat sat on the mat.'),
    ('There is a place in the city centre, Alimentum, that is not family-friendly.',
     'In the city centre there is a venue name Alimentum, this is not a family-friendly venue.'),
    ('', 'something was expected'),
    ('something was said', ''),
    ('SELECT Notes FROM 1-1000181-1 WHERE x = 3.5', "SELECT Notes FROM 1-1000181-1 WHERE Current slogan = 'SOUTH AUSTRALIA'"),
    ('über die Straße gehen', 'Über die Strasse gehen'),
    ('the the the the the the the', 'the cat is on the mat'),
    ('It costs $3,200.50 (about 10%)!', 'It costs $3,200.50 -- about 10 %.'),
    ("don't stop; e.g. U.S.A. &amp; \"quotes\" <skipped>", "don't stop, e.g. USA & 'quotes'"),
    ('one two\nthree  four\tfive', 'one two three four six'),
    ('a', 'a'),
    ('日本語のテキスト', '日本語の文章'),
]  # fmt: skip

scorer = rouge_scorer.RougeScorer(['rouge1', 'rouge2', 'rougeL'], use_stemmer=False)


def corpus(pairs):
    said, wanted = [p[0] for p in pairs], [[p[1] for p in pairs]]
    return dict(bleu=BLEU().corpus_score(said, wanted).score, chrf=CHRF().corpus_score(said, wanted).score)


each = []
for said, wanted in PAIRS:
    rouge = scorer.score(wanted, said)
    each.append(dict(
        said=said, wanted=wanted, rouge={name: [s.precision, s.recall, s.fmeasure] for name, s in rouge.items()},
        **corpus([(said, wanted)]),
    ))  # fmt: skip
with open(f'{HERE}/texts.json', 'w', encoding='utf-8') as f:
    lines = ',\n'.join('  ' + json.dumps(case, ensure_ascii=False) for case in each)
    f.write('{\n "corpus": ' + json.dumps(corpus(PAIRS)) + ',\n "texts": [\n' + lines + '\n ]\n}\n')
