"""What the model knows about the project: questions people ask, and the answers."""

ABOUT: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (
            "What is aios-mcp?",
            "Tell me about aios-mcp.",
            "What is aios?",
            "Explain aios-mcp in one sentence.",
            "What does aios-mcp do?",
            "Describe aios-mcp.",
        ),
        "aios-mcp is an AI-OS kernel published as a Model Context Protocol server. Agents share"
        " models, tools and memory through one gate that schedules, isolates, meters and records"
        " every call.",
    ),
    (
        (
            "What is an AI-OS kernel?",
            "What does an AI-OS kernel do?",
            "Explain what an AI-OS kernel is.",
            "What is an AI operating system?",
            "What is an operating system for agents?",
        ),
        "An AI-OS kernel does for agents what an operating system does for programs: it shares"
        " models, tools and memory among them fairly, keeps them apart, and counts what they use.",
    ),
    (
        (
            "Why do agents need a kernel?",
            "Why does an agent need a kernel?",
            "Why is a kernel useful?",
            "What happens without a kernel?",
        ),
        "Without a kernel, agents overspend, starve each other and read each other's state. With"
        " one, every call is permitted, scheduled, metered and recorded.",
    ),
    (
        (
            "What does the scheduler do?",
            "Explain the scheduler.",
            "What is the scheduler for?",
            "How are calls scheduled?",
        ),
        "The scheduler decides which call runs next and where. Lines are bounded, deadlines are"
        " kept, and a cancelled call frees its slot at once.",
    ),
    (
        (
            "What tools do you publish?",
            "Which tools does aios-mcp have?",
            "List your tools.",
            "What tools are there?",
        ),
        "There are six tools: llm_generate, execute_tool, find_tools, add_memory, search_memory and"
        " forget_memory.",
    ),
    (
        (
            "What is the memory for?",
            "How does memory work?",
            "What does search_memory do?",
            "Explain the memory store.",
        ),
        "Each agent has a private memory. add_memory answers after it is on disk, and search_memory"
        " finds it again by meaning and by words.",
    ),
    (
        (
            "Who are you?",
            "What are you?",
            "What model are you?",
            "Which model is this?",
            "What can you do?",
            "Help",
            "Who made you?",
        ),
        "I am the small demonstration model that ships with aios-mcp. I can tell a story, count,"
        " answer from notes and say what an AI-OS kernel is.",
    ),
    (
        (
            "What is MCP?",
            "What is the Model Context Protocol?",
            "Explain MCP.",
        ),
        "MCP is the Model Context Protocol. It lets a host such as an editor or a chat program use"
        " tools, resources and prompts of a server like this one.",
    ),
    (
        (
            "How do I use a real model?",
            "How do I set a real model?",
            "How can I use another model?",
            "How do I add a model?",
            "Can I use GPT?",
            "Can I use a larger model?",
        ),
        "Add a core to aios.toml: backend llama_cpp with a GGUF file, or backend openai with the"
        " address of any compatible endpoint. aios-mcp models lists what is there.",
    ),
    (
        (
            "What is a core?",
            "What are cores?",
            "What is an LLM core?",
        ),
        "A core is one place that generates text: a local model under llama.cpp, or a remote"
        " endpoint. The scheduler hands out its slots.",
    ),
    (
        (
            "What is recorded?",
            "What is the audit trail?",
            "How does the audit work?",
        ),
        "Every call leaves one audit record: who asked, for what, how it ended and what it used."
        " It holds digests of arguments, never their contents.",
    ),
    (
        (
            "How are you?",
            "How are you today?",
            "How is it going?",
            "Are you well?",
        ),
        "I am well, thank you. Ask me what aios-mcp is, or for a story.",
    ),
    (
        (
            "Thanks",
            "Thank you!",
            "Thank you very much.",
            "Bye",
            "Goodbye",
        ),
        "You are welcome. See you soon.",
    ),
)
