"""Writes tokenizer.json beside this file: texts and the ids Python's tokenizers 0.23 gives with assets/encoder."""
import json
from pathlib import Path

from tokenizers import Tokenizer

root = Path(__file__).resolve().parents[3]
tokenizer = Tokenizer.from_file(str(root / 'assets/encoder/tokenizer.json'))

texts = [json.loads(line)['text'] for line in (root / 'assets/sample/test.jsonl').open()][:300]
texts += [
    '',
    ' ',
    'Hello, World! It\'s 3.14 o\'clock; mail me@example.org (or not) <now> {x_y} ~#5% a|b\\c^d`e',
    'Crème brûlée, Zürich, naïve façade; ÅNGSTRÖM Øre æsthetic ﬁsh',
    'tabs\tand\nnew lines\r\nand\u00a0no-break\u2003spaces',
    'control\u0007 zero\u200bwidth soft\u00adhyphen \ufffd replaced',
    '“curly” ‘quotes’ — dashes – and… ellipsis · bullets • €50 £20 20°',
    '東京 is 日本 and Привет мир, καλημέρα, שלום',
    'emoji 😀 and 👩‍🔬 here',
    'a' * 100 + ' ' + 'b' * 101,
    'supercalifragilisticexpialidocious antidisestablishmentarianism',
    'İstanbul ẞ ß Ǆ',
]
rows = [{'text': text, 'ids': tokenizer.encode(text).ids} for text in texts]
body = ',\n'.join(json.dumps(row, ensure_ascii=False, separators=(',', ':')) for row in rows)
(Path(__file__).parent / 'tokenizer.json').write_text(f'[\n{body}\n]\n')
