import pytest

from sandbox import events
from sandbox.lives import LIVES, ORDINARY, life_of
from sandbox.service import ACTIONS


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.prefix)
@pytest.mark.parametrize("rest", ["", "+7", "7", ".ada", "-x"])
def test_prefixes(life, rest):
    assert life_of(f"{life.prefix}{rest}@example.org") is life
    assert life_of(f"{life.prefix}{rest}@example.org".upper()) is life


@pytest.mark.parametrize(
    "address", ["ada@example.org", "bouncer@example.org", "no-bounce@example.org", "", "@", "bounce"]
)
def test_all_others_are_ordinary(address):
    assert life_of(address) is ORDINARY


def test_every_step_can_be_fired():
    assert all(events.is_kind(step.kind) or step.kind in ACTIONS for life in LIVES for step in life.steps)
