"""Language models of DNA that fit a test: random weights, and tokenizers of each kind."""

import itertools

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    EsmConfig,
    EsmForMaskedLM,
    EsmTokenizer,
    PreTrainedTokenizerFast,
)

SPECIAL = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]


def bpe(seed=0):
    """Byte pairs learned on random DNA, as DNABERT-2 has them: tokens of 1 to 8 bases."""
    rng = np.random.default_rng(seed)
    corpus = ["".join(rng.choice(list("ACGT"), 400, p=[0.4, 0.1, 0.1, 0.4])) for _ in range(40)]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=SPECIAL, max_token_length=8)
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        pad_token="[PAD]", mask_token="[MASK]",
    )  # fmt: skip


def words(folder, k=3):
    """All k-mers, as DNABERT has them: its tokenizer expects blanks between."""
    kmers = ["".join(letters) for letters in itertools.product("ACGT", repeat=k)]
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *kmers]) + "\n")
    return BertTokenizer(str(folder / "vocab.txt"), do_lower_case=False)


def blocks(folder, k=3):
    """k-mers side by side, and letters for what they leave, as Nucleotide Transformer has them."""
    kmers = ["".join(letters) for letters in itertools.product("ACGT", repeat=k)]
    tokens = ["<unk>", "<pad>", "<mask>", "<cls>", *kmers, *"ATCGN"]
    (folder / "esm.txt").write_text("\n".join(tokens))
    return EsmTokenizer(str(folder / "esm.txt"), eos_token=None)


SIZE = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 1100,
}  # fmt: skip


def bert(n_tokens, seed=0):
    torch.manual_seed(seed)
    return _enlivened(BertForMaskedLM(BertConfig(vocab_size=n_tokens, **SIZE)))


def esm(n_tokens, seed=0):
    torch.manual_seed(seed)
    config = EsmConfig(vocab_size=n_tokens, pad_token_id=1, mask_token_id=2, **SIZE)
    return _enlivened(EsmForMaskedLM(config))


def _enlivened(model):
    """Make weights so large that every part moves the outputs."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(8)
    return model.eval()
