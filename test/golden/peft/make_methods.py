"""Makes adapters of other methods than LoRA with PEFT over the tiny checkpoints of ../models, and what they compute.

    python make_methods.py [CASE...]        torch 2.13.0, transformers 5.18.0, peft 0.21.0; prompts, and prefixes of
                                            decoders, 5.24.0 and 0.21.2, whose BERT takes no prefix any more

methods/CASE/ holds PEFT's adapter_config.json and adapter_model.safetensors; io.safetensors: `logits` with the adapter
(padded positions zero), `grad.KEY` gradients of the loss by the keys of the file; meta.json: base, task, loss, notes.
All that trains is random and far from its start. Dropout off, float64, stored as f32.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import torch
from peft import AdaLoraConfig, IA3Config, LNTuningConfig, LoraConfig, MissConfig, PeftModel, VeraConfig, get_peft_model
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from safetensors.torch import load_file
from shared import TASK, base_model, begin, clear, finish, given_of, relative, save_io, wide

HERE = os.path.dirname(os.path.abspath(__file__))
HALF = {f'bert.encoder.layer.0.attention.self.{m}.lora_E': [True, False, True, False] for m in ('query', 'value')} | {
    f'bert.encoder.layer.1.attention.self.{m}.lora_E': [m == 'value'] * 4 for m in ('query', 'value')
}


def case(base, config, notes, **options):
    return dict(base=base, config=config, notes=notes, options=options)


CASES = {
    'ia3-bert-seq': case('bert-seq', IA3Config, 'default targets'),
    'ia3-roberta-tok': case('roberta-tok-f16', IA3Config, 'default targets on an f16 base'),
    'ia3-distilbert-seq': case(
        'distilbert-seq',
        IA3Config,
        'lists of names',
        target_modules=['q_lin', 'v_lin', 'lin1', 'lin2'],
        feedforward_modules=['lin2'],
    ),
    'dora-bert-seq': case('bert-seq', LoraConfig, 'use_dora', r=4, lora_alpha=6, use_dora=True),
    'dora-distilbert-tok': case(
        'distilbert-tok',
        LoraConfig,
        'use_dora with rslora, every layer',
        r=3,
        lora_alpha=6,
        use_dora=True,
        use_rslora=True,
        target_modules=['q_lin', 'out_lin', 'lin1', 'lin2'],
    ),
    'adalora-bert-seq': case(
        'bert-seq', AdaLoraConfig, 'all ranks', init_r=4, target_r=2, lora_alpha=12, total_step=20, tinit=2, tfinal=4
    ),
    'adalora-bert-tok-pruned': case(
        'bert-tok',
        AdaLoraConfig,
        'a rank_pattern: some ranks are gone, and all of one layer',
        init_r=4,
        target_r=2,
        lora_alpha=3,
        total_step=20,
        tinit=2,
        tfinal=4,
        target_modules=['query', 'value'],
        rank_pattern=HALF,
    ),
    'vera-bert-seq': case('bert-seq', VeraConfig, 'layers of several sizes', r=6, target_modules=['query', 'output.dense']),
    'miss-bert-seq': case('bert-seq', MissConfig, 'r divides the inputs', r=4, target_modules=['query', 'value']),
    'miss-roberta-seq': case(
        'roberta-seq', MissConfig, 'every linear layer but the head', r=8, target_modules='all-linear'
    ),
    'norm-bert-seq': case('bert-seq', LNTuningConfig, 'the norms of the layers', target_modules=['LayerNorm']),
    'pissa-bert-seq': case('bert-seq', LoraConfig, 'pissa', r=4, lora_alpha=6, init_lora_weights='pissa'),
    'olora-bert-tok': case('bert-tok', LoraConfig, 'olora', r=4, lora_alpha=6, init_lora_weights='olora'),
    'orthogonal-bert-seq': case('bert-seq', LoraConfig, 'orthogonal', r=4, init_lora_weights='orthogonal'),
    'lora-gpt2-lm': case(
        'gpt2-lm',
        LoraConfig,
        'a layer that is stored transposed, trained whole',
        r=2,
        target_modules=['c_attn'],
        modules_to_save=['h.1.attn.c_proj'],
    ),
    'prompt-bert-seq': case('bert-seq', PromptTuningConfig, 'five virtual tokens', num_virtual_tokens=5),
    'ptuning-bert-seq': case(
        'bert-seq', PromptEncoderConfig, 'four virtual tokens', num_virtual_tokens=4, encoder_hidden_size=16
    ),
    'prefix-bert-seq': case('bert-seq', PrefixTuningConfig, 'five virtual tokens', num_virtual_tokens=5),
    'prefix-roberta-tok': case(
        'roberta-tok-f16',
        PrefixTuningConfig,
        'with projection',
        num_virtual_tokens=3,
        prefix_projection=True,
        encoder_hidden_size=16,
    ),
    # A second set of virtual tokens, for the decoder, is in the file and read by nobody.
    'prompt-t5': case('t5', PromptTuningConfig, 'four virtual tokens', num_virtual_tokens=4),
    'ptuning-mt5': case(
        'mt5', PromptEncoderConfig, 'three virtual tokens', num_virtual_tokens=3, encoder_hidden_size=16
    ),
    # Without num_layers and token_dim, PEFT counts the encoder's layers and takes d_model for the width of keys: it fails.
    'prefix-t5': case(
        't5', PrefixTuningConfig, 'three layers, keys of 30', num_virtual_tokens=4, num_layers=3, token_dim=30
    ),
    'prefix-t5-old': case(
        't5-old',
        PrefixTuningConfig,
        'with projection; more layers than the model has, as of a deeper encoder',
        num_virtual_tokens=3,
        num_layers=5,
        token_dim=30,
        prefix_projection=True,
        encoder_hidden_size=16,
    ),
    'prefix-llama-lm': case('llama-lm', PrefixTuningConfig, 'keys of fewer heads', num_virtual_tokens=4),
    'prefix-gpt2-lm': case(
        'gpt2-lm',
        PrefixTuningConfig,
        'with projection',
        num_virtual_tokens=3,
        prefix_projection=True,
        encoder_hidden_size=16,
    ),
    'prefix-gemma3-lm': case('gemma3-lm', PrefixTuningConfig, 'windows that the prefix leaves', num_virtual_tokens=3),
    'prompt-gemma-lm': case('gemma-lm', PromptTuningConfig, 'words are scaled, a prompt is not', num_virtual_tokens=3),
}
SAYING = ['prefix-llama-lm', 'prefix-gpt2-lm', 'prefix-gemma3-lm', 'prompt-gemma-lm', 'prompt-t5', 'prefix-t5']


def randomise(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.add_(torch.randn(p.shape).to(p.dtype) * (0.2 if 'lora_magnitude' not in name else 0.05))
        if model.peft_config['default'].peft_type == 'ADALORA':
            for module in model.modules():
                if hasattr(module, 'ranknum') and 'default' in module.ranknum:
                    module.ranknum['default'].fill_(float(model.peft_config['default'].init_r))


def compute(model, given):
    model.zero_grad()
    floats = wide(given)
    config = model.peft_config['default']
    # What follows a virtual token is no part of the loss here.
    if config.task_type == 'CAUSAL_LM':
        floats['labels'] = floats['labels'].clone()
        floats['labels'][:, 0] = -100
    # PEFT's classifiers of tokens do not part virtual tokens from labels.
    if config.is_prompt_learning and config.task_type == 'TOKEN_CLS':
        floats.pop('labels')
    out = model(**floats)
    logits = out.logits
    rows = dict(attention_mask=said_of(given) if config.task_type == 'SEQ_2_SEQ_LM' else given['attention_mask'])
    if logits.dim() == 3 and logits.shape[1] > rows['attention_mask'].shape[1]:
        logits = logits[:, -rows['attention_mask'].shape[1] :]
    loss = out.loss
    if loss is not None:
        # AdaLoRA adds its regulariser to the loss: what is recorded is the loss of the task alone.
        if model.peft_config['default'].peft_type == 'ADALORA':
            labels = floats['labels']
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=-100)
        loss.backward()
    return clear(logits.detach(), rows), None if loss is None else loss.item()


def said_of(given):
    """Which tokens a decoder says; a masked one may stand among them."""
    ends = given['labels'].ne(-100).long() * torch.arange(1, given['labels'].shape[1] + 1)
    return torch.arange(given['labels'].shape[1]) < ends.max(1).values[:, None]


def greedy(model, given):
    """What the longest of the inputs is continued with, by passes over all of it: generate() of peft 0.21 hands
    transformers 5.24 a prefix beside a cache of its own, which is the one that is read."""
    row = given['attention_mask'].sum(1).argmax().item()
    ids = given['input_ids'][row, : given['attention_mask'][row].sum()].tolist()
    tensor = lambda values: torch.tensor([values])
    said = [0]
    for _ in range(6):
        if model.peft_config['default'].task_type == 'SEQ_2_SEQ_LM':
            out = model(input_ids=tensor(ids), decoder_input_ids=tensor(said))
        else:
            out = model(input_ids=tensor(ids + said[1:]))
        said.append(out.logits[0, -1].argmax().item())
    return dict(prompt=ids, ids=said[1:])


def key_of(parameter, saved):
    if 'prompt_encoder' in parameter:
        return 'prompt_embeddings'
    plain = parameter.replace('.modules_to_save.default', '').replace('.default', '')
    for key in (plain, plain.removesuffix('.weight')):
        if key in saved:
            return key


def make(name):
    c, folder = CASES[name], f'{HERE}/methods/{name}'
    begin(folder)
    base, meta = base_model(c['base'], torch.float32)
    model = get_peft_model(base, c['config'](task_type=TASK[meta['task']], **c['options'])).eval()
    randomise(model)
    model.peft_config['default'].base_model_name_or_path = c['base']
    model.save_pretrained(folder, save_embedding_layers=False)
    os.remove(f'{folder}/README.md')
    saved = load_file(f'{folder}/adapter_model.safetensors')
    given = given_of(c['base'])
    if model.peft_config['default'].is_prompt_learning:
        # PEFT leaves segments of virtual tokens to the model; one whole set of them is of the prompt's length.
        given.pop('token_type_ids', None)
    prompts = model.peft_config['default'].is_prompt_learning
    loaded = PeftModel.from_pretrained(base_model(c['base'], torch.float32)[0], folder, is_trainable=not prompts).eval().double()
    for module in loaded.modules():
        if hasattr(module, 'ranknum') and 'default' in module.ranknum and 'rank_pattern' not in c['options']:
            assert module.ranknum['default'].item() == c['options']['init_r']
    if prompts:
        loaded.prompt_encoder['default'].embedding.weight.requires_grad_(True)
    logits, loss = compute(loaded, given)
    tensors = dict(logits=logits)
    for n, p in loaded.named_parameters():
        key = key_of(n, saved)
        if p.requires_grad and p.grad is not None and key:
            tensors['grad.' + key] = p.grad.clone()
    if hasattr(loaded, 'merge_and_unload') and not prompts:
        try:
            merged = loaded.merge_and_unload()
            found = clear(merged(**{k: v for k, v in given.items() if k != 'labels'}).logits.detach(), given)
            assert relative(found, logits) < 1e-10, relative(found, logits)
        except (AttributeError, NotImplementedError) as error:
            print(name, 'cannot be merged:', error)
    save_io(folder, tensors)
    says = name in SAYING and dict(greedy=greedy(loaded, given))
    size = finish(folder, dict(base=c['base'], task=meta['task'], notes=c['notes'], loss=loss) | (says or {}))
    print(f'{name:26} loss {loss} {size} kB', {k: list(v.shape) for k, v in list(saved.items())[:3]}, len(tensors))


if __name__ == '__main__':
    for wanted in sys.argv[1:] or CASES:
        make(wanted)
