"""Tags documents of the corpus with the entity types of a spaCy pipeline: a JSON object a line, words and tags.

python tag.py MODEL CORPUS OUT
"""

import json
import os
import random
import sys

import spacy

# Types of OntoNotes; dates, numbers and the like are none.
TYPES = {
    'PERSON': 'person', 'NORP': 'norp', 'FAC': 'location', 'ORG': 'org', 'GPE': 'location', 'LOC': 'location',
    'PRODUCT': 'product', 'EVENT': 'event', 'WORK_OF_ART': 'work', 'LAW': 'work', 'LANGUAGE': 'norp',
}  # fmt: skip
# Documents drawn from each source, and how many of all of them are tagged.
DRAWN = {'wordnet': 30000, 'moby-dick': 2900, 'sotu': 9000, 'kjv': 2500, 'webster': 9000}
TAGGED = 34000
UNUSED = ['parser', 'tagger', 'lemmatizer', 'attribute_ruler', 'senter']


def draw(corpus):
    """Documents of the corpus in the order in which they are tagged."""
    random.seed(1)
    by_source = {}
    with open(corpus) as file:
        for line in file:
            source, text = line.rstrip('\n').split('\t', 1)
            by_source.setdefault(source, []).append(text)
    documents = []
    for source, count in DRAWN.items():
        random.shuffle(by_source[source])
        documents += by_source[source][:count]
    random.shuffle(documents)
    return documents[:TAGGED]


def tags_of(doc):
    tags = ['O'] * len(doc)
    for entity in doc.ents:
        kind = TYPES.get(entity.label_)
        if kind:
            tags[entity.start : entity.end] = [f'B-{kind}'] + [f'I-{kind}'] * (len(entity) - 1)
    return tags


def main(model, corpus, out):
    nlp = spacy.load(model, exclude=UNUSED)
    with open(f'{out}.part', 'w') as file:
        for doc in nlp.pipe(draw(corpus), batch_size=256):
            kept = [(token.text, tag) for token, tag in zip(doc, tags_of(doc)) if token.text.strip()]
            words, tags = zip(*kept)
            file.write(json.dumps({'words': words, 'tags': tags}) + '\n')
    os.rename(f'{out}.part', out)


main(*sys.argv[1:])
