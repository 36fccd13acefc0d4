"""Writes encodings.json, bytelevel.json and wordpiece.json beside this file.

usage: python make.py MINIBERT_FOLDER     (needs: tokenizers, transformers)

bytelevel.json is a RoBERTa-shaped byte-level BPE, wordpiece.json a BERT-shaped WordPiece, both trained on the text
below; encodings.json holds what Python's libraries answer for them and for the tokenizer of MINIBERT_FOLDER.
"""
import json
import os
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

here = os.path.dirname(os.path.abspath(__file__))

TEXTS = [
    "", " ", "   \t\n ", "a", "The quick brown fox jumps over the lazy dog.", "don't  stop\u00a0me now!!",
    "naïve café résumé Ångström", "ΟΔΟΣ ΣΑΣ Σ", "İstanbul ISTANBUL ıi", "日本語のテキスト", "a\U0002010ce \U0002f800x",
    "emoji 👩‍👩‍👧 and 🇩🇪 flags", "zero\u200bwidth \ufeffbom \u0000nul \ufffd", "tab\tnew\nline\r\nend",
    "e\u0301 combining \u0301", "supercalifragilisticexpialidocious" * 4, "x" * 150, "[MASK] in [SEP] text [CLS]",
    "<mask> and </s> and <s>", "  lead and trail  ", "C++ & C#: 50% off @user #tag https://x.yz/?a=b&c=d",
    "１２３ ＡＢＣ ﬁ ½ Ⅷ", "नमस्ते दुनिया", "مرحبا بالعالم", "ก็ทำได้", "¿Qué? ¡Sí! „Zitat“ ‘q’ — – …",
    "line\u2028sep\u2029par\u0085nel", "\u202eRTL\u202c", "ẞ ß ſ K Å", "한국어 텍스트 각", "1,234.56 -7e-3 0x1F",
    "A_B-C/D\\E|F~G`H^I", "𝒳 math 𝟘", "i'll you're we've it's he'd I'm", "a  b   c    d",
    "bom \ufeff \ufeffx\ufeff", "nel \u0085 x\u0085", "ideographic\u3000space\u1680ogham \u180e",
]
PAIRS = [
    ["Is it raining?", "Yes, it is raining hard today."], ["", "only the second"], ["only the first", ""],
    ["one two three four five six seven eight nine ten", "a b"], ["a b", "one two three four five six seven eight"],
    ["one two three four five six", "seven eight nine ten eleven twelve"],
]
WORDS = [
    ["EU", "rejects", "German", "call", "."], ["", "empty", " "], ["\u200b", "zero-width", "\ufe0f"],
    ["don't", "U.S.", "㐂𠄌", "x" * 120], ["[MASK]", "New York", "日本"], [],
    ["unbelievably", "internationalisation", "tokens"] * 4,
]
LENGTHS = [None, 5, 6, 7, 8, 12]


def training_text():
    text = [t for t in TEXTS] + [w for p in PAIRS for w in p] + [" ".join(w) for w in WORDS]
    return text + open(__file__, encoding="utf8").read().split("\n")


def make_wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=700, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(training_text() + [t.lower() for t in TEXTS], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.enable_truncation(9)
    tokenizer.save(os.path.join(here, "wordpiece.json"), pretty=False)


def make_bytelevel():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=specials, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(training_text(), trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.enable_truncation(9)
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    tokenizer.save(os.path.join(here, "bytelevel.json"), pretty=False)


def lowercased(path):
    """The same vocabulary with the uncased normaliser, to see lower-casing and accent stripping."""
    tokenizer = Tokenizer.from_file(path)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    return tokenizer


def plain(tokenizer):
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def answers(tokenizer, fast):
    def one(text, pair, length):
        options = {"truncation": "longest_first", "max_length": length} if length else {}
        # As a batch, because a single call takes an empty second text for none.
        out = fast([text], None if pair is None else [pair], return_token_type_ids=True, **options)
        return [out["input_ids"][0], out["token_type_ids"][0]]

    def words(list_, length):
        options = {"truncation": True, "max_length": length} if length else {}
        out = fast(list_, is_split_into_words=True, **options)
        return [out["input_ids"], [-1 if w is None else w for w in out.word_ids()]]

    texts = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        texts.append({"ids": ids, "plain": tokenizer.encode(text, add_special_tokens=False).ids,
                      "decoded": tokenizer.decode(ids)})
    return {
        "texts": texts,
        "pairs": [[one(a, b, n) for n in LENGTHS] for a, b in PAIRS],
        "cut": [one(TEXTS[4], None, n) for n in LENGTHS],
        "words": [[words(w, n) for n in LENGTHS] for w in WORDS],
    }


def main(minibert):
    make_bytelevel()
    make_wordpiece()
    wordpiece = os.path.join(here, "wordpiece.json")
    path = os.path.join(minibert, "tokenizer.json")
    bytelevel = os.path.join(here, "bytelevel.json")
    bert = dict(unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
    names = dict(unk_token="<unk>", pad_token="<pad>", cls_token="<s>", sep_token="</s>", mask_token="<mask>")
    spaced = Tokenizer.from_file(bytelevel)
    spaced.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    result = {"texts": TEXTS, "pairs": PAIRS, "words": WORDS, "lengths": LENGTHS, "answers": {}}
    sets = [
        ("minibert", plain(Tokenizer.from_file(path)), None, bert),
        ("wordpiece", plain(Tokenizer.from_file(wordpiece)), None, bert),
        ("wordpiece-lowercase", plain(lowercased(wordpiece)), None, bert),
        ("bytelevel", plain(Tokenizer.from_file(bytelevel)), plain(spaced), names),
    ]
    for name, tokenizer, for_words, special in sets:
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
        found = answers(tokenizer, fast)
        if for_words is not None:
            fast = PreTrainedTokenizerFast(tokenizer_object=for_words, **special)
            found["words"] = answers(for_words, fast)["words"]
        result["answers"][name] = found
    with open(os.path.join(here, "encodings.json"), "w", encoding="utf8") as out:
        out.write(json.dumps(result, ensure_ascii=True, separators=(",", ":")).replace('],[[', '],\n[['))


main(sys.argv[1])
