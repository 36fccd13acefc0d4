"""The cases of make.py: family, task, config, and what is odd about each checkpoint."""

import torch


def bert(**more):
    return (
        dict(
            vocab_size=61,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=42,
            max_position_embeddings=16,
            type_vocab_size=2,
            pad_token_id=0,
        )
        | more
    )


def roberta(**more):
    return (
        bert(
            max_position_embeddings=18,
            type_vocab_size=1,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            layer_norm_eps=1e-5,
        )
        | more
    )


def distilbert(**more):
    return (
        dict(vocab_size=61, dim=24, n_layers=2, n_heads=2, hidden_dim=42, max_position_embeddings=16, pad_token_id=0)
        | more
    )


def case(family, task, config, notes, labels=3, **more):
    return dict(family=family, task=task, config=config, notes=notes, labels=labels) | more


CASES = {
    'bert-seq': case(
        'bert',
        'seq',
        bert(
            hidden_size=32,
            num_attention_heads=4,
            intermediate_size=50,
            vocab_size=83,
            hidden_act='gelu',
            classifier_dropout=0.2,
        ),
        'gelu, classifier_dropout, token types',
    ),
    'bert-seq-multilabel': case(
        'bert',
        'seq',
        bert(hidden_act='gelu_new', layer_norm_eps=1e-5, type_vocab_size=1, max_position_embeddings=11),
        'gelu_new, eps 1e-5, one token type, a row as long ' 'as the position table',
        labels=4,
        problem='multi_label_classification',
    ),
    'bert-seq-regression': case(
        'bert',
        'seq',
        bert(hidden_act='relu', hidden_size=36, num_attention_heads=3, num_hidden_layers=1),
        'relu, 3 heads of 12, one label',
        labels=1,
        problem='regression',
    ),
    'bert-tok': case(
        'bert',
        'tok',
        bert(hidden_act='silu', hidden_size=36, num_attention_heads=3, intermediate_size=29),
        'silu, odd inner size, 5 labels, ignored labels',
        labels=5,
    ),
    'bert-tok-large-eps': case(
        'bert',
        'tok',
        bert(hidden_act='tanh', layer_norm_eps=0.1, num_hidden_layers=1, num_attention_heads=4),
        'tanh, eps 0.1 (a wrong eps shows), one layer, heads of 6',
        labels=2,
    ),
    'bert-mlm': case(
        'bert',
        'mlm',
        bert(hidden_act='gelu_pytorch_tanh', num_hidden_layers=1),
        'tied decoder (not in the file), no pooler',
    ),
    'bert-mlm-untied': case(
        'bert',
        'mlm',
        bert(tie_word_embeddings=False, num_hidden_layers=1),
        'tie_word_embeddings false: decoder weight and bias in the file',
    ),
    'bert-base-only': case(
        'bert',
        'seq',
        bert(num_hidden_layers=1),
        'a BertModel checkpoint: names without "bert.", no classifier; i64 buffer '
        'embeddings.position_ids; read as a sequence classifier',
        saved='base',
        position_ids='embeddings.position_ids',
        config4=True,
    ),
    'bert-old-names': case(
        'bert',
        'seq',
        bert(),
        'a masked-LM checkpoint of old spelling read as a sequence classifier: LayerNorm.gamma '
        'and .beta, cls.predictions.* unused, no pooler, no classifier, transformers 4 config',
        saved='mlm',
        gamma_beta=True,
        position_ids='bert.embeddings.position_ids',
        config4=True,
    ),
    'bert-sharded': case('bert', 'seq', bert(), 'several shards with an index', shard='8KB'),
    'bert-bf16': case(
        'bert',
        'tok',
        bert(),
        'bf16 file; expected values are of the same numbers in f64',
        labels=4,
        dtype=torch.bfloat16,
    ),
    'roberta-seq': case('roberta', 'seq', roberta(), 'head dense + tanh + out_proj, pad id 1, positions from 2'),
    'roberta-seq-multilabel': case(
        'roberta',
        'seq',
        roberta(hidden_act='relu', num_attention_heads=3, num_hidden_layers=1),
        'relu, 3 heads of 8, one layer',
        labels=3,
        problem='multi_label_classification',
    ),
    'roberta-tok-f16': case(
        'roberta',
        'tok',
        roberta(type_vocab_size=2, hidden_act='gelu_new'),
        'f16 file, two token types',
        labels=5,
        dtype=torch.float16,
        config4=True,
    ),
    'roberta-mlm': case(
        'roberta', 'mlm', roberta(num_hidden_layers=1), 'lm_head dense + gelu + layer_norm + tied decoder'
    ),
    'roberta-pad-inside': case(
        'roberta',
        'tok',
        roberta(num_hidden_layers=1),
        'the pad id also stands inside a row, attended to: it takes position pad_id '
        'and does not advance the count, and its embedding rows get no gradient',
        pad_inside=True,
    ),
    'roberta-base-only': case(
        'roberta',
        'seq',
        roberta(num_hidden_layers=1),
        'a RobertaModel checkpoint with a pooler nobody reads',
        saved='base',
    ),
    'distilbert-seq': case(
        'distilbert', 'seq', distilbert(seq_classif_dropout=0.3), 'pre_classifier + relu + classifier'
    ),
    'distilbert-seq-regression': case(
        'distilbert',
        'seq',
        distilbert(activation='relu', n_heads=3, n_layers=1),
        'relu inside, one label',
        labels=1,
        problem='regression',
        config4=True,
    ),
    'distilbert-tok': case(
        'distilbert',
        'tok',
        distilbert(sinusoidal_pos_embds=True, n_heads=4),
        'sinusoidal positions (the file holds the table; transformers 5 trains it like any other)',
        labels=5,
    ),
    'distilbert-mlm': case(
        'distilbert',
        'mlm',
        distilbert(activation='gelu_new', n_layers=1),
        'vocab_transform + activation + vocab_layer_norm + tied projector',
    ),
    'distilbert-base-only': case(
        'distilbert',
        'tok',
        distilbert(),
        'a DistilBertModel checkpoint in bf16 and shards, no head',
        saved='base',
        dtype=torch.bfloat16,
        shard='6KB',
    ),
    'xlm-roberta-seq': case('xlm_roberta', 'seq', roberta(), 'RoBERTa under another model_type', labels=3),
    'electra-seq': case('electra', 'seq', bert(embedding_size=16), 'projected embeddings, dense + gelu + out_proj'),
    'electra-tok': case('electra', 'tok', bert(embedding_size=24), 'embeddings as wide as the layers', labels=4),
    'bert-qa': case('bert', 'qa', bert(), 'qa_outputs on every token, no pooler'),
    'roberta-qa': case('roberta', 'qa', roberta(num_hidden_layers=1), 'the same under RoBERTa'),
    'xlm-roberta-qa': case('xlm_roberta', 'qa', roberta(num_hidden_layers=1), 'and under XLM-RoBERTa'),
    'distilbert-qa': case('distilbert', 'qa', distilbert(qa_dropout=0.2, n_layers=1), 'qa_dropout before the layer'),
    'electra-qa': case('electra', 'qa', bert(embedding_size=16, num_hidden_layers=1), 'and under ELECTRA'),
    'electra-mlm': case('electra', 'mlm', bert(embedding_size=16), 'a generator: its tied decoder is narrower'),
}
