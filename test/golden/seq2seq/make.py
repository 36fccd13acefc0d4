"""Makes the tiny encoder-decoders of this folder with what transformers and PEFT compute from them.

    python make.py [CASE...]        torch 2.13.0, transformers 5.18.0, peft 0.21.0, safetensors 0.8.0; layout in README.md

Every weight matters; a case is saved, changed on disk where it says so, loaded again as a user would, and run in
float64, dropout off, with eager attention.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import peft.peft_model
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from shared import begin, change_json, difference, finish, save_io, write_json
from transformers import AutoConfig, AutoModelForSeq2SeqLM

HERE = os.path.dirname(os.path.abspath(__file__))
LENGTHS, SAID = [7, 11, 1], [5, 1, 9]
COMMON = dict(
    vocab_size=61,
    d_model=24,
    d_kv=10,  # heads are wider than the hidden state
    d_ff=36,
    num_heads=3,
    num_layers=2,
    num_decoder_layers=3,
    pad_token_id=0,
    eos_token_id=1,
    decoder_start_token_id=0,
)
FEW = dict(relative_attention_num_buckets=8, relative_attention_max_distance=12)
CASES = {
    't5': dict(model='t5', config=COMMON | FEW, notes='version 1.0: relu, tied, scaled'),
    't5-old': dict(
        model='t5',
        config=COMMON | dict(num_decoder_layers=2, feed_forward_proj='relu'),
        config4=True,
        drop=['num_decoder_layers'],
        old_tensors=True,
        notes='as the first checkpoints: words under three names, a bias that nothing reads',
    ),
    't5-untied': dict(
        model='t5',
        config=COMMON | FEW | dict(feed_forward_proj='gated-gelu', tie_word_embeddings=False),
        own_head=True,
        config4=True,
        notes='version 1.1 and Flan: gated, a head of its own, not scaled',
    ),
    't5-untied-5': dict(
        model='t5',
        config=COMMON | FEW | dict(feed_forward_proj='gated-gelu', tie_word_embeddings=False),
        own_head=True,
        notes='the same as transformers 5 writes it: tied by its config, not by its file',
    ),
    't5-f16': dict(model='t5', config=COMMON | FEW, dtype=torch.float16, notes='f16 weights'),
    'mt5': dict(
        model='mt5', config=COMMON | FEW | dict(tie_word_embeddings=False), own_head=True, config4=True, notes='own head'
    ),
    'mt5-tied': dict(model='mt5', config=COMMON | FEW, notes='tied, not scaled'),
}


def randomise(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if 'norm' in name:
                p.normal_(1.0, 0.2)
            elif 'shared' in name or 'lm_head' in name:
                p.normal_(0, 0.5)
            elif 'relative' in name:
                p.normal_(0, 1.0)
            else:
                p.normal_(0, 24**-0.5)


def respell(path, tied):
    """config.json as transformers 4 wrote it: no word of scaling, whether it is tied, torch_dtype."""

    def older(config):
        config.pop('scale_decoder_outputs', None)
        config.pop('tie_word_embeddings')
        if not tied:
            config['tie_word_embeddings'] = False
        config['torch_dtype'] = config.pop('dtype')
        config['transformers_version'] = '4.57.6'
        return config

    change_json(path, older)


def save(c, folder):
    model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(c['model'], **c['config']))
    randomise(model)
    model.tie_weights()
    model.to(c.get('dtype', torch.float32)).save_pretrained(folder)
    path = f'{folder}/model.safetensors'
    tensors = load_file(path)
    if c.get('own_head'):
        tensors['lm_head.weight'] = torch.randn(61, 24) * 24**-0.5
    if c.get('old_tensors'):
        for name in ('encoder', 'decoder'):
            tensors[f'{name}.embed_tokens.weight'] = tensors['shared.weight'].clone()
        tensors['decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight'] = torch.randn(32, 3)
    save_file(tensors, path, metadata={'format': 'pt'})
    if c.get('config4'):
        respell(f'{folder}/config.json', c['config'].get('tie_word_embeddings', True))
    if c.get('drop'):
        change_json(f'{folder}/config.json', lambda config: {k: v for k, v in config.items() if k not in c['drop']}, '')


def inputs():
    def rows(lengths, low, fill):
        mask = torch.tensor([[1] * n + [0] * (max(lengths) - n) for n in lengths])
        return torch.randint(low, 61, mask.shape).where(mask.bool(), torch.tensor(fill)), mask

    ids, mask = rows(LENGTHS, 2, 0)
    labels, _ = rows(SAID, 1, -100)
    return dict(input_ids=ids, attention_mask=mask, labels=labels)


def run(model, given, dtype):
    model.to(dtype).set_attn_implementation('eager')
    model.zero_grad()
    out = model(**given, output_hidden_states=True, use_cache=False)
    out.loss.backward()
    valid = dict(encoder=given['attention_mask'].bool(), decoder=given['labels'] != -100)
    rows = lambda x, side: x.detach().where(valid[side][:, :, None], torch.zeros((), dtype=x.dtype))
    got = {'logits': rows(out.logits, 'decoder')}
    for side in ('encoder', 'decoder'):
        for i, hidden in enumerate(out[f'{side}_hidden_states']):
            got[f'{side}.hidden.{i}'] = rows(hidden, side)
    grads = {n: p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None}
    return got, out.loss.item(), grads


def greedy(model, prompt, count=12):
    ids, gap = [0], 1e9
    for _ in range(count):
        logits = model(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([ids])).logits[0, -1]
        top = logits.topk(2).values
        gap = min(gap, (top[0] - top[1]).item())
        ids.append(logits.argmax().item())
    assert gap > 1e-3, gap
    return ids[1:]


def generated(model, prompt):
    """What generate() says under our options, in our names."""
    names = dict(
        beams='num_beams', lengthPenalty='length_penalty', repetitionPenalty='repetition_penalty',
        noRepeatNgram='no_repeat_ngram_size',
    )  # fmt: skip
    probe = greedy(model, prompt)
    cases = []
    for options in (
        dict(beams=3),
        dict(beams=4, lengthPenalty=2.0),
        dict(beams=2, noRepeatNgram=2),
        dict(repetitionPenalty=1.6),
        dict(noRepeatNgram=2),
    ):
        for ends in ([], sorted({probe[3], 5})):
            count = options.get('beams', 1)
            found = model.generate(
                torch.tensor([prompt]), max_new_tokens=10, do_sample=False, eos_token_id=ends or None, pad_token_id=0,
                use_cache=False,  # transformers counts its layers by those of the encoder
                num_return_sequences=count, **{names[key]: value for key, value in options.items()},
            )  # fmt: skip
            texts = []
            for ids in found[:, 1:].tolist():
                stop = next((i + 1 for i, id in enumerate(ids) if id in ends), len(ids))
                texts.append(ids[:stop])
            cases.append(dict(options=options, ends=ends, texts=texts))
    return cases


def adapter(folder, given):
    """Low-rank factors on every layer, made and run by PEFT."""
    # peft 0.21 asks transformers 5 for a method that it no longer has; only generate() would need it.
    base = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    base._prepare_encoder_decoder_kwargs_for_generation = None
    config = LoraConfig(
        r=3, lora_alpha=5, task_type='SEQ_2_SEQ_LM', target_modules=['q', 'k', 'v', 'o', 'wi', 'wi_0', 'wi_1', 'wo']
    )
    model = get_peft_model(base, config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if 'lora_' in name:
                p.normal_(0, 0.15)
    model.save_pretrained(f'{folder}/adapter')
    os.remove(f'{folder}/adapter/README.md')
    plain = lambda saved: saved | dict(base_model_name_or_path=None, target_modules=sorted(saved['target_modules']))
    change_json(f'{folder}/adapter/adapter_config.json', plain, '')
    fresh = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    fresh._prepare_encoder_decoder_kwargs_for_generation = None
    loaded = PeftModel.from_pretrained(fresh, f'{folder}/adapter', is_trainable=True).eval()
    got, loss, grads = run(loaded, given, torch.float64)
    short = lambda n: n.replace('.default', '')
    return {'adapter.logits': got['logits']} | {f'adapter.grad.{short(n)}': g for n, g in grads.items()}, loss


def make(name):
    c, folder = CASES[name], f'{HERE}/{name}'
    begin(folder)
    save(c, folder)
    model, info = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not info['missing_keys'] and not info['mismatched_keys'], info
    model.eval()
    given = inputs()
    got, loss, grads = run(model, given, torch.float64)
    other, other_loss, other_grads = run(model, given, torch.float32)
    worst = max(difference(other, got), abs(other_loss - loss) / abs(loss), 0.1 * difference(other_grads, grads))
    assert worst < 5e-5, worst
    tensors = {k: v.int() for k, v in given.items()} | got
    for n, g in grads.items():
        table = n.startswith(('shared', 'lm_head'))
        tensors[f'grad_rows.{n}' if table else f'grad.{n}'] = g @ torch.arange(24.0, dtype=g.dtype).cos() if table else g
    meta = dict(task='s2s', labels=None, problem=None, lengths=LENGTHS, said=SAID, loss=loss, notes=c['notes'])
    prompt = given['input_ids'][1].tolist()
    meta['greedy'] = dict(prompt=prompt, ids=greedy(model, prompt))
    if name in ('t5', 't5-untied'):
        meta['generated'] = generated(model, prompt)
    if name in ('t5', 'mt5'):
        more, meta['adapterLoss'] = adapter(folder, given)
        tensors |= more
    save_io(folder, tensors)
    if os.path.exists(f'{folder}/generation_config.json'):
        os.remove(f'{folder}/generation_config.json')
    finish(folder, meta)
    print(f'{name:14} loss {loss:.6f}')


def buckets():
    """The bucket of each distance from -300 to 300, for some numbers of buckets and largest distances."""
    from transformers.models.t5.modeling_t5 import T5Attention

    distances = torch.arange(-300, 301)
    cases = [(32, 128), (8, 12), (32, 64), (20, 100), (16, 256)]
    found = [
        dict(
            buckets=count,
            maxDistance=most,
            bidirectional=both,
            found=T5Attention._relative_position_bucket(distances, both, count, most).tolist(),
        )
        for count, most in cases
        for both in (True, False)
    ]
    write_json(f'{HERE}/buckets.json', found)


if __name__ == '__main__':
    for wanted_case in sys.argv[1:] or CASES:
        make(wanted_case)
    buckets()
