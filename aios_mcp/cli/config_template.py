"""The configuration that `aios-mcp init` writes. With every example uncommented it still loads."""

TEMPLATE = """\
# Configuration of aios-mcp. Everything here may be left out. `aios-mcp config check` names every
# problem, `aios-mcp config show` prints every setting there is. A secret never stands here: write
# "env:VARIABLE" or "file:PATH" where it is.

# --- Agents: who may do what. No entry, no right. -------------------------------------------------

[agents.local]                                 # whom stdio speaks for
tools  = ["*"]                                 # tools of the servers below, as server.tool
deny   = ["*.delete*"]                         # wins over tools
memory = { read = ["self/*", "shared"], write = ["self/*", "shared"], max_mb = 500 }
llm    = { tiers = ["fast", "balanced", "capable"] }

# [agents.researcher]                          # a second agent, over HTTP, with less
# token = "file:researcher.token"              # or use `aios-mcp token mint --agent researcher`
# tools = ["fs.read_*"]
# args  = [{ tool = "fs.read_*", path = "path", under = "/data/research" }]
# memory = { read = ["self/*"], write = ["self/*"], max_mb = 50 }
# llm   = { tiers = ["fast"], max_tokens = 2048, tokens_per_day = 200000, concurrency = 2 }
# rate  = "60/min"

# --- Who runs next --------------------------------------------------------------------------------

# [scheduler]
# policy = "fair"                              # or round_robin, priority, deadline, fifo
# lanes.batch = { policy = "fifo", weight = 1 }  # lanes apart: urgent, normal and batch by weight

# --- Cores: where text is generated ---------------------------------------------------------------

[cores.local]
backend = "llama_cpp"
model = "bundled"                              # for demonstrations. For real work a path, or
                                               # "hf:ORG/REPO:Q4_K_M" after `aios-mcp models pull`
tiers = ["fast", "balanced", "capable"]
slots = 8                                      # sequences decoded together
gpu_layers = 0                                 # -1 is all; needs a GPU build, see `aios-mcp doctor`

# [cores.cloud]                                # any OpenAI-compatible endpoint
# backend = "openai"
# preset = "openrouter"                        # or openai, ollama, vllm, llama-server, deepseek,
                                               # qwen, kimi, minimax, groq, gemini, anthropic
# base_url = "https://api.example.com/v1"      # without a preset, or instead of the preset's
# model = "some-model"
# api_key = "env:CLOUD_KEY"
# tiers = ["capable"]
# price = { input = 0.15, output = 0.60 }      # USD per million tokens; needed for usd_per_day

# --- Servers: downstream MCP servers, whose tools agents share ------------------------------------

# [servers.fs]
# command = ["npx", "-y", "@modelcontextprotocol/server-filesystem", "/data"]

# [servers.remote]
# url = "https://tools.example.com/mcp"
# headers = { Authorization = "env:REMOTE_TOOLS_AUTHORIZATION" }
# calls_back = true                            # it is a client of this kernel too: what it asks for
                                               # a call goes ahead as that call would
"""
