"""Text vectors do not depend on padding, chunks or company; banks know whose names they hold."""

from __future__ import annotations

import pytest
import torch

from benchmarks.naive import PaddedTextEncoder
from checks.tiny_clip import TINY_CLIP, register_model
from maskclippp.config import default_config
from maskclippp.structures import TextBank
from maskclippp.text_encoders import TextClassifier, build_text_encoder
from maskclippp.text_encoders.bank import average_templates
from maskclippp.utils.errors import UserError
from tests.common import tiny_text_encoder

TEMPLATES = ["a photo of a {}.", "There is a small {} in the middle of the scene."]
NAMES = [["dog"], ["traffic light", "stop light", "red, amber and green lamp on a very long pole"], ["sky"]]


@pytest.fixture(scope="module")
def encoder():
    return tiny_text_encoder()


def test_cutting_the_context_changes_nothing(encoder):
    padded = tiny_text_encoder(PaddedTextEncoder)
    tokens = encoder.tokenize(["dog", "a photo of a very small dog in the scene."])
    with torch.no_grad():
        torch.testing.assert_close(encoder(tokens), padded(tokens), rtol=0, atol=1e-5)
        torch.testing.assert_close(encoder(tokens)[:1], encoder(tokens[:1]), rtol=0, atol=1e-5)


def test_cutting_changes_no_gradient():
    gradients = []
    for encoder_class in (PaddedTextEncoder, type(tiny_text_encoder())):
        encoder = tiny_text_encoder(encoder_class, finetune_type="attention")
        encoder(encoder.tokenize(["a photo of a dog."])).square().sum().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters() if p.requires_grad})
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, rtol=1e-3, atol=1e-4)


def test_a_sentence_that_fills_the_context(encoder):
    tokens = encoder.tokenize(["dog " * 200])
    assert int(tokens.ne(0).sum()) == 77
    assert torch.isfinite(encoder(tokens)).all()


@pytest.mark.parametrize("chunk", [1, 3, 512])
def test_chunks_change_nothing(encoder, chunk):
    whole = TextClassifier(encoder, TEMPLATES).bank(NAMES)
    bank = TextClassifier(encoder, TEMPLATES, chunk_size=chunk).bank(NAMES)
    torch.testing.assert_close(bank.embeddings, whole.embeddings, rtol=0, atol=1e-5)


def test_bank(encoder):
    bank = TextClassifier(encoder, TEMPLATES).bank(NAMES)
    assert bank.embeddings.shape == (5, 2, 32) and not bank.embeddings.requires_grad
    torch.testing.assert_close(bank.embeddings.norm(dim=-1), torch.ones(5, 2))
    assert bank.class_index.tolist() == [0, 1, 1, 1, 2] and bank.num_classes == 3
    with torch.no_grad():
        vector = encoder(encoder.tokenize([TEMPLATES[1].format("stop light")]))[0]
    torch.testing.assert_close(bank.embeddings[2, 1], vector / vector.norm(), rtol=0, atol=1e-5)


def test_banks_are_remembered_until_cleared(encoder):
    classifier = TextClassifier(encoder, TEMPLATES)
    first = classifier.bank(NAMES)
    assert classifier.bank([list(names) for names in NAMES]) is first
    assert classifier.bank(NAMES[:1]) is not first
    classifier.clear()
    assert classifier.bank(NAMES) is not first


@pytest.mark.parametrize("finetune_type", ["none", "attention"])
def test_a_sample_has_one_name_of_each_class(finetune_type):
    encoder = tiny_text_encoder(finetune_type=finetune_type)
    classifier = TextClassifier(encoder, TEMPLATES)
    everything = TextClassifier(tiny_text_encoder(), TEMPLATES).bank(NAMES)
    drawn = set()
    torch.manual_seed(0)
    for _ in range(12):
        bank = classifier.sample(NAMES, classifier.draw(NAMES))
        assert bank.embeddings.shape == (3, 2, 32) and bank.class_index.tolist() == [0, 1, 2]
        assert bank.embeddings.requires_grad == (finetune_type != "none")
        distance = (everything.embeddings[None, :] - bank.embeddings.detach()[:, None]).abs().amax(dim=(2, 3))
        index = distance.argmin(dim=1)
        assert distance.amin(dim=1).max() < 1e-5
        assert everything.class_index[index].tolist() == [0, 1, 2]
        drawn.add(int(index[1]))
    assert drawn == {1, 2, 3}


def test_average_of_templates():
    bank = TextBank(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([0]), num_classes=1)
    torch.testing.assert_close(average_templates(bank).embeddings, torch.full((1, 1, 2), 0.5**0.5))


@pytest.mark.parametrize(
    ("finetune_type", "expected"),
    [
        ("none", set()),
        (
            "attention",
            {
                "positional_embedding",
                "transformer.resblocks.0.attn.in_proj_weight",
                "transformer.resblocks.1.attn.in_proj_weight",
            },
        ),
        ("proj", {"text_projection", "ln_final.weight", "ln_final.bias", "logit_scale"}),
    ],
)
def test_finetune_types(finetune_type, expected):
    encoder = tiny_text_encoder(finetune_type=finetune_type)
    assert {name for name, p in encoder.named_parameters() if p.requires_grad} == expected
    assert encoder.tuned == bool(expected)


def test_all_parameters_can_train():
    assert all(p.requires_grad for p in tiny_text_encoder(finetune_type="all").parameters())


def test_state_dict_has_the_published_names(encoder):
    names = set(encoder.state_dict())
    assert {
        "token_embedding.weight",
        "positional_embedding",
        "text_projection",
        "logit_scale",
        "ln_final.weight",
    } <= names
    assert not [name for name in names if "tower" in name or name == "attn_mask"]
    assert encoder.embed_dim == 32


def test_loading_weights_changes_the_result(encoder):
    other = tiny_text_encoder()
    tokens = other.tokenize(["dog"])
    state = {name: value * 1.5 if name == "text_projection" else value for name, value in other.state_dict().items()}
    other.load_state_dict(state)
    assert (other(tokens) - encoder(tokens)).abs().max() > 1e-3


def test_messages():
    with pytest.raises(UserError, match="FINETUNE_TYPE 'atention' of a text encoder: valid are none, all, att"):
        tiny_text_encoder(finetune_type="atention")
    node = default_config().MODEL.MASKCLIPPP.TEXT_ENCODER
    assert build_text_encoder(node) is None
    node.NAME, node.MODEL_NAME = "CLIPTextEncoder", register_model(TINY_CLIP)
    assert build_text_encoder(node).embed_dim == 32
    node.NAME = "ClipTextEncoder"
    with pytest.raises(UserError, match="did you mean CLIPTextEncoder"):
        build_text_encoder(node)


def test_an_averaging_classifier_keeps_its_averages():
    encoder, templates = tiny_text_encoder(), ["a photo of a {}.", "There is a {} in the scene."]
    names = [["dog"], ["sky", "blue sky"]]
    classifier = TextClassifier(encoder, templates, averaged=True)
    bank = classifier.bank(names)
    torch.testing.assert_close(
        bank.embeddings, average_templates(TextClassifier(encoder, templates).bank(names)).embeddings
    )
    assert bank.embeddings.shape[:2] == (3, 1) and classifier.bank(names) is bank
