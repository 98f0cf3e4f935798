"""Chat templates that define tool calls, in the three ways that models are taught them."""

_TURNS = """
{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\\n' + m.content }}
{%- for call in m.tool_calls or [] %}CALL{% endfor %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

HERMES = (
    "{%- if tools %}"
    "{{- '<|im_start|>system\\nTools:\\n' }}{%- for tool in tools %}{{ tool | tojson }}{% endfor %}"
    """{{- '\\nAnswer with <tool_call>{"name": ..., "arguments": ...}</tool_call>' }}"""
    "{{- '<|im_end|>\\n' }}{%- endif %}"
    + _TURNS.replace(
        "CALL",
        """{{- '<tool_call>{"name": "' + call.function.name + '", "arguments": ' }}"""
        "{{- call.function.arguments | tojson }}{{- '}</tool_call>' }}",
    )
)

MISTRAL = (
    "{%- if tools %}{{- '[AVAILABLE_TOOLS] ' }}{{- tools | tojson }}{%- endif %}"
    + _TURNS.replace(
        "CALL",
        "{%- if call.id | length != 9 %}{{ raise_exception('nine characters') }}{% endif %}"
        """{{- '[TOOL_CALLS] [{"name": "' + call.function.name + '", "arguments": ' }}"""
        """{{- call.function.arguments | tojson }}{{- ', "id": "' + call.id + '"}]' }}""",
    )
)

LLAMA3 = (
    "{%- if tools %}"
    """{{- 'Answer in the format {"name": function name, "parameters": dictionary}.\\n' }}"""
    "{%- for tool in tools %}{{ tool | tojson(indent=4) }}{% endfor %}{%- endif %}"
    + _TURNS.replace(
        "CALL",
        """{{- '{"name": "' + call.function.name + '", "parameters": ' }}"""
        "{{- call.function.arguments | tojson }}{{- '}' }}",
    )
)
