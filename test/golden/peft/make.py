"""Writes matching.json: what PEFT makes of LoRA configs on tiny random models - matched modules with rank and
scaling, the text of adapter_config.json, tensor keys with shapes. Run: python make.py
(peft 0.21.0, transformers 5.18)"""
import copy
import json
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../python"))

import torch
import transformers as tf
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from shared import TASK
from transformers.pytorch_utils import Conv1D

bert = dict(vocab_size=40, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24,
            max_position_embeddings=20, num_labels=3)
distil = dict(vocab_size=40, dim=16, n_layers=3, n_heads=2, hidden_dim=24, max_position_embeddings=20, num_labels=3)
gpt2 = dict(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=20, num_labels=3, pad_token_id=0)
llama = dict(vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, num_labels=3, pad_token_id=0)
models = {
    "bert-seq": (tf.BertForSequenceClassification, tf.BertConfig, bert),
    "bert-tok": (tf.BertForTokenClassification, tf.BertConfig, bert),
    "bert-mlm": (tf.BertForMaskedLM, tf.BertConfig, bert),
    "bert-qa": (tf.BertForQuestionAnswering, tf.BertConfig, bert),
    "roberta-seq": (tf.RobertaForSequenceClassification, tf.RobertaConfig, bert),
    "roberta-tok": (tf.RobertaForTokenClassification, tf.RobertaConfig, bert),
    "distilbert-seq": (tf.DistilBertForSequenceClassification, tf.DistilBertConfig, distil),
    "distilbert-tok": (tf.DistilBertForTokenClassification, tf.DistilBertConfig, distil),
    "gpt2-lm": (tf.GPT2LMHeadModel, tf.GPT2Config, gpt2),
    "llama-lm": (tf.LlamaForCausalLM, tf.LlamaConfig, llama),
    "llama-seq": (tf.LlamaForSequenceClassification, tf.LlamaConfig, llama),
}
tasks = {**TASK, "qa": "QUESTION_ANS"}

cases = [
    *[(name, {}) for name in models],
    *[(name, dict(target_modules="all-linear")) for name in models],
    ("bert-seq", dict(target_modules=["query"], r=4, lora_alpha=16, lora_dropout=0.1)),
    ("bert-seq", dict(target_modules=["query"], lora_alpha=11.313708498984761, lora_dropout=1e-05)),
    ("bert-seq", dict(target_modules=["query"], lora_alpha=16.0, use_rslora=True, init_lora_weights="gaussian")),
    ("bert-seq", dict(target_modules=["output.dense"], bias="lora_only")),
    ("bert-seq", dict(target_modules=["dense"], init_lora_weights=False)),
    ("bert-seq", dict(target_modules=["query", "nothing"])),
    ("bert-seq", dict(target_modules=["quer"])),
    ("bert-seq", dict(target_modules="query")),
    ("bert-seq", dict(target_modules=r".*\.(query|value)")),
    ("bert-seq", dict(target_modules=r"bert\.encoder\.layer\.[02]\.(?!output).*dense")),
    ("bert-seq", dict(target_modules=r"(?P<a>.*)\.self\.key")),
    ("bert-seq", dict(target_modules=["bert.encoder.layer.1.attention.self.key"])),
    ("bert-seq", dict(target_modules=["query", "classifier"])),
    ("bert-seq", dict(target_modules=["classifier"])),
    ("bert-seq", dict(target_modules=["pooler.dense"], modules_to_save=["pooler"])),
    ("bert-seq", dict(target_modules=["dense"], modules_to_save=["pooler"])),
    ("bert-seq", dict(target_modules=["query", "dense"], exclude_modules=["output.dense"])),
    ("bert-seq", dict(target_modules="all-linear", exclude_modules=r".*\.layer\.[01]\..*")),
    ("bert-seq", dict(target_modules=["query"], layers_to_transform=1)),
    ("bert-seq", dict(target_modules=["query"], layers_to_transform=[0, 2])),
    ("bert-seq", dict(target_modules=["query"], layers_to_transform=[])),
    ("bert-seq", dict(target_modules=["dense"], layers_to_transform=[0], layers_pattern="layer")),
    ("bert-seq", dict(target_modules=["query"], layers_to_transform=[0], layers_pattern=["h", "layer"])),
    ("bert-seq", dict(target_modules=["query"], layers_to_transform=[0], layers_pattern="blocks")),
    ("bert-seq", dict(target_modules=["query"], layers_pattern="layer")),
    ("bert-seq", dict(target_modules=".*query", layers_to_transform=[0])),
    ("bert-seq", dict(target_modules=["query", "value"], rank_pattern={"query": 3, "layer.0.attention.self.query": 5})),
    ("bert-seq", dict(target_modules=["query", "value"], rank_pattern={"layer.0.attention.self.query": 5, "query": 3})),
    ("bert-seq", dict(target_modules=["query", "value"], rank_pattern={r"layer\.\d\..*query": 2, "value": 6},
                      alpha_pattern={"value": 12, "query": 2.5})),
    ("bert-seq", dict(target_modules=["query"], rank_pattern={"^bert.encoder.layer.1.attention.self.query": 5},
                      alpha_pattern={"uery": 3}, use_rslora=True)),
    ("bert-tok", dict(target_modules=["query", "classifier"])),
    ("roberta-seq", dict(target_modules=["dense"])),
    ("roberta-seq", dict(target_modules=["query"], modules_to_save=["lm_head"])),
    ("distilbert-seq", dict(target_modules=["q_lin", "v_lin"])),
    ("distilbert-tok", dict(target_modules=["q_lin", "lin1"])),
    ("gpt2-lm", dict(target_modules=["c_proj"], layers_to_transform=0)),
    ("gpt2-lm", dict(target_modules=["mlp.c_proj", "c_attn"])),
    ("llama-lm", dict(target_modules=["q_proj", "lm_head"])),
    ("llama-seq", dict(target_modules=["o_proj", "down_proj"], layers_to_transform=[1])),
]


