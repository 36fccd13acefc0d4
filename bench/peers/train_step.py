"""One training step of a model with random weights in PyTorch + transformers + PEFT on the CPU.

    python train_step.py --case bert|gpt2|tiny-llama|qwen2.5-0.5b|smollm2 --method qv|all|full|fwd
        --dtype fp32|bf16w|autocast [--checkpoint] [--steps N] [--threads N]

Prints one JSON line with the fields of `npm run bench:step`. Compare cpu_min (fewest process CPU seconds of a step):
on a shared machine wall times mean little. OpenMP waits passively, or spinning threads would be counted as work.
case    bert-base with 16 sequences of 128 tokens; decoders with the shapes of bench/cases.json.
method  qv: LoRA on query and value; all: on every linear layer but a language model's output; full: all weights
        trained; fwd: forward only, no gradients.
dtype   fp32; bf16w: weights and activations bf16, adapters f32 (PEFT's default; --adapters bf16 casts them too);
        autocast: f32 weights under torch.autocast(bfloat16).
"""

import argparse
import json
import os
import re
import statistics
import time
import warnings

os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')
warnings.filterwarnings('ignore')

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../cases.json'), encoding='utf-8') as file:
    CASES = json.load(file)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--case', choices=list(CASES), default='bert')
    p.add_argument('--method', choices=['qv', 'all', 'full', 'fwd'], default='all')
    p.add_argument('--dtype', choices=['fp32', 'bf16w', 'autocast'], default='fp32')
    p.add_argument('--adapters', choices=['fp32', 'bf16'], default='fp32')
    p.add_argument('--steps', type=int, default=5, help='timed steps')
    p.add_argument('--warm', type=int, default=2, help='steps before timing')
    p.add_argument('--max-s', type=float, default=60, help='stop timing after so many seconds (two steps at least)')
    p.add_argument('--threads', type=int, default=2)
    p.add_argument('--no-dropout', action='store_true')
    p.add_argument('--checkpoint', action='store_true', help='run each layer again in backward')
    return p.parse_args()


def resident(field):
    with open('/proc/self/status', encoding='ascii') as f:
        return int(re.search(field + r':\s+(\d+)', f.read()).group(1)) / 1024  # MiB


def reset_peak():
    with open('/proc/self/clear_refs', 'w', encoding='ascii') as f:
        f.write('5')


def machine_busy():
    """CPU seconds all processes have used, stolen time included."""
    with open('/proc/stat', encoding='ascii') as f:
        ticks = list(map(int, f.readline().split()[1:9]))
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf('SC_CLK_TCK')


def is_language_model(shape):
    return shape['task'] == 'causal-lm'


def build(a, shape):
    import torch
    import transformers as t
    from peft import LoraConfig, get_peft_model

    kinds = {
        'bert': (t.BertConfig, t.BertForSequenceClassification),
        'gpt2': (t.GPT2Config, t.GPT2LMHeadModel),
        'llama': (t.LlamaConfig, t.LlamaForCausalLM),
        'qwen2': (t.Qwen2Config, t.Qwen2ForCausalLM),
    }
    config = dict(shape['config'], **(shape['noDropout'] if a.no_dropout else {}))
    make_config, make_model = kinds[config.pop('model_type')]
    config |= dict(use_cache=False) if is_language_model(shape) else dict(num_labels=2)
    if a.dtype == 'bf16w':
        torch.set_default_dtype(torch.bfloat16)
    model = make_model(make_config(**config))
    torch.set_default_dtype(torch.float32)
    layers = (torch.nn.Linear, t.pytorch_utils.Conv1D)
    linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, layers))
    total = sum(p.numel() for p in model.parameters())
    if a.method in shape['targets']:
        config = LoraConfig(
            r=shape['r'],
            lora_alpha=2 * shape['r'],
            lora_dropout=0.0,
            target_modules=shape['targets'][a.method],
            task_type='CAUSAL_LM' if is_language_model(shape) else 'SEQ_CLS',
            fan_in_fan_out=make_model is t.GPT2LMHeadModel,
        )
        model = get_peft_model(model, config, autocast_adapter_dtype=a.adapters == 'fp32')
    if a.method == 'fwd':
        model.requires_grad_(False)
    model.train(a.method != 'fwd')
    if a.checkpoint:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False))
    return model, linear, total


