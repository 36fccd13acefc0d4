"""Writes config.json beside this file: what transformers 5 makes of tokenizer_config.json and of folders without
tokenizer.json.

usage: python config.py     (needs: transformers 5)
"""
import json
import os
import shutil
import tempfile

from transformers import AutoTokenizer

here = os.path.dirname(os.path.abspath(__file__))
TEXTS = ["Café Größe 北京 the FILM", "one two three four five six seven eight nine ten", "don't [MASK] <mask> </s> x", " lead"]
BERT = dict(cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")
BYTES = dict(cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", bos_token="<s>", eos_token="</s>")
CASES = [
    ["wordpiece", dict(BERT, tokenizer_class="BertTokenizer", do_lower_case=True)],
    ["wordpiece", dict(BERT, tokenizer_class="BertTokenizer", do_lower_case=False)],
    ["wordpiece", dict(BERT, tokenizer_class="BertTokenizer")],
    ["wordpiece", dict(BERT, tokenizer_class="BertTokenizerFast", do_lower_case=True, strip_accents=False)],
    ["wordpiece", dict(BERT, tokenizer_class="BertTokenizer", do_lower_case=True, tokenize_chinese_chars=False)],
    ["wordpiece", dict(BERT, tokenizer_class="PreTrainedTokenizerFast", do_lower_case=True)],
    ["wordpiece", dict(BERT, tokenizer_class="BertTokenizer", do_lower_case=False, truncation_side="left")],
    ["bytelevel", dict(BYTES, tokenizer_class="RobertaTokenizer")],
    ["bytelevel", dict(BYTES, tokenizer_class="RobertaTokenizer", add_prefix_space=True)],
    ["bytelevel", dict(BYTES, tokenizer_class="PreTrainedTokenizerFast", truncation_side="left")],
    ["bytelevel", dict(BYTES, tokenizer_class="PreTrainedTokenizerFast", add_bos_token=True, add_eos_token=False)],
    ["bytelevel", dict(BYTES, tokenizer_class="PreTrainedTokenizerFast", add_bos_token=False, add_eos_token=True)],
    ["bytelevel", dict(BYTES, tokenizer_class="PreTrainedTokenizerFast", added_tokens_decoder={
        "20": {"content": "!", "lstrip": False, "rstrip": True, "single_word": False, "normalized": False, "special": True}})],
    ["vocab.txt", dict(BERT, tokenizer_class="BertTokenizer", do_lower_case=False)],
    ["vocab.txt", dict(BERT, tokenizer_class="BertTokenizer")],
    ["merges.txt", dict(BYTES, tokenizer_class="RobertaTokenizer")],
    # OPT's repositories have no more than this, and </s> before each text; GPT-2 has nothing.
    ["merges.txt", dict(unk_token="</s>", bos_token="</s>", eos_token="</s>", pad_token="<pad>", add_bos_token=True, tokenizer_class="GPT2Tokenizer")],
    ["merges.txt", dict(unk_token="</s>", bos_token="</s>", eos_token="</s>", pad_token="<pad>", tokenizer_class="GPT2Tokenizer")],
    ["bytelevel", dict(BYTES, tokenizer_class="PreTrainedTokenizerFast", add_prefix_space=True)],
    ["wordpiece", dict(BERT, tokenizer_class="BertTokenizer", additional_special_tokens=["!"], image_token="two")],
    ["wordpiece", dict(BERT, tokenizer_class="PreTrainedTokenizerFast", extra_special_tokens=["nine", "<y>"])],
    ["wordpiece", dict(BERT, tokenizer_class="BertTokenizer", split_special_tokens=True)],
    # A class that builds its tokenizer anew leaves out what added_tokens_decoder does not list, but for its own.
    ["bytelevel", dict(tokenizer_class="RobertaTokenizer", trim_offsets=False, added_tokens_decoder={
        "20": {"content": "!", "lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": False}})],
]


def fill(folder, files, config):
    source = "wordpiece" if files in ("wordpiece", "vocab.txt") else "bytelevel"
    with open(os.path.join(here, f"{source}.json"), encoding="utf8") as file:
        model = json.load(file)["model"]
    if files == source:
        shutil.copy(os.path.join(here, f"{source}.json"), os.path.join(folder, "tokenizer.json"))
    elif files == "vocab.txt":
        with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf8") as out:
            out.write("".join(t + "\n" for t in sorted(model["vocab"], key=model["vocab"].get)))
    else:
        with open(os.path.join(folder, "vocab.json"), "w", encoding="utf8") as out:
            json.dump({**model["vocab"], "<mask>": 700}, out)
        with open(os.path.join(folder, "merges.txt"), "w", encoding="utf8") as out:
            out.write("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in model["merges"]))
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf8") as out:
        json.dump(config, out)


def main():
    result = {"texts": TEXTS, "cases": []}
    for files, config in CASES:
        with tempfile.TemporaryDirectory() as folder:
            fill(folder, files, config)
            tokenizer = AutoTokenizer.from_pretrained(folder)
            tokenizer.backend_tokenizer.no_padding()
            cut = tokenizer(TEXTS[1], truncation=True, max_length=10)["input_ids"]
            tokenizer.backend_tokenizer.no_truncation()
            full = [tokenizer(t)["input_ids"] for t in TEXTS]
            result["cases"].append({"files": files, "config": config, "ids": full, "cut": cut, "size": len(tokenizer)})
    with open(os.path.join(here, "config.json"), "w", encoding="utf8") as out:
        out.write(json.dumps(result, ensure_ascii=True, separators=(",", ":")).replace('{"files"', '\n{"files"'))


main()
