"""Writes added.json beside this file: what Python's `tokenizers` makes of added tokens that overlap, have other ids than
the file says or change under the normalizer, and of Unigram without, or with the text of, an unknown token.

usage: python added.py     (needs: tokenizers)
"""
import json
import os

from tokenizers import Tokenizer

here = os.path.dirname(os.path.abspath(__file__))
LETTERS = ["<unk>", *"abcdefghi <>", "ab", "\u2581"]


def added(content, id_, **options):
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
    return {"id": id_, "content": content, **flags, **options}


def file(tokens, normalizer=None, post=None, decoder=None, model=None):
    model = model or {"type": "BPE", "unk_token": "<unk>", "fuse_unk": False, "vocab": {t: i for i, t in enumerate(LETTERS)}, "merges": [["a", "b"]]}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": normalizer, "pre_tokenizer": None,
            "post_processor": post, "decoder": decoder, "model": model}


def unigram(unk):
    vocab = [["<unk>", 0.0], ["ab", -1.0], ["a", -3.0], ["d", -2.0], [" ", -2.0]]
    return {"type": "Unigram", "unk_id": unk, "vocab": vocab, "byte_fallback": False}


ROBERTA = {"type": "RobertaProcessing", "sep": ["d", 3], "cls": ["a", 2], "trim_offsets": True, "add_prefix_space": False}
CASES = [
    # A token takes the white space after it, and another stands in that white space.
    [file([added(" ", 10, rstrip=True)]), ["a  b", "   ", "a b   c"]],
    [file([added("<g>", 14, rstrip=True), added(" ", 10)]), ["a<g>  b", "<g> <g>"]],
    # Ids that are not those of the vocabulary, nor the next ones.
    [file([added("<g>", 40), added("ab", 41), added("<h>", 39), added("<g>", 42, lstrip=True)]), ["<g>ab<h>", "a <g> a"]],
    # Looked for, and decoded, as the normalizer makes it.
    [file([added("GH", 14, normalized=True), added("<I>", 15, normalized=True, special=True)], {"type": "Lowercase"}), ["aGHb gh", "<I> <i>a"]],
    # An empty text is found between all characters.
    [file([], {"type": "Replace", "pattern": {"String": ""}, "content": "a"}), ["bc", ""]],
    # The unknown token is not special unless the file says so.
    [file([added("<h>", 14, special=True)]), ["axa", "<h>x"]],
    [file([], model=unigram(None)), ["ab", "abd"]],
    [file([], post=ROBERTA, model=unigram(0)), ["a\u3000", "ab\u2003\u3000d"]],
]


# Characters of 2019 and later, which the tables of normal forms do not know.
CASES += [[file([], {"type": form}, model={"type": "WordLevel", "unk_token": "x", "vocab": {t: i for i, t in enumerate(["x", "\u32ff", "\u32fe", "\U0001fbf0\u00e9", "\U0001e030"])}}),
          ["\u32ff", "\u32fe", "\U0001fbf0e\u0301", "\U0001e030"]] for form in ("NFKC", "NFD")]


def answer(tokenizer, text):
    out = tokenizer.encode(text)
    places = [len(text[:i].encode("utf-16-le")) // 2 for i in range(len(text) + 1)]
    flat = [value for id_, (start, end) in zip(out.ids, out.offsets) for value in (id_, places[start], places[end])]
    return [text, flat, tokenizer.decode(out.ids), tokenizer.decode(out.ids, skip_special_tokens=False)]


result = []
for tokenizer, texts in CASES:
    python = Tokenizer.from_str(json.dumps(tokenizer))
    result.append({"tokenizer": tokenizer, "answers": [answer(python, text) for text in texts]})
with open(os.path.join(here, "added.json"), "w", encoding="utf8") as out:
    out.write(json.dumps(result, ensure_ascii=True, separators=(",", ":")).replace('{"tokenizer"', '\n{"tokenizer"'))
