"""That the tests find faults: all of them apply, and a sample is found.

`python -m scripts.mutate_scheduler` tries them all.
"""

import pytest

from scripts.mutate_scheduler import ROOT, apply, is_caught
from tests.scheduler.mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=range(len(MUTATIONS)))
def test_a_fault_still_applies(mutation: Mutation) -> None:
    text = (ROOT / "scheduler" / mutation.file).read_text()
    assert apply(mutation, text) != text


def test_code_without_a_fault_is_not_called_faulty() -> None:
    text = (ROOT / "scheduler" / "jobs.py").read_text().splitlines()[0]
    assert not is_caught(Mutation("jobs.py", text, text))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, len(MUTATIONS), 11))
def test_a_fault_is_found(number: int) -> None:
    assert is_caught(MUTATIONS[number])
