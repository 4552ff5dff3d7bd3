"""What components took. What runs them measures it; their output artifacts keep it; the report shows it.

It is in ML Metadata, as a custom property of the artifacts, and in no file that a component writes. It is no cache key:
those who read an artifact run again anyway where it was made anew.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

PROPERTY = 'cost'  # of an artifact: a Cost as JSON


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one component took, with all processes that it started on its machine; not what Beam ran on others."""
    component: str
    """Its id, such as Transform_digits."""
    seconds: float
    """From its start to its end."""
    cpu_seconds: float
    """Of all cores together."""
    peak_bytes: int
    """The most memory that the processes had at once: their resident memory, added up. Libraries and what earlier
    components left in the process count, and pages that several processes share count for each."""

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def from_json(text: str) -> Cost:
    """The Cost in the property of an artifact."""
    return Cost(**json.loads(text))


# Component -> its Cost, and whether that is of an earlier run. On one machine the runner and the executors are one
# process, so the report hears of all components before it; on a cluster it knows those whose outputs it reads.
_of_this_run: dict[str, tuple[Cost, bool]] = {}


@contextlib.contextmanager
def of_one_run() -> Iterator[None]:
    """A block in which one run goes on. What is told in it is forgotten at its end."""
    try:
        yield
    finally:
        _of_this_run.clear()


def tell(cost: Cost, cached: bool):
    """Says what a component of the run that goes on took. cached: whether it did so in an earlier run."""
    _of_this_run[cost.component] = cost, cached


def whole() -> bool:
    """Whether `known` has all components of the run that were measured."""
    return bool(_of_this_run)


def known(inputs: Mapping[str, Sequence]) -> list[tuple[Cost, bool]]:
    """What the components before this one took, and whether in an earlier run; the most expensive first.

    inputs: the input_dict of an executor.
    """
    found = {cost.component: (cost, False) for cost in _kept(inputs.values())} | _of_this_run
    return sorted(found.values(), key=lambda pair: (-pair[0].seconds, pair[0].component))


def _kept(inputs: Iterable[Sequence]) -> list[Cost]:
    texts = [artifact.get_string_custom_property(PROPERTY) for artifacts in inputs for artifact in artifacts]
    return [from_json(text) for text in texts if text]  # '' where the component was not measured
