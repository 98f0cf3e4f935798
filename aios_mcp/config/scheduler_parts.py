"""`[scheduler]`: who runs next."""

from typing import Literal, TypeAlias

from pydantic import Field

from aios_mcp.config.part import Part

PolicyName: TypeAlias = Literal["fair", "fifo", "round_robin", "priority", "deadline"]
LaneName: TypeAlias = Literal["urgent", "normal", "batch"]


class LanePart(Part):
    """`[scheduler.lanes.NAME]`."""

    policy: PolicyName | None = Field(
        default=None, description="Who runs next within the lane; that of [scheduler] if not set"
    )
    weight: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        description="What the lane gets of busy slots against the others, in tokens: by default 16"
        " for urgent, 4 for normal, 1 for batch",
    )


class SchedulerPart(Part):
    """`[scheduler]`."""

    policy: PolicyName = Field(
        default="fair",
        description="Who runs next: fair shares work over agents, fifo goes by arrival,"
        " round_robin gives agents turns, priority goes by the call's priority, deadline by the"
        " call's deadline",
    )
    ageing_seconds: float = Field(
        default=30.0,
        gt=0,
        le=86_400,
        description="For priority, and among an agent's own calls for fair: a call that waited this"
        " long counts as one step more urgent",
    )
    turn_tokens: int = Field(
        default=32,
        ge=1,
        le=100_000,
        description="For fair and round_robin: tokens after which a generation may have to stand"
        " still for an agent that has had less",
    )
    prompt_weight: float = Field(
        default=1.0, ge=0, le=1000, description="For fair: what a token of a prompt counts"
    )
    output_weight: float = Field(
        default=2.0, gt=0, le=1000, description="For fair: what a generated token counts"
    )
    lanes: dict[LaneName, LanePart] = Field(
        default_factory=dict[LaneName, LanePart],
        description="Lanes that are ordered apart from each other, each by its own policy; without"
        " any, one policy orders all calls",
    )
