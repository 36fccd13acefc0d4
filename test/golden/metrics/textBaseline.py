"""TF-IDF with a logistic regression for each label, by scikit-learn: python textBaseline.py > textBaseline.json

Texts of a few topics with words in common, labelled with any number of the topics; some labels are wrong, so that no
model is right everywhere.
"""

import json
import random

import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.multiclass import OneVsRestClassifier

TOPICS = {"sea": "wave salt ship tide", "hill": "stone path height ship", "town": "street path shop tide"}
random.seed(5)


def row():
    labels = [random.random() < 0.4 for _ in TOPICS]
    words = [random.choice(own.split()) for own, on in zip(TOPICS.values(), labels) for _ in range(2) if on]
    words += random.choices("the a of wave stone street near".split(), k=4)
    random.shuffle(words)
    return " ".join(words), [int(on != (random.random() < 0.08)) for on in labels]


train, test = [row() for _ in range(80)], [row() for _ in range(40)]
vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\b\w\w+\b")
x = vectorizer.fit_transform([text for text, _ in train])
model = OneVsRestClassifier(LogisticRegression(C=10, tol=1e-8, max_iter=10_000)).fit(x, [y for _, y in train])
gold, found = [y for _, y in test], model.predict(vectorizer.transform([text for text, _ in test]))
print(
    json.dumps(
        {
            "scikit-learn": sklearn.__version__,
            "labels": list(TOPICS),
            "train": train,
            "test": test,
            "accuracy": accuracy_score(gold, found),
            "microF1": f1_score(gold, found, average="micro"),
            "macroF1": f1_score(gold, found, average="macro"),
        }
    )
)
