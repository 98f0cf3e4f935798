"""Where a job runs: the first of its resources, in its own order of preference, that has a slot."""

from collections.abc import Mapping

from scheduler.jobs import Job


def choose_resource(job: Job, free_slots: Mapping[str, int]) -> str | None:
    """Pick the resource for a job, or None when all that fit are busy.

    Args:
        job: The job to place.
        free_slots: Slots free now, by resource. Unknown resources count as full.
    """
    for name in job.resources:
        if free_slots.get(name, 0) > 0:
            return name
    return None
