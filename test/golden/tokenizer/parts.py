"""Writes parts.json beside this file: what Python's `tokenizers` answers for each kind of part, with places.

usage: python parts.py [RANDOM_TEXTS OUT]     (needs: tokenizers)

With a number and a file, that many random texts are answered instead, into that file, for a longer comparison:
LOWRANK_PARTS=OUT node --import tsx test/tokenizer/parts.test.ts
"""
import base64
import json
import os
import random
import struct
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Regex

here = os.path.dirname(os.path.abspath(__file__))

TEXTS = [
    "", " ", "Hello... world?! (2nd) $5.00 -- ok :-)", "don't  stop\u00a0me now!! I'm they're", "x² + y² = z½ ① ⅷ 3.14",
    "The Größe of München-Straße, für uns!", "e\u0301a\u0323\u0302 \u0301x q\u0302\u0323 \u1100\u1161\u11a8 각 한국어",
    "ΟΔΟΣ ΣΑΣ İstanbul ıI ẞß ﬁ Å K", "日本語のテキスト、です。𠀇x", "👩‍👩‍👧 🇩🇪 🏽 e👍🏽", "a\r\nb\tc\n\n  d \u2028e\u0085f\u3000g\u200bh\ufeff",
    "[MASK] x[MASK]y  <tok>  z <tok>a BIG bigger big", "▁a ▁▁ b▁", "  lead and trail  ", "नमस्ते दुनिया ก็ทำได้ مرحبا", "\u0000\u0001\u007f\u00ad\ufffd\ue000",
    "１２３ ＡＢＣ ½ Ⅷ ｶﾞ ㍿ ﷺ", "AAaa-BBbb--c", "foo.bar,baz;;q", "\u1e9b\u0323 \u0344 \u0958 \u2126", "a" * 40 + " " + "ab" * 30,
    "<0x41> <unk> </s>", "\u0f73\u0f71\u0f72 \u05d1\u05bc\u05b0", "a_b c__d\u203fe", "\u166d\u061d\u2e4f a\u07fd b\u1cf2 \u0378 c\u0897 \u00a9\u00b9x", "I said: 'It''s' \"do not\" n't .",
]
ALPHABET = [
    *"abcdefgABCxyz0123456789", *"     \t\n\r", *"'.,-_!?()[]$+~^▁<>#",
    "é", "e\u0301", "\u0301", "\u0323", "ß", "İ", "Σ", "日", "本", "語", "の",
    "ー", "한", "\u1100", "\u1161", "\u11a8", "👍", "🏽", "\u200d", "👩", "🇩", "🇪", "𠀇", "½", "²", "Ⅷ", "ﬁ", "ｶ", "ﾞ", "\u00a0", "\u3000", "\u2028",
    "\u200b", "\ufeff", "\u0085", "\u00ad", "\u0000", "\ufffd", "न", "म", "स", "\u094d", "ते", "ก็", "مر", "и", "Å", "Ω", "[MASK]", "<tok>", "BIG", "'s", "'ll",
]


def random_text(rng):
    return "".join(rng.choice(ALPHABET) for _ in range(rng.randint(0, 24)))


def charsmap():
    """A charsmap as SentencePiece writes it, of a few rules, as a double array made by hand."""
    rules = {"ﬁ": "fi", "½": "1/2", "Å": "Å", "\u00a0": " ", "e\u0301": "é", "Ⅷ": "VIII", "\u0001": "", "A": "a", "ＡＢ": "ab"}
    texts = b""
    root = {}
    for key, value in rules.items():
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = len(texts)
        texts += value.encode() + b"\0"
    units = [0] * 65536
    used = {0}
    spare = iter(range(256, 65536, 256))

    def place(node, at, label):
        base = next(spare)
        offset = at ^ base
        unit = label
        if 0 in node:
            unit |= 1 << 8
            units[base] = node[0] | (1 << 31)
        unit |= offset << 10 if offset < 1 << 21 else (offset >> 8 << 10) | (1 << 9)
        units[at] = unit
        for byte, child in node.items():
            if byte:
                place(child, base ^ byte, byte)

    place(root, 0, 0)
    last = max(i for i, unit in enumerate(units) if unit) + 1
    size = (last + 255) // 256 * 256
    return struct.pack("<I", size * 4) + struct.pack(f"<{size}I", *units[:size]) + texts


