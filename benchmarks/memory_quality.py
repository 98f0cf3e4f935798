"""How well memories are found: questions about conversations, whose answers are known."""

from collections.abc import Sequence

from backends.embedding import StaticEmbedder
from backends.memory_store import SqliteMemoryStore
from backends.messages import MemoryDraft, MemoryQuery, Place, Reach, SearchMode
from backends.protocols import Embedder
from benchmarks.figures import Figure
from benchmarks.memory_conversations import Conversation, conversations
from benchmarks.memory_workload import opened, opened_minilm

_FOUND_AMONG = 10
_GAIN = 1.05


async def quality(count: int, *, quick: bool) -> list[Figure]:
    """Measure recall with the embedder of the package, and with MiniLM where its weights are."""
    figures = await _with(StaticEmbedder(), "default embedder", count)
    if quick:
        return figures
    async with opened_minilm() as minilm:
        return figures if minilm is None else [*figures, *await _with(minilm, "MiniLM", count)]


async def _with(embedder: Embedder, name: str, count: int) -> list[Figure]:
    figures: list[Figure] = []
    talks = conversations(count, held_out=True)
    for has_sessions in (True, False):
        async with opened(embedder) as (store, _):
            for number, talk in enumerate(talks):
                await _remember(store, f"team-{number}", talk, has_sessions=has_sessions)
            recall = {
                mode: await _recall(store, talks, mode) for mode in ("hybrid", "keyword", "vector")
            }
        either = max(recall["keyword"], recall["vector"])
        figures.append(
            Figure(
                name=f"recall at 10 of questions about conversations, {name},"
                f" {'sessions named' if has_sessions else 'no sessions named'}",
                value=recall["hybrid"],
                unit="",
                bar=_GAIN * either,
                better="higher",
                peer=f"words {recall['keyword']:.3f}, vectors {recall['vector']:.3f}",
            )
        )
    return figures


async def _remember(
    store: SqliteMemoryStore, owner: str, talk: Conversation, *, has_sessions: bool
) -> None:
    for turn in talk.turns:
        draft = MemoryDraft(
            content=turn.text,
            kind="message",
            session=turn.session if has_sessions else "",
            created=turn.at,
            data={"turn": turn.number},  # the same words twice are two turns
        )
        await store.add(draft, Place(owner, "self"))


async def _recall(
    store: SqliteMemoryStore, talks: Sequence[Conversation], mode: SearchMode
) -> float:
    found = total = 0
    for number, talk in enumerate(talks):
        for question in talk.questions:
            query = MemoryQuery(text=question.text, mode=mode, k=_FOUND_AMONG)
            hits = await store.search(query, [Reach(f"team-{number}", ("self/*",))])
            turns = {hit.data["turn"] for hit in hits if hit.data is not None}
            found += not turns.isdisjoint(question.evidence)
            total += 1
    return found / total
