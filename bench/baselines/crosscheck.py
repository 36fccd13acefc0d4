"""The TF-IDF + logistic regression of this folder by scikit-learn, on all training rows or the first COUNT of them.

python bench/baselines/crosscheck.py [COUNT]; compare with: node --import tsx bench/baselines/crosscheck.ts [COUNT]
"""
import json
import sys
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

folder = Path(__file__).resolve().parents[2] / 'assets/sample'


def read(split):
    rows = [json.loads(line) for line in (folder / f'{split}.jsonl').open(encoding='utf-8')]
    return [row['text'] for row in rows], [row['label'] for row in rows]


count = int(sys.argv[1]) if len(sys.argv) > 1 else None
texts, labels = read('train')
texts, labels = texts[:count], labels[:count]
test_texts, test_labels = read('test')
vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
x, x_test = vectorizer.fit_transform(texts), vectorizer.transform(test_texts)
for c in (10, 100):
    model = LogisticRegression(C=c, tol=1e-6, max_iter=5000).fit(x, labels)
    predicted = model.predict(x_test)
    print(json.dumps({'rows': len(texts), 'features': x.shape[1], 'c': c,
                      'correct': int((predicted == test_labels).sum()), 'predicted': list(predicted)}))
