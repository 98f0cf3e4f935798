"""What the kernel runs work on: LLM cores, embedders, memory stores, tool servers, the journal.

`protocols` names the seams, `messages` the values that cross them, `errors` what can go wrong;
every other package is one adapter. Adapters import no sibling, except `database`, the SQLite
file that `memory_store` and `journal` share.
"""
