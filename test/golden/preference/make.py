"""Makes trl.json and adapter/ of this folder: what TRL's trainers make of pairs of answers, with their gradients.

    pip install torch transformers peft trl
    python make.py

The model is ../models/llama-lm; its adapter is random, so that it differs from the reference, which is the model with
the adapter switched off. Each loss is that of the trainer itself (`compute_loss`), on a trainer that has nothing but
its settings; conservative DPO, which TRL 1 has no more, is written down from its formula.
"""

import collections
import os
import sys
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../python'))

import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from shared import base_model, change_json, folder_of, write_json
from torch.nn.functional import logsigmoid
from transformers import AutoModelForSequenceClassification
from trl.experimental.orpo.orpo_trainer import ORPOTrainer
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.utils import add_fused_lm_head

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = 'llama-lm'
BETA = 0.5
# A prompt, the answer that is chosen and the one that is rejected. For ORPO, which TRL has learn the prompt too, a
# prompt is one token: nothing of it can be learned.
PAIRS = [([5, 9, 14, 3], [20, 31, 2], [44, 7, 8, 19, 2]), ([1, 33], [12, 40, 41, 42, 2], [13, 2]), ([50, 6, 28], [9, 2], [10, 11, 2])]
SHORT = [([5], [20, 31, 17, 2], [44, 7, 2]), ([33], [12, 40, 41, 2], [13, 2])]
ALONE = [([5, 9, 14, 3], [20, 31, 2], True), ([1, 33], [12, 40, 41, 42, 2], False), ([50, 6, 28], [9, 10, 2], True), ([7, 8], [60, 3, 2], False)]


def adapted(model, task):
    torch.manual_seed(3)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=['q_proj', 'v_proj', 'down_proj'], task_type=task)
    model = get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        if 'lora_B' in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def padded(rows, learned):
    """Ids, attention mask and mask of completions, padded on the right."""
    longest = max(len(ids) for ids in rows)
    pad = lambda values, fill: torch.tensor([list(v) + [fill] * (longest - len(v)) for v in values])
    return pad(rows, 0), pad([[1] * len(ids) for ids in rows], 0), pad(learned, 0)


def sequences(answers):
    return [p + a for p, a in answers], [[0] * len(p) + [1] * len(a) for p, a in answers]


def inputs_of(pairs):
    ids, attention, learned = padded(*sequences([(p, c) for p, c, _ in pairs] + [(p, r) for p, _, r in pairs]))
    return {'input_ids': ids, 'attention_mask': attention, 'completion_mask': learned}


def settings(model, **values):
    """What the trainers read of themselves, and nothing else."""
    metrics = {mode: collections.defaultdict(list) for mode in ('train', 'eval')}
    common = dict(model=model, ref_model=None, beta=BETA, accelerator=Accelerator(cpu=True), aux_loss_enabled=False,
                  precompute_ref_logps=False, _metrics=metrics, _total_train_tokens=0, _tp_size=1,
                  args=types.SimpleNamespace(gradient_checkpointing_kwargs=None, center_rewards_coefficient=None))
    return types.SimpleNamespace(**{**common, **values})


def save(model, folder):
    """The adapter alone, without the path of this machine."""
    folder = os.path.join(HERE, folder)
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, 'README.md'))
    path = os.path.join(folder, 'adapter_config.json')
    change_json(path, lambda config: {**config, 'base_model_name_or_path': f'../../models/{BASE}'}, end='')


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {n: p.grad.flatten().tolist() for n, p in model.named_parameters() if p.grad is not None}


def result(model, loss):
    return {'loss': loss.item(), 'gradients': gradients(model, loss)}


def log_probs(model, rows, learned):
    ids, attention, mask = padded(rows, learned)
    logits = model(input_ids=ids, attention_mask=attention).logits[:, :-1].log_softmax(-1)
    return (logits.gather(-1, ids[:, 1:, None]).squeeze(-1) * mask[:, 1:]).sum(-1)