def build(name):
    cls, config, sizes = models[name]
    torch.manual_seed(0)
    return cls(config(**sizes))


def linears(model):
    head = model.get_output_embeddings()
    out = []
    for path, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, Conv1D)):
            rows, columns = module.weight.shape
            size = [rows, columns] if isinstance(module, Conv1D) else [columns, rows]
            out.append([path, *size, module is head])
    return out


def run(name, kwargs):
    row = {"model": name, "config": kwargs}
    try:
        config = LoraConfig(task_type=tasks[name.split("-")[1]], **copy.deepcopy(kwargs))
        wrapped = get_peft_model(build(name), config)
    except Exception as error:
        return {**row, "error": f"{type(error).__name__}: {error}"[:160]}
    row["matched"] = {
        path.removeprefix("base_model.model."):
            [module.r["default"], module.lora_alpha["default"], module.scaling["default"]]
        for path, module in wrapped.named_modules() if isinstance(module, LoraLayer)
    }
    with tempfile.TemporaryDirectory() as folder:
        wrapped.save_pretrained(folder)
        row["saved"] = pathlib.Path(folder, "adapter_config.json").read_text()
        with safe_open(pathlib.Path(folder, "adapter_model.safetensors"), "pt") as file:
            row["keys"] = {key: file.get_slice(key).get_shape() for key in sorted(file.keys())}
    if row["model"] not in ("bert-seq", "roberta-seq", "distilbert-seq", "distilbert-tok") or len(row["keys"]) > 20:
        del row["keys"]
    return row


out = {"models": {}, "cases": [run(*case) for case in cases]}
for name in models:
    model = build(name)
    out["models"][name] = {
        "model_type": model.config.model_type, "task_type": tasks[name.split("-")[1]], "linears": linears(model),
        "modules": [path for path, _ in model.named_modules() if "layer" not in path and ".h." not in path and path],
    }
pathlib.Path(__file__).with_name("matching.json").write_text(
    '{"models": {\n' + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in out["models"].items())
    + '\n},\n"cases": [\n' + ",\n".join(json.dumps(row) for row in out["cases"]) + "\n]}\n")
