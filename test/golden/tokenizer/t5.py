"""Writes t5.json and t5_encodings.json beside this file.

usage: python t5.py     (needs: sentencepiece, tokenizers, transformers 5)

t5.json is a T5 tokenizer as transformers 5 writes it: pieces and normaliser of SentencePiece, trained on the text of
the other scripts, words after a space sign, </s> at the end, sentinels. t5_encodings.json holds what Python's
tokenizers answers for it and for the parts that transformers 4 wrote in its place.
"""
import io
import json
import os
import unicodedata

import sentencepiece
from tokenizers import Tokenizer
from transformers import T5Tokenizer

here = os.path.dirname(os.path.abspath(__file__))

TEXTS = [
    "", " ", "   \t\n ", "a", "The quick brown fox jumps over the lazy dog.", "translate English to German: It's late.",
    "naïve café résumé Ångström", "日本語のテキスト", "emoji 👩‍👩‍👧 and 🇩🇪 flags", "zero\u200bwidth \ufeffbom \ufffd",
    "tab\tnew\nline\r\nend", "e\u0301 combining \u0301", "supercalifragilisticexpialidocious" * 4, "  lead and trail  ",
    "C++ & C#: 50% off @user #tag https://x.yz/?a=b&c=d", "１２３ ＡＢＣ ﬁ ½ Ⅷ", "don't  stop\u00a0me now!!", "▁ marks ▁▁ in▁text",
    "The <extra_id_0> walks in <extra_id_1> park", "<extra_id_0>cute dog<extra_id_1> the <extra_id_2>", "ends here</s>",
    "<pad> pads <unk> unknown", "line\u2028sep\u2029par\u0085nel", "ideographic\u3000space", "1,234.56 -7e-3 0x1F",
]
PAIRS = [["Is it raining?", "Yes, it is raining hard today."], ["", "only the second"], ["only the first", ""]]
LENGTHS = [None, 4, 7, 12]
# As convert_slow_tokenizer of transformers 4 made them.
OLD = {
    "normalizer": [
        None,  # the charsmap
        {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
    ],
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
}


def training_text():
    for name in ("make.py", "parts.py"):
        with open(os.path.join(here, name), encoding="utf8") as f:
            yield from (line.strip() for line in f if line.strip())
    yield from TEXTS


def rules(path):
    """NFKC of the characters that the texts have, as SentencePiece's own rules would change them."""
    found = {c: unicodedata.normalize("NFKC", c) for text in TEXTS for c in text}
    found |= {"\t": " ", "\n": " ", "\r": " ", "\u200b": " ", "\ufeff": " ", "\u2028": " ", "\u2029": " ", "\u0085": " "}
    found["e\u0301"] = "é"
    hexes = lambda s: " ".join(f"{ord(c):X}" for c in s)
    with open(path, "w", encoding="utf8") as out:
        for key, value in sorted(found.items()):
            if key != value:
                out.write(f"{hexes(key)}\t{hexes(value)}\n")


def trained():
    path = os.path.join(here, "rules.tsv")
    rules(path)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=training_text(), model_writer=model, vocab_size=700, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        normalization_rule_tsv=path, num_threads=1, minloglevel=2, hard_vocab_limit=False)
    os.remove(path)
    return model.getvalue()


def charsmap_of(model):
    """precompiled_charsmap (field 2) of normalizer_spec (field 3) of the model's protobuf."""
    def fields(data):
        at = 0
        def varint():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    return value
        while at < len(data):
            key = varint()
            if key & 7 == 2:
                size = varint()
                yield key >> 3, data[at:at + size]
                at += size
            elif key & 7 == 5:
                at += 4
            elif key & 7 == 1:
                at += 8
            else:
                varint()
    spec = next(value for field, value in fields(model) if field == 3)
    return next(value for field, value in fields(spec) if field == 2)


def answers(tokenizer):
    def one(text, length):
        tokenizer.no_truncation()
        if length:
            tokenizer.enable_truncation(length)
        given = tokenizer.encode(text) if isinstance(text, str) else tokenizer.encode(*text)
        return given.ids
    tokenizer.no_truncation()
    texts = []
    for text in TEXTS:
        got = tokenizer.encode(text)
        texts.append({"ids": got.ids, "plain": tokenizer.encode(text, add_special_tokens=False).ids,
                      "decoded": tokenizer.decode(got.ids)})
    pairs = [[one(pair, n) for n in LENGTHS] for pair in PAIRS]
    return {"texts": texts, "cut": [one(TEXTS[4], n) for n in LENGTHS], "pairs": pairs}


def main():
    model = trained()
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocab = [(processor.id_to_piece(i), processor.get_score(i)) for i in range(processor.get_piece_size())]
    vocab += [(f"<extra_id_{i}>", 0.0) for i in range(9, -1, -1)]
    made = T5Tokenizer(vocab=vocab, extra_ids=10, _spm_precompiled_charsmap=charsmap_of(model))
    made._tokenizer.save(os.path.join(here, "t5.json"), pretty=False)
    with open(os.path.join(here, "t5.json"), encoding="utf8") as f:
        spelled = json.load(f)
    new = Tokenizer.from_str(json.dumps(spelled))
    for text in ("The quick brown fox", "translate English to German: It's late."):
        assert new.encode(text, add_special_tokens=False).ids == processor.encode(text), text
    old = dict(spelled)
    old["normalizer"] = {"type": "Sequence", "normalizers": [spelled["normalizer"], *OLD["normalizer"][1:]]}
    old["pre_tokenizer"] = OLD["pre_tokenizer"]
    result = {
        "texts": TEXTS, "pairs": PAIRS, "lengths": LENGTHS,
        "old": {"normalizers": OLD["normalizer"][1:], "pre_tokenizer": OLD["pre_tokenizer"]},
        "answers": {"new": answers(new), "old": answers(Tokenizer.from_str(json.dumps(old)))},
    }
    with open(os.path.join(here, "t5_encodings.json"), "w", encoding="utf8") as out:
        json.dump(result, out, ensure_ascii=True, separators=(",", ":"))
        out.write("\n")


main()