def conservative(model, pairs, smoothing):
    rows, learned = sequences([(p, c) for p, c, _ in pairs] + [(p, r) for p, _, r in pairs])
    with torch.no_grad(), model.disable_adapter():
        reference = log_probs(model, rows, learned)
    better, worse = (log_probs(model, rows, learned) - reference).chunk(2)
    x = BETA * (better - worse)
    return (-(1 - smoothing) * logsigmoid(x) - smoothing * logsigmoid(-x)).mean()


def dpo(model, loss):
    own = settings(model, loss_types=[loss], loss_weights=[1.0], ld_alpha=None, f_divergence_type='reverse_kl',
                   label_smoothing=0.0, use_weighting=False)
    return DPOTrainer._compute_loss(own, model, inputs_of(PAIRS), False)


def kto(model):
    own = settings(model, loss_type='kto', calculate_KL=True, desirable_weight=1.0, undesirable_weight=1.5)
    own._compute_kl_logps = types.MethodType(KTOTrainer._compute_kl_logps, own)
    ids, attention, learned = padded(*sequences([(p, a) for p, a, _ in ALONE]))
    others = [ALONE[i - 1][1] for i in range(len(ALONE))]
    kl = padded(*sequences([(p, other) for (p, _, _), other in zip(ALONE, others)]))
    batch = {'input_ids': ids, 'attention_mask': attention, 'completion_mask': learned,
             'KL_input_ids': kl[0], 'KL_attention_mask': kl[1], 'KL_completion_mask': kl[2],
             'label': torch.tensor([label for *_, label in ALONE])}
    return KTOTrainer._compute_loss(own, model, batch, False)


def orpo(model):
    own = settings(model, is_encoder_decoder=False, padding_value=0)
    for name in ('concatenated_forward', 'odds_ratio_loss'):
        setattr(own, name, types.MethodType(getattr(ORPOTrainer, name), own))
    own.concatenated_inputs, own.get_batch_logps = ORPOTrainer.concatenated_inputs, ORPOTrainer.get_batch_logps
    batch = {}
    for name, at in (('chosen', 1), ('rejected', 2)):
        rows, learned = sequences([(pair[0], pair[at]) for pair in SHORT])
        ids, attention, mask = padded(rows, learned)
        batch |= {f'{name}_input_ids': ids, f'{name}_attention_mask': attention,
                  f'{name}_labels': ids.masked_fill(mask == 0, -100)}
    return ORPOTrainer.get_batch_loss_metrics(own, model, batch)[0]


def reward():
    torch.manual_seed(5)
    model = AutoModelForSequenceClassification.from_pretrained(folder_of(BASE), num_labels=1, dtype=torch.float32)
    model.config.pad_token_id = 0
    model = adapted(model, 'SEQ_CLS')
    torch.nn.init.normal_(model.base_model.model.score.modules_to_save['default'].weight, std=0.3)
    batch = {k: v for k, v in inputs_of(PAIRS).items() if k != 'completion_mask'}
    save(model, 'reward')
    return result(model, RewardTrainer.compute_loss(settings(model), model, batch))


def main():
    torch.use_deterministic_algorithms(True)
    model = adapted(base_model(BASE, torch.float32)[0], 'CAUSAL_LM')
    save(model, 'adapter')
    losses = {}
    losses['orpo'] = result(model, orpo(model))
    losses['conservative'] = result(model, conservative(model, PAIRS, 0.2))
    rows, learned = sequences([(p, c) for p, c, _ in PAIRS] + [(p, r) for p, _, r in PAIRS])
    chosen, rejected = log_probs(model, rows, learned).chunk(2)
    add_fused_lm_head(model.get_base_model(), outputs=('log_probs', 'entropy', 'mean_logits', 'is_top1'))
    for name, trl in (('dpo', 'sigmoid'), ('ipo', 'ipo'), ('hinge', 'hinge')):
        losses[name] = result(model, dpo(model, trl))
    losses['kto'] = result(model, kto(model))
    losses['reward'] = reward()
    write_json(
        os.path.join(HERE, 'trl.json'),
        {'beta': BETA, 'pairs': PAIRS, 'short': SHORT, 'alone': ALONE, 'smoothing': 0.2, 'undesirable': 1.5,
         'logProbs': {'chosen': chosen.tolist(), 'rejected': rejected.tolist()}, 'losses': losses},
        end='',
    )


main()