def characters():
    found = sorted({c for t in TEXTS + ALPHABET for c in t} | set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"))
    return [c for c in found if c not in "☃𠀇"]


PIECES = ["ab", "aa", "abab", "th", "the", "He", "ll", "Hello", "or", "ld", "an", "and", "un", "ß,", "日本", "👍🏽", "e\u0301", "12", "it", "in", "ing"]


def wordpiece(**options):
    tokens = ["[UNK]"] + characters() + ["##" + c for c in characters() if c not in "ü本"] + PIECES + ["##" + p for p in PIECES]
    return models.WordPiece({t: i for i, t in enumerate(dict.fromkeys(tokens))}, unk_token="[UNK]", **options)


def wordlevel():
    words = ["[UNK]", "Hello", "world", "a", "b", "the", "The", ".", "?", "!", "日本語のテキスト", "x", "2", "-", " "]
    return models.WordLevel({t: i for i, t in enumerate(words)}, unk_token="[UNK]")


MERGES = [("a", "b"), ("l", "l"), ("t", "h"), ("th", "e"), ("H", "e"), ("He", "ll"), ("Hell", "o"), ("ab", "ab"), ("a", "a"),
          ("o", "r"), ("▁", "a"), ("▁", "▁"), ("a", "n"), ("an", "d"), ("Ġ", "a"), ("Ġa", "n"), ("Ġ", "Ġ"), ("Ã", "©"), ("i", "n"), ("1", "2"), ("b", "c")]


def bpe(extra=(), alphabet=None, merges=MERGES, prefix="", suffix="", **options):
    letters = alphabet or characters()
    tokens = ["<unk>", *extra, *letters]
    if prefix:
        tokens += [prefix + c for c in letters]
    if suffix:
        tokens += [c + suffix for c in letters] + [prefix + c + suffix for c in letters]
    known = set(tokens)
    kept = []
    for a, b in merges:
        if prefix:
            b = prefix + b
        if a in known and b in known:
            kept.append((a, b))
            merged = a + b[len(prefix):]
            known.add(merged)
            tokens.append(merged)
    if prefix:
        options["continuing_subword_prefix"] = prefix
    if suffix:
        options["end_of_word_suffix"] = suffix
    return models.BPE({t: i for i, t in enumerate(dict.fromkeys(tokens))}, kept, unk_token="<unk>", **options)


def byte_level_bpe(**options):
    return bpe(alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), **options)


def unigram(byte_fallback=False):
    rng = random.Random(5)
    tokens = ["<unk>", "▁"] + [c for c in characters() if c not in "日ßéx"] + PIECES + ["▁" + p for p in PIECES] + ["<0x%02X>" % b for b in range(256)]
    return models.Unigram([(t, -rng.uniform(1, 9)) for t in dict.fromkeys(tokens)], 0, byte_fallback)


GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def cases():
    n, p, m = normalizers, pre_tokenizers, models
    bert, ws = p.BertPreTokenizer(), p.WhitespaceSplit()
    behaviors = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    yield "bert", wordpiece(), n.BertNormalizer(), bert
    for clean in (True, False):
        for chinese in (True, False):
            for accents in (True, False, None):
                for lower in (True, False):
                    yield f"bert {clean} {chinese} {accents} {lower}", wordpiece(), n.BertNormalizer(clean, chinese, accents, lower), bert
    for form in (n.NFC(), n.NFD(), n.NFKC(), n.NFKD(), n.Lowercase(), n.Strip(), n.Strip(True, False), n.Strip(False, True), n.StripAccents(),
                 n.Nmt(), n.Replace("a", "bcd"), n.Replace("ab", "x"), n.Replace(Regex(" {2,}"), "▁"), n.Replace(Regex("^[a-z]|[0-9]+$"), ""),
                 n.Prepend("▁"), n.Prepend("ab"), n.Precompiled(charsmap()), n.Sequence([n.NFD(), n.StripAccents(), n.Lowercase()]),
                 n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")]), n.Sequence([n.Replace("``", '"'), n.NFKD(), n.Strip(), n.Replace(Regex(r"\s"), " ")]), n.ByteLevel()):
        yield f"normalizer {form}", bpe(), form, None
        yield f"normalizer {form} cut", wordpiece(), form, p.Whitespace()
    for behavior in behaviors:
        yield f"punctuation {behavior}", wordpiece(), None, p.Punctuation(behavior)
        for pattern in ("-", "ab", r"\s+", "[-.,!?]", r"\w+|[^\w\s]+", r"a*", r"\d{2}", r"(?<=a)b|$"):
            for invert in (False, True):
                which = pattern if pattern in ("-", "ab") else Regex(pattern)
                yield f"split {pattern} {behavior} {invert}", wordpiece(), None, p.Split(which, behavior, invert)
    for pre in (p.Whitespace(), ws, p.Digits(True), p.Digits(False), p.CharDelimiterSplit("-"), p.Sequence([ws, p.Punctuation()]),
                p.Sequence([p.Whitespace(), p.Digits(True)]), p.Sequence([p.Split(Regex(GPT4), "isolated"), p.Digits(False)]), p.FixedLength(3)):
        yield f"pre {pre}", wordpiece(), None, pre
        yield f"pre {pre} bpe", bpe(fuse_unk=True), None, pre
    for prefix in (True, False):
        for regex in (True, False):
            yield f"bytelevel {prefix} {regex}", byte_level_bpe(), None, p.ByteLevel(add_prefix_space=prefix, use_regex=regex)
    yield "gpt4", byte_level_bpe(ignore_merges=True), n.NFC(), p.Sequence([p.Split(Regex(GPT4), "isolated"), p.ByteLevel(False, use_regex=False)])
    for scheme in ("always", "never", "first"):
        for cut in (True, False):
            yield f"metaspace {scheme} {cut}", unigram(), None, p.Metaspace("▁", scheme, cut)
            yield f"metaspace {scheme} {cut} after words", unigram(True), n.Precompiled(charsmap()), p.Sequence([ws, p.Metaspace("▁", scheme, cut)])
    yield "llama", bpe(extra=["<0x%02X>" % b for b in range(256)], alphabet=[c for c in characters() if c not in "日ßéx"], byte_fallback=True, fuse_unk=True), \
        n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")]), None
    few = [c for c in characters() if c not in "日ßéx本"]
    yield "unknown fused", bpe(alphabet=few, fuse_unk=True), None, ws
    yield "unknown", bpe(alphabet=few), None, ws
    yield "bpe affixes", bpe(prefix="##", suffix="</w>"), n.Lowercase(), ws
    yield "clip", bpe(suffix="</w>"), n.Lowercase(), p.Sequence([p.Split(Regex(r"'s|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", True), p.ByteLevel(False)])
    yield "long words", wordpiece(max_input_chars_per_word=5), None, ws
    yield "words", wordlevel(), None, ws


def utf16(text):
    """UTF-16 units before each character."""
    places = [0]
    for c in text:
        places.append(places[-1] + (2 if ord(c) > 0xFFFF else 1))
    return places


def answer(tokenizer, text):
    out = tokenizer.encode(text, add_special_tokens=False)
    places = utf16(text)
    flat = []
    for id_, (start, end) in zip(out.ids, out.offsets):
        flat += [id_, places[start], places[end]]
    return flat


def main(count, path):
    rng = random.Random(count)
    texts = [random_text(rng) for _ in range(count)] if count else TEXTS
    result = {"texts": texts, "cases": []}
    for i, (name, model, normalizer, pre) in enumerate(cases()):
        tokenizer = Tokenizer(model)
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        if pre is not None:
            tokenizer.pre_tokenizer = pre
        tokenizer.add_tokens([AddedToken("<tok>", lstrip=True, rstrip=True, normalized=False), AddedToken("BIG", single_word=True),
                              AddedToken("[MASK]", special=True, lstrip=i % 2 == 0)])
        if "bytelevel" in name or name == "gpt4":
            tokenizer.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space="True" in name)
        parts = json.loads(tokenizer.to_str())
        # Vocabularies repeat; the test takes them from one place.
        vocab = json.dumps([parts["model"].pop("vocab"), parts["model"].pop("merges", None)], ensure_ascii=True)
        models_ = result.setdefault("models", [])
        if vocab not in models_:
            models_.append(vocab)
        # Of the committed texts each case takes every fourth, so that the file stays small.
        first, step = (0, 1) if count else (i % 4, 4)
        result["cases"].append({"name": name, "model": models_.index(vocab), "tokenizer": parts, "first": first, "step": step,
                                "answers": [answer(tokenizer, t) for t in texts[first::step]]})
    result["decoded"] = list(decoded())
    with open(path, "w", encoding="utf8") as out:
        out.write(json.dumps(result, ensure_ascii=True, separators=(",", ":")).replace('{"name"', '\n{"name"'))


def decoded():
    """Decoders on lists of tokens."""
    d = decoders
    lists = [["Hello", "##ing", ".", "the", "'", "s", "n't", "do", "not"], ["▁Hello", "▁wor", "ld", "▁", "!"], ["a</w>", "b", "c</w>"],
             ["▁a", "<0xE6>", "<0x97>", "<0xA5>", "b", "<0xFF>", "<0xE6>"], ["Ġthe", "Ã©", "æĹ", "¥", "日", "Ġ"], [" a ", "  b", "c  "], ["▁▁x", "y▁"]]
    for one in (d.ByteLevel(), d.WordPiece(), d.WordPiece("##", False), d.Metaspace(), d.Metaspace("▁", "never"), d.BPEDecoder(), d.ByteFallback(),
                d.Fuse(), d.Strip(" ", 1, 0), d.Strip(" ", 1, 2), d.Replace("▁", " "), d.Replace(Regex("[a-c]+"), "_"),
                d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)])):
        tokenizer = Tokenizer(models.WordLevel({}, unk_token="x"))
        tokenizer.decoder = one
        yield [json.loads(tokenizer.to_str())["decoder"], [[tokens, one.decode(tokens)] for tokens in lists]]


if len(sys.argv) > 2:
    main(int(sys.argv[1]), sys.argv[2])
else:
    main(0, os.path.join(here, "parts.json"))
