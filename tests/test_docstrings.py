"""Every field that becomes a flag is explained in the docstring of its dataclass."""

import dataclasses

import pytest

from drnet_tf.data.augmentation import Augmentation
from drnet_tf.docstrings import described_fields
from drnet_tf.models.registry import FAMILIES
from drnet_tf.runs.settings import Settings

DESCRIPTIONS = [
    *(part for family in FAMILIES.values() for part in (family.config, family.recipe)),
    Augmentation,
    Settings,
]


@pytest.mark.parametrize("description", DESCRIPTIONS, ids=lambda description: description.__name__)
def test_every_field_has_a_sentence(description):
    texts = described_fields(description)
    assert set(texts) == {field.name for field in dataclasses.fields(description)}
    for name, text in texts.items():
        # More than the capital and the dot that are put around it.
        assert len(text.split()) >= 2, name
        assert text[0] == text[0].upper() and text.endswith(".") and "\n" not in text, name


@dataclasses.dataclass
class Base:
    """Explains its field.

    Args:
        length: of the thing,
            in metres.
        name: of the base.
    """

    length: float = 1.0
    name: str = ""


@dataclasses.dataclass
class Derived(Base):
    """Explains more.

    Args:
        width, height: of the thing in metres: 2 of them.
        name: of the derived.

    Returns:
        other: this is no field.
    """

    width: float = 1.0
    height: float = 1.0


def test_sentences_are_those_of_the_bases_and_of_the_class_which_wins():
    assert described_fields(Derived) == {
        "length": "Of the thing, in metres.",
        "name": "Of the derived.",
        "width": "Of the thing in metres: 2 of them.",
        "height": "Of the thing in metres: 2 of them.",
    }


def test_what_explains_nothing_has_no_sentences():
    assert described_fields(type("Bare", (), {})) == {}
