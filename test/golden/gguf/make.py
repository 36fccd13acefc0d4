"""Makes the GGUF files of this folder with gguf-py, and what it and others read in them.

    python make.py        gguf 0.19.0, sentencepiece 0.2, tokenizers 0.23, torch 2.13.0, safetensors

blocks.json: random blocks of every type and what gguf-py dequantises them to. models/: decoders of ../models, written
as llama.cpp's converter writes them: names from gguf-py, rows of Llama's queries and keys interleaved, Gemma's norms
plus one. blocks.gguf: a Llama whose matrices are random blocks, each of another type; blocks-f32.json has the SHA-256
of every tensor as Hugging Face files would hold it. tokenizers/: vocabularies alone; tokens.json has the ids of
sentencepiece and of tokenizers.
"""

import base64
import hashlib
import io
import json
import random
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import load_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = Path(__file__).parent
MODELS = HERE.parent / 'models'
TYPES = [Type[name] for name in 'Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K'.split()]
# Where a block has its f16 numbers.
SCALES = dict(Q4_0=[0], Q4_1=[0, 2], Q5_0=[0], Q5_1=[0, 2], Q8_0=[0], Q2_K=[80, 82], Q3_K=[108], Q4_K=[0, 2], Q5_K=[0, 2], Q6_K=[208])


