"""Tokens keep their bases, and layers are those that transformers gives."""

import numpy as np
import pytest
import torch

from saers import FormatError
from saers.models import load
from saers.models.base import SequenceModel
from saers.models.huggingface import TokenModel
from saers.models.tokenise import letters_of, tokeniser
from tests.borzoi import sequences
from tests.token_models import bert, blocks, bpe, esm, words

LENGTH = 120


def with_gap(n=3, seed=0):
    """One-hot sequences with a run of N at other places."""
    onehot = sequences(LENGTH, n=n, seed=seed)
    for number in range(n):
        onehot[number, 20 + 7 * number : 25 + 7 * number] = 0
    return onehot


def model_of(kind, folder, **options):
    if kind == "bpe":
        tokenizer = bpe()
        return TokenModel(bert(len(tokenizer)), tokeniser(tokenizer), pad=3, **options)
    if kind == "words":
        tokenizer = words(folder)
        return TokenModel(bert(len(tokenizer)), tokeniser(tokenizer, kmer=3), pad=3, **options)
    tokenizer = blocks(folder)
    return TokenModel(esm(len(tokenizer)), tokeniser(tokenizer), pad=1, **options)


KINDS = ["bpe", "words", "blocks"]


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_spell_the_bases_at_their_places(tmp_path, kind):
    tokenizer = {"bpe": bpe, "words": lambda: words(tmp_path), "blocks": lambda: blocks(tmp_path)}
    made = tokenizer[kind]()
    read = tokeniser(made, kmer=3 if kind == "words" else None)
    for text in letters_of(with_gap().numpy()):
        tokens = read(text)
        assert len(tokens.rows) == len(tokens.places)
        ids = [tokens.ids[row] for row in tokens.rows]
        names = made.convert_ids_to_tokens(ids)
        for name, (start, end) in zip(names, tokens.places.tolist(), strict=True):
            spelled = text[start:end]
            assert spelled == name or (name == "[UNK]" and "N" in spelled)
        if kind == "words":
            assert tokens.places[:, 0].tolist() == list(range(LENGTH - 2))
            assert tokens.ids == made.encode(" ".join(text[i : i + 3] for i in range(LENGTH - 2)))
        else:  # every base is in one token, from the first to the last
            assert tokens.places[:, 0].tolist() == [0, *tokens.places[:-1, 1].tolist()]
            assert tokens.places[-1, 1] == LENGTH
            assert tokens.ids == made.encode(text)


def test_the_lengths_of_byte_pairs_differ():
    (text,) = letters_of(sequences(LENGTH, n=1).numpy())
    lengths = np.diff(tokeniser(bpe())(text).places)
    assert len(np.unique(lengths)) >= 3


def test_letters_left_over_are_tokens_of_one_base(tmp_path):
    tokens = tokeniser(blocks(tmp_path))("ACGTACGNACGTA")
    assert tokens.places.tolist() == [
        [0, 3], [3, 6], [6, 7], [7, 8], [8, 11], [11, 12], [12, 13],
    ]  # fmt: skip


def test_words_may_stand_side_by_side(tmp_path):
    tokens = tokeniser(words(tmp_path), kmer=3, step=3)("ACGTACGT")
    assert tokens.places.tolist() == [[0, 3], [3, 6]]
    with pytest.raises(ValueError, match=r"step must lie in 1\.\.3, got 4"):
        tokeniser(words(tmp_path), kmer=3, step=4)


