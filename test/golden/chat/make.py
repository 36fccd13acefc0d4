"""Conversations as transformers writes and tokenises them, by small templates of the kinds that models have: chat.json.

    python make.py        transformers 5.18.0

The templates are in templates/, written for these tests. `generation` marks what the assistant says, so that the mask of
assistant tokens comes from transformers too. tokenizer.json is the byte-level tokenizer of ../tokenizer with the
special tokens of every template.
"""

import json
import os

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
SPECIALS = [
    '<|im_start|>', '<|im_end|>', '<|begin_of_text|>', '<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>',
    '<bos>', '<start_of_turn>', '<end_of_turn>', '<|system|>', '<|user|>', '<|assistant|>', '<|end|>', '<s>', '</s>', '<|endoftext|>',
]  # fmt: skip
TOKENS = {
    'chatml': dict(bos_token='<|im_start|>', eos_token='<|im_end|>'),
    'thinking': dict(eos_token='<|im_end|>'),
    'headers': dict(bos_token='<|begin_of_text|>', eos_token='<|eot_id|>'),
    'turns': dict(bos_token='<bos>', eos_token='<end_of_turn>'),
    'marks': dict(bos_token='<s>', eos_token='<|endoftext|>'),
    'instructions': dict(bos_token='<s>', eos_token='</s>'),
}

plain = [dict(role='user', content='How are you?'), dict(role='assistant', content='Fine, and you?')]
long = plain + [dict(role='user', content='  Spaces\n\nand lines '), dict(role='assistant', content='\n They stay? \n')]
system = [dict(role='system', content='Answer in one word.')] + plain
call = dict(type='function', function=dict(name='weather', arguments=dict(town='Köln <&> "x"', days=2)))
tools = [
    dict(type='function', function=dict(name='weather', description='Tells the weather', parameters=dict(
        type='object', properties=dict(town=dict(type='string')), required=['town'])))
]  # fmt: skip
called = [
    dict(role='user', content='Will it rain?'),
    dict(role='assistant', content='', tool_calls=[call]),
    dict(role='tool', content='{"rain": 0.25}'),
    dict(role='assistant', content='Hardly.'),
]
reasoned = [plain[0], dict(role='assistant', content='Fine.', reasoning_content='They ask how I am.')]
thoughtful = [{**m, 'reasoning_content': 'Let me see.'} if 'tool_calls' in m else m for m in called]
inline = [plain[0], dict(role='assistant', content='<think>\nThey ask.\n</think>\n\nFine.')]

CASES = [
    ('chatml', plain, {}), ('chatml', long, {}), ('chatml', system, {}), ('chatml', called, dict(tools=tools)),
    ('thinking', plain, {}), ('thinking', reasoned, {}), ('thinking', inline, {}),
    ('thinking', plain, dict(enable_thinking=False)), ('thinking', thoughtful, dict(tools=tools)),
    ('headers', plain, {}), ('headers', long, {}), ('headers', system, {}),
    ('turns', plain, {}), ('turns', long, {}), ('turns', system, {}),
    ('marks', plain, {}), ('marks', long, {}), ('marks', system, {}),
    ('instructions', plain, {}), ('instructions', long, {}), ('instructions', system, {}),
]  # fmt: skip


def tokenizers():
    base = Tokenizer.from_file(os.path.join(HERE, '../tokenizer/bytelevel.json'))
    base.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    # Thoughts and calls are no special tokens, as in Qwen's vocabularies.
    base.add_tokens([AddedToken(token, special=False, normalized=False) for token in ('<think>', '</think>')])
    base.no_padding()
    base.no_truncation()
    base.save(os.path.join(HERE, 'tokenizer.json'))
    for name, tokens in TOKENS.items():
        with open(os.path.join(HERE, f'templates/{name}.jinja'), encoding='utf-8') as f:
            template = f.read()
        file = os.path.join(HERE, 'tokenizer.json')
        yield name, PreTrainedTokenizerFast(tokenizer_file=file, chat_template=template, **tokens)


found = dict(tokenizers())
cases = []
for name, messages, options in CASES:
    tokenizer = found[name]
    render = lambda messages, **more: tokenizer.apply_chat_template(messages, **options, **more)
    whole = render(messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    mask = whole['assistant_masks']
    if name == 'instructions':
        # The blank after [/INST] is the assistant's to say, but char_to_token knows no token for a blank.
        mask = [inside or (t + 1 < len(mask) and mask[t + 1]) for t, inside in enumerate(mask)]
    cases.append(dict(
        template=name, config=TOKENS[name], messages=messages, options=options, text=render(messages, tokenize=False),
        prompt=render(messages[:-1], tokenize=False, add_generation_prompt=True), ids=whole['input_ids'],
        learned=[t for t, inside in enumerate(mask) if inside],
    ))  # fmt: skip
with open(os.path.join(HERE, 'chat.json'), 'w', encoding='utf-8') as f:
    f.write('[\n' + ',\n'.join(' ' + json.dumps(case, ensure_ascii=False) for case in cases) + '\n]\n')