def random_blocks(rng, rows, columns, type, scale=1.0):
    """Bytes of every value, with scales that are numbers; the first blocks have small, negative and no scales."""
    elements, size = gguf.GGML_QUANT_SIZES[type]
    blocks = rng.integers(0, 256, (rows * columns // elements, size), dtype=np.uint8)
    for at in SCALES[type.name]:
        values = (rng.normal(size=len(blocks)) * scale).astype(np.float16)
        if scale == 1.0:
            values[:3] = np.array([6e-8, -1.5e-5, 0], dtype=np.float16)
        blocks[:, at : at + 2] = values.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, -1)


def text(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def make_blocks():
    rng = np.random.default_rng(7)
    cases = {}
    for type in TYPES:
        columns = max(64, gguf.GGML_QUANT_SIZES[type][0])
        blocks = random_blocks(rng, 6, columns, type)
        values = gguf.quants.dequantize(blocks, type)
        cases[type.name] = dict(shape=[6, columns], blocks=text(blocks), values=text(values.astype(np.float32)))
    # What gguf-py quantises itself, for what is written; with a block of zeros and ties.
    x = rng.normal(size=(4, 96)).astype(np.float32) * 0.05
    x[1, 32:64] = 0
    x[2, :32] = np.linspace(-1, 1, 32, dtype=np.float32)
    quantized = {name: text(gguf.quants.quantize(x, Type[name])) for name in ('Q8_0', 'Q4_0')}
    made = dict(gguf='0.19.0', cases=cases, quantized=dict(shape=[4, 96], values=text(x), **quantized))
    (HERE / 'blocks.json').write_text(json.dumps(made, indent=1) + '\n')


def permuted(w, heads):
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def writer(path, arch, name):
    out = gguf.GGUFWriter(path, arch)
    out.add_name(name)
    return out


def close(out):
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def add_llama_values(out, c, arch):
    hidden, heads = c['hidden_size'], c['num_attention_heads']
    rope = c.get('rope_parameters') or {**(c.get('rope_scaling') or {}), 'rope_theta': c.get('rope_theta', 10000.0)}
    head_dim = c.get('head_dim') or hidden // heads
    out.add_context_length(c['max_position_embeddings'])
    out.add_embedding_length(hidden)
    out.add_block_count(c['num_hidden_layers'])
    out.add_feed_forward_length(c['intermediate_size'])
    out.add_head_count(heads)
    out.add_head_count_kv(c['num_key_value_heads'])
    out.add_layer_norm_rms_eps(c['rms_norm_eps'])
    if arch.startswith('gemma') or head_dim != hidden // heads:
        out.add_key_length(head_dim)
        out.add_value_length(head_dim)
    if arch == 'gemma2':
        out.add_attn_logit_softcapping(c['attn_logit_softcapping'])
        out.add_final_logit_softcapping(c['final_logit_softcapping'])
    if arch in ('gemma2', 'gemma3', 'phi3') and c.get('sliding_window'):
        out.add_sliding_window(c['sliding_window'])
    if 'full_attention' in rope:
        rope = rope['full_attention']
    out.add_rope_freq_base(rope['rope_theta'])
    kind = rope.get('rope_type', 'default')
    if kind == 'linear':
        out.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        out.add_rope_scaling_factor(rope['factor'])
    if kind == 'llama3':
        out.add_tensor('rope_freqs.weight', llama3_factors(rope, head_dim))
    if kind == 'longrope':
        original = rope['original_max_position_embeddings']
        out.add_rope_scaling_orig_ctx_len(original)
        scale = c['max_position_embeddings'] / original
        out.add_rope_scaling_attn_factors(float(np.sqrt(1 + np.log(scale) / np.log(original))))
        out.add_tensor('rope_factors_long.weight', np.array(rope['long_factor'], dtype=np.float32))
        out.add_tensor('rope_factors_short.weight', np.array(rope['short_factor'], dtype=np.float32))
    return heads, c['num_key_value_heads']


def llama3_factors(rope, head_dim):
    """As convert_hf_to_gguf.py computes them."""
    base, factor = rope['rope_theta'], rope['factor']
    low, high, old = rope['low_freq_factor'], rope['high_freq_factor'], rope['original_max_position_embeddings']
    factors = []
    for freq in 1.0 / (base ** (np.arange(0, head_dim, 2, dtype=np.float32) / head_dim)):
        wavelength = 2 * np.pi / freq
        if wavelength < old / high:
            factors.append(1)
        elif wavelength > old / low:
            factors.append(factor)
        else:
            smooth = (old / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, dtype=np.float32)


ARCHITECTURES = dict(llama='LLAMA', qwen2='QWEN2', qwen3='QWEN3', gemma='GEMMA', gemma2='GEMMA2', gemma3_text='GEMMA3', phi3='PHI3', gpt2='GPT2')


def make_model(case):
    config = json.loads((MODELS / case / 'config.json').read_text())
    arch = gguf.MODEL_ARCH[ARCHITECTURES[config['model_type']]]
    name = gguf.MODEL_ARCH_NAMES[arch]
    (HERE / 'models').mkdir(exist_ok=True)
    out = writer(HERE / 'models' / f'{case}.gguf', name, case)
    if name == 'gpt2':
        layers, hidden = config['n_layer'], config['n_embd']
        out.add_block_count(layers)
        out.add_context_length(config['n_positions'])
        out.add_embedding_length(hidden)
        out.add_feed_forward_length(4 * hidden)
        out.add_head_count(config['n_head'])
        out.add_layer_norm_eps(config['layer_norm_epsilon'])
    else:
        layers = config['num_hidden_layers']
        heads, kv = add_llama_values(out, config, name)
    names = gguf.get_tensor_name_map(arch, layers)
    for key, w in load_file(MODELS / case / 'model.safetensors').items():
        target = names.get_name(key, try_suffixes=('.weight', '.bias'))
        if key.endswith(('.attn.bias', '.masked_bias')) or (config.get('tie_word_embeddings') and key == 'lm_head.weight'):
            continue
        if name == 'llama' and key.endswith(('q_proj.weight', 'q_proj.bias')):
            w = permuted(w, heads)
        if name == 'llama' and key.endswith(('k_proj.weight', 'k_proj.bias')):
            w = permuted(w, kv)
        if name.startswith('gemma') and key.endswith('norm.weight'):
            w = w + 1
        if name == 'gpt2' and key.endswith(('c_attn.weight', 'c_proj.weight', 'c_fc.weight')):
            w = w.T
        out.add_tensor(target, np.ascontiguousarray(w.astype(np.float32)))
    close(out)


def make_mixed():
    """Two layers whose matrices are of all types; widths that let 256 divide the rows of K types."""
    rng = np.random.default_rng(11)
    hidden, inner, heads, kv, dim, vocab = 256, 32, 4, 2, 16, 64
    out = writer(HERE / 'blocks.gguf', 'llama', 'blocks')
    config = dict(hidden_size=hidden, intermediate_size=inner, num_hidden_layers=2, num_attention_heads=heads, num_key_value_heads=kv, head_dim=dim, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=10000.0)
    add_llama_values(out, config, 'llama')
    sums = {}

    def add(name, key, type, rows, columns, count=None):
        blocks = random_blocks(rng, rows, columns, type, scale=0.004 if type.name.endswith('K') else 0.02)
        values = gguf.quants.dequantize(blocks, type).astype(np.float32)
        if count:  # undone: halves apart
            values = values.reshape(count, dim // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
        sums[key] = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
        out.add_tensor(name, blocks, raw_dtype=type)

    def norm(name, key):
        values = (1 + 0.1 * rng.normal(size=hidden)).astype(np.float32)
        sums[key] = hashlib.sha256(values.tobytes()).hexdigest()
        out.add_tensor(name, values)

    add('token_embd.weight', 'model.embed_tokens.weight', Type.Q8_0, vocab, hidden)
    norm('output_norm.weight', 'model.norm.weight')
    kinds = [[Type.Q4_K, Type.Q6_K, Type.Q5_K, Type.Q4_0, Type.Q2_K, Type.Q3_K, Type.Q5_1], [Type.Q8_0, Type.Q4_1, Type.Q5_0, Type.Q5_0, Type.Q4_K, Type.Q6_K, Type.Q4_1]]
    for i, (q, k, v, o, gate, up, down) in enumerate(kinds):
        to, at = f'blk.{i}', f'model.layers.{i}'
        norm(f'{to}.attn_norm.weight', f'{at}.input_layernorm.weight')
        norm(f'{to}.ffn_norm.weight', f'{at}.post_attention_layernorm.weight')
        add(f'{to}.attn_q.weight', f'{at}.self_attn.q_proj.weight', q, heads * dim, hidden, heads)
        add(f'{to}.attn_k.weight', f'{at}.self_attn.k_proj.weight', k, kv * dim, hidden, kv)
        add(f'{to}.attn_v.weight', f'{at}.self_attn.v_proj.weight', v, kv * dim, hidden)
        add(f'{to}.attn_output.weight', f'{at}.self_attn.o_proj.weight', o, hidden, heads * dim)
        add(f'{to}.ffn_gate.weight', f'{at}.mlp.gate_proj.weight', gate, inner, hidden)
        add(f'{to}.ffn_up.weight', f'{at}.mlp.up_proj.weight', up, inner, hidden)
        add(f'{to}.ffn_down.weight', f'{at}.mlp.down_proj.weight', down, hidden, inner)
    out.add_tokenizer_model('llama')
    letters = 'abcdefghijklmnopqrstuvwxyz'
    out.add_token_list(['<unk>', '<s>', '</s>', *(f'▁{letter}' for letter in letters), *letters, *'123456789'])
    out.add_token_scores([0.0] * 3 + [-float(i) for i in range(61)])
    out.add_token_types([2, 3, 3] + [1] * 61)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)
    out.add_chat_template("{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}")
    close(out)
    (HERE / 'blocks-f32.json').write_text(json.dumps(sums, indent=1) + '\n')


CORPUS = [
    "It's a truth universally acknowledged, that a single man in possession of 100000 pounds must be in want of a wife.",
    "We'll see what they've said: \"naïve café\", déjà vu; 12345.678 and 42!",
    'def function(x):\n    return x ** 2  # squares\n\n\nprint(function(12))',
    'Большой текст, 日本語の文字列, and some emoji 🙂🚀.',
] * 4
TEXTS = CORPUS[:4] + ['', ' ', '  two  spaces ', "I'LL DON'T", 'a<s>b</s> <|end|>c', '\t\r\n x\n', 'über Ⅷ ½ ２０', '𝔘𝔫𝔦 ﬁ \u0301']

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
REST = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'


def splitting(pre):
    level = lambda regex: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    if pre == 'gpt-2':
        return level(True)
    if pre == 'smollm':
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level(True)])
    digits = '\\p{N}{1,3}' if pre == 'llama-bpe' else '\\p{N}'
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(f'{CONTRACTIONS}|{digits}|{REST}'), 'isolated'), level(False)])