def one_step(a, model, optimizer, inputs):
    """Seconds of forward, backward, optimizer, the whole; CPU seconds; share of a core used by others; the loss."""
    import torch

    busy, cpu, t0 = machine_busy(), time.process_time(), time.perf_counter()
    if optimizer:
        optimizer.zero_grad()
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=a.dtype == 'autocast'), torch.set_grad_enabled(
        a.method != 'fwd'
    ):
        loss = model(**inputs).loss
    t1 = time.perf_counter()
    if optimizer:
        loss.backward()
    t2 = time.perf_counter()
    if optimizer:
        optimizer.step()
    value, t3 = loss.item(), time.perf_counter()
    used = time.process_time() - cpu
    others = max(0.0, machine_busy() - busy - used) / (t3 - t0)
    return dict(fwd=t1 - t0, bwd=t2 - t1, opt=t3 - t2, step=t3 - t0, cpu=used, others=others, loss=value)


def measure(a, model, shape):
    import torch

    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=1e-4) if params else None
    ids = torch.randint(0, shape['config']['vocab_size'], (shape['B'], shape['S']))
    inputs = dict(input_ids=ids, labels=ids)
    if not is_language_model(shape):
        inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.randint(0, 2, (shape['B'],)))
    warm = [one_step(a, model, optimizer, inputs) for _ in range(max(1, a.warm))]
    timed, start = [], time.perf_counter()
    while len(timed) < a.steps and (len(timed) < 2 or time.perf_counter() - start < a.max_s):
        timed.append(one_step(a, model, optimizer, inputs))
    return warm[0]['step'], timed, sum(p.numel() for p in params)


def main():
    a, t0 = arguments(), time.perf_counter()
    shape = CASES[a.case]
    import torch
    import transformers
    import peft

    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    t_import, rss_import, t0 = time.perf_counter() - t0, resident('VmRSS'), time.perf_counter()
    model, linear, total = build(a, shape)
    t_build, rss_built = time.perf_counter() - t0, resident('VmRSS')
    reset_peak()
    first, steps, trained = measure(a, model, shape)
    column = lambda name: [s[name] for s in steps]
    median, tokens = (lambda name: round(statistics.median(column(name)), 4)), shape['B'] * shape['S']
    print(
        json.dumps(
            dict(
                side='pytorch+peft',
                case=a.case,
                method=a.method,
                dtype=a.dtype,
                adapters=a.adapters,
                checkpoint=a.checkpoint,
                dropout=not a.no_dropout,
                B=shape['B'],
                S=shape['S'],
                r=shape['r'],
                params_M=round(total / 1e6, 1),
                linear_M=round(linear / 1e6, 2),
                train_M=round(trained / 1e6, 3),
                step_med=median('step'),
                step_min=round(min(column('step')), 4),
                fwd_med=median('fwd'),
                bwd_med=median('bwd'),
                opt_med=median('opt'),
                fwd_min=round(min(column('fwd')), 4),
                bwd_min=round(min(column('bwd')), 4),
                first=round(first, 3),
                tok_s=round(tokens / statistics.median(column('step')), 1),
                tok_s_best=round(tokens / min(column('step')), 1),
                fwd_gflop=round(2 * linear * tokens / 1e9, 1),
                rss_import=round(rss_import),
                rss_built=round(rss_built),
                rss_peak=round(resident('VmHWM')),
                t_import=round(t_import, 2),
                t_build=round(t_build, 2),
                loss=round(steps[-1]['loss'], 4),
                cpu_s=round(statistics.median(column('cpu')), 3),
                cpu_min=round(min(column('cpu')), 3),
                n_all=len(steps),
                others_share=median('others'),
                threads=a.threads,
                load=round(os.getloadavg()[0], 2),
                versions=dict(torch=torch.__version__, transformers=transformers.__version__, peft=peft.__version__),
            )
        ),
        flush=True,
    )


if __name__ == '__main__':
    main()
