# METADATA
# title: Which tools run, for whom
# description: >-
#   A message calls a tool when it names one of the table, when its content has a `tool` of its
#   own, or when it is of a type that asks for action and its action is no constitutional one.
package acgs.tools

import data.acgs.verdict
import rego.v1

# METADATA
# title: A tool that is not in the table is not simply run
# description: What happens to it is a datum, `cfg.calls.unknown_tool`.
# custom:
#   code: policy.tool_unknown
#   effect: review
#   remedy: "wait for the review, or ask a policy author to put the tool into the table"
verdicts.unknown := {
	"rule": "acgs.tools.unknown",
	"effect": unknown_effect,
	"code": "policy.tool_unknown",
	"message": "no policy describes this tool",
	"remedy": "wait for the review, or ask a policy author to put the tool into the table",
} if {
	called
	not known
}

# METADATA
# title: A tool may be refused to everybody
# custom:
#   code: policy.tool_refused
#   effect: deny
#   remedy: "use another tool; this one is never run"
verdicts.refused := verdict.deny(
	"acgs.tools.refused", "policy.tool_refused",
	"the tool is refused to everybody",
	"use another tool; this one is never run",
) if {
	known
	effect == "deny"
}

# METADATA
# title: A tool runs for its own roles
# custom:
#   code: policy.tool_not_permitted
#   effect: deny
#   remedy: "let an agent call it whose role may"
verdicts.role := verdict.deny(
	"acgs.tools.role", "policy.tool_not_permitted",
	"none of the token's roles may call this tool",
	"let an agent call it whose role may",
) if {
	known
	not role_permitted
}

# METADATA
# title: A tool may need a person each time
# custom:
#   code: policy.tool_held
#   effect: review
#   remedy: "wait for the review"
verdicts.held := verdict.review(
	"acgs.tools.held", "policy.tool_held",
	"a person looks before this tool runs",
	"wait for the review",
) if {
	known
	effect == "review"
}

# METADATA
# title: The table permits a tool
# custom:
#   code: policy.tool_permitted
#   effect: allow
verdicts.permitted := permission if {
	effect == "allow"
	role_permitted
}

permission := {
	"rule": "acgs.tools.permitted",
	"effect": "allow",
	"code": "policy.tool_permitted",
	"message": "a role of the token may call this tool",
	"remedy": "",
}

# METADATA
# title: Critics may have to look before a tool runs
# description: >-
#   For tools whose entry has a `panel`: its rule, how many must take a side, and for how long they
#   may. What any rule holds besides is for people, and so is what the panel does not decide.
# custom:
#   type: require_panel
obligations.panel := {
	"id": "acgs.tools.panel",
	"type": "require_panel",
	"properties": data.cfg.tools[input.message.tool].panel,
} if {
	data.cfg.tools[input.message.tool].panel != null
}

default permitted := false

permitted if {
	effect == "allow"
	role_permitted
}

permitted if {
	not known
	unknown_effect == "allow"
}

default known := false

known if is_string(data.cfg.tools[input.message.tool].effect)

default called := false

called if known

called if {
	input.message.tool != ""
	input.message.tool != input.message.action
}

called if {
	input.message.tool != ""
	data.cfg.calls.types[input.message.type] == true
	not constitutional
}

default constitutional := false

constitutional if data.cfg.powers.named_actions[input.message.tool] == true

# A tool that is not in the table, or that does not say that it stays, may take things anywhere.
default leaves := false

leaves if {
	called
	not stays
}

default stays := false

stays if data.cfg.tools[input.message.tool].leaves == false

default effect := "deny"

effect := data.cfg.tools[input.message.tool].effect if {
	data.cfg.tools[input.message.tool].effect in {"allow", "review"}
}

default unknown_effect := "deny"

unknown_effect := data.cfg.calls.unknown_tool if data.cfg.calls.unknown_tool in {"allow", "review"}

default role_permitted := false

role_permitted if {
	some role in input.principal.roles
	data.cfg.tools[input.message.tool].roles[role] == true
}