def make_byte_pairs(pre, expected):
    made = Tokenizer(models.BPE(ignore_merges=pre == 'llama-bpe'))
    made.pre_tokenizer = splitting(pre)
    made.decoder = decoders.ByteLevel()
    if pre == 'qwen2':
        made.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=['<|begin|>', '<|end|>'], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    model = json.loads(made.to_str())['model']
    tokens = sorted(model['vocab'], key=model['vocab'].get)
    out = writer(HERE / 'tokenizers' / f'{pre}.gguf', 'llama', pre)
    out.add_tokenizer_model('gpt2')
    out.add_tokenizer_pre(pre)
    out.add_token_list(tokens)
    out.add_token_types([3 if i < 2 else 1 for i in range(len(tokens))])
    out.add_token_merges([' '.join(pair) for pair in model['merges']])
    out.add_bos_token_id(0)
    out.add_eos_token_id(1)
    bos = [0] if pre == 'llama-bpe' else []
    close(out)
    expected[pre] = [bos + made.encode(text, add_special_tokens=False).ids for text in TEXTS]


def make_sentence_pieces(expected, prefix):
    name = 'spm' if prefix else 'spm-no-prefix'
    user = ['<|end|>'] if prefix else ['<|end|>', '▁▁▁']
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=model, model_type='bpe', vocab_size=420, byte_fallback=True, character_coverage=0.98, normalization_rule_name='identity', remove_extra_whitespaces=False, add_dummy_prefix=prefix, user_defined_symbols=user, minloglevel=2)
    made = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(made.get_piece_size())
    kind = lambda i: 2 if made.is_unknown(i) else 3 if made.is_control(i) else 6 if made.is_byte(i) else 5 if made.is_unused(i) else 4 if made.id_to_piece(i) in user else 1
    out = writer(HERE / 'tokenizers' / f'{name}.gguf', 'llama', name)
    out.add_tokenizer_model('llama')
    out.add_tokenizer_pre('default')
    out.add_token_list([made.id_to_piece(i) for i in ids])
    out.add_token_scores([made.get_score(i) for i in ids])
    out.add_token_types([kind(i) for i in ids])
    out.add_bos_token_id(made.bos_id())
    out.add_eos_token_id(made.eos_id())
    out.add_unk_token_id(made.unk_id())
    out.add_add_bos_token(prefix)
    out.add_add_eos_token(not prefix)
    out.add_add_space_prefix(prefix)
    close(out)
    frame = lambda ids: [made.bos_id(), *ids] if prefix else [*ids, made.eos_id()]
    # Sentencepiece does not know control tokens in a text, nor a space before what follows one.
    expected[name] = [frame(made.encode(text)) if '<s>' not in text else None for text in TEXTS]


def main():
    (HERE / 'tokenizers').mkdir(exist_ok=True)
    make_blocks()
    for case in 'llama-lm-tied llama-lm-llama3 qwen2-lm qwen3-lm gemma-lm gemma2-lm gemma3-lm phi3-lm-longrope gpt2-lm'.split():
        make_model(case)
    make_mixed()
    expected = {}
    for pre in ('gpt-2', 'smollm', 'llama-bpe', 'qwen2'):
        make_byte_pairs(pre, expected)
    for prefix in (True, False):
        make_sentence_pieces(expected, prefix)
    (HERE / 'tokens.json').write_text(json.dumps(dict(texts=TEXTS, ids=expected)) + '\n')


main()