def test_a_slow_tokenizer_that_does_not_spell_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"token '\[UNK\]' does not spell the sequence at base 0"):
        tokeniser(words(tmp_path))("ACGTACGT")


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_the_hidden_state_of_transformers(tmp_path, kind):
    model, onehot = model_of(kind, tmp_path), with_gap(1)
    assert isinstance(model, SequenceModel)
    (text,) = letters_of(onehot.numpy())
    tokens = model._tokenise(text)
    with torch.no_grad():
        ids = torch.tensor([tokens.ids])
        told = model.module(input_ids=ids, output_hidden_states=True)
    for number, layer in enumerate(list(model.layers)[:2], start=1):  # the last one is normalised
        found = model.capture(onehot, layer)
        n = len(tokens.rows)
        torch.testing.assert_close(found[0, :n], told.hidden_states[number][0, tokens.rows])
        assert not found[0, n:].any()
        assert torch.equal(found, model.capture(onehot, f"hidden_states.{number}"))
    outputs = model(onehot)
    torch.testing.assert_close(outputs[0].T, told.logits[0, tokens.rows])


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_of_a_batch_do_not_see_each_other(tmp_path, kind):
    model, onehot = model_of(kind, tmp_path), with_gap(3)
    layer = list(model.layers)[1]
    together = model.capture(onehot, layer)
    places = model.places(onehot)
    assert together.shape == (3, LENGTH, 16)
    assert places.shape == (3, LENGTH, 2)
    for number in range(3):
        alone = model.capture(onehot[number : number + 1], layer)[0]
        torch.testing.assert_close(together[number], alone, rtol=1e-4, atol=1e-5)
        exists = places[number, :, 1] > places[number, :, 0]
        assert (together[number].abs().sum(dim=1) > 0).numpy().tolist() == exists.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_with_its_own_activations_the_model_gives_its_own_outputs(tmp_path, kind):
    model, onehot = model_of(kind, tmp_path), with_gap(1)
    layer = next(iter(model.layers))
    half = model.halves(onehot, layer)
    with torch.no_grad():
        assert torch.equal(half.outputs(half.activations), model(onehot))
        assert torch.equal(model.run_from(layer, half.activations, onehot=onehot), model(onehot))
        moved = half.outputs(half.activations.square())
        assert (moved - model(onehot)).abs().max() > 1e-3
    start = half.activations.requires_grad_()
    (slope,) = torch.autograd.grad(half.outputs(start).square().sum(), start)
    assert slope.abs().sum(dim=2).min() > 0


def test_outputs_of_other_numbers_of_tokens_are_refused(tmp_path):
    model = model_of("bpe", tmp_path)
    with pytest.raises(ValueError, match="have no outputs of one shape: give them one at a time"):
        model(with_gap(3))


def test_wrong_layers_lengths_and_limits_are_named(tmp_path):
    model = model_of("blocks", tmp_path, input_length=LENGTH, max_tokens=30)
    name = list(model.layers)[1]
    with pytest.raises(ValueError, match=f"no layer '{name}1'; did you mean '{name}'"):
        model.capture(with_gap(1), f"{name}1")
    with pytest.raises(ValueError, match=r"no layer 'hidden_states\.4'"):
        model.capture(with_gap(1), "hidden_states.4")
    with pytest.raises(ValueError, match=r"max_tokens must be at least 4\d, got 30"):
        model.capture(with_gap(1), name)
    with pytest.raises(ValueError, match="onehot must be 120 bp long, got 60"):
        model.capture(sequences(60), name)
    with pytest.raises(ValueError, match="onehot must be given"):
        model.run_from(name, torch.zeros(1, 30, 16))
    with pytest.raises(ValueError, match="tokens of different lengths"):
        model.layers[name].interval(np.arange(3), 0)


@pytest.mark.parametrize("kind", ["bpe", "blocks"])
def test_a_folder_is_opened_by_what_lies_in_it(tmp_path, kind):
    tokenizer = bpe() if kind == "bpe" else blocks(tmp_path)
    module = (bert if kind == "bpe" else esm)(len(tokenizer))
    folder = tmp_path / "model"
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model = load(folder, options={"max_tokens": 200})
    layer = list(model.layers)[1]
    assert model.layers[layer].channels == 16
    same = model_of(kind, tmp_path, max_tokens=200)
    assert torch.equal(model.capture(with_gap(2), layer), same.capture(with_gap(2), layer))
    assert (model.places(with_gap(2)) == same.places(with_gap(2))).all()
    with pytest.raises(ValueError, match="option of a model of Hugging Face must be one of"):
        load(folder, options={"kmers": 3})
    with pytest.raises(ValueError, match="takes no weights"):
        load(folder, weights="x.safetensors")
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(FormatError, match=str(folder)):
        load(folder)


def test_a_folder_that_lacks_tensors_is_refused(tmp_path):
    tokenizer = bpe()
    module, folder = bert(len(tokenizer)), tmp_path / "model"
    state = module.state_dict()
    del state["bert.encoder.layer.1.output.dense.weight"]
    module.save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)
    with pytest.raises(FormatError, match=r"bert\.encoder\.layer\.1\.output\.dense\.weight"):
        load(folder)
