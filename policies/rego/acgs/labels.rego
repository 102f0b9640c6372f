# METADATA
# title: Classified information stays where it may be
# description: >-
#   A message is as secret as its highest label, and at least as an unlabelled one: a label raises,
#   it never lowers.
package acgs.labels

import data.acgs.tools
import data.acgs.verdict
import rego.v1

# METADATA
# title: A label is one that exists
# custom:
#   code: policy.label_unknown
#   effect: deny
#   remedy: "use public, internal, confidential or restricted"
verdicts.known := verdict.deny(
	"acgs.labels.known", "policy.label_unknown",
	"the message carries a label that this policy does not know",
	"use public, internal, confidential or restricted",
) if {
	not known
}

# METADATA
# title: A sender is cleared for what it sends
# custom:
#   code: policy.clearance_exceeded
#   effect: deny
#   remedy: "let an agent send it whose role is cleared for this label"
verdicts.clearance := verdict.deny(
	"acgs.labels.clearance", "policy.clearance_exceeded",
	"none of the token's roles is cleared for the message's label",
	"let an agent send it whose role is cleared for this label",
) if {
	not cleared
}

# METADATA
# title: A caller is cleared for what the tool touches
# custom:
#   code: policy.tool_clearance_exceeded
#   effect: deny
#   remedy: "let an agent call it whose role is cleared for the data that the tool touches"
verdicts.tool_clearance := verdict.deny(
	"acgs.labels.tool_clearance", "policy.tool_clearance_exceeded",
	"none of the token's roles is cleared for the data that this tool touches",
	"let an agent call it whose role is cleared for the data that the tool touches",
) if {
	tools.known
	not tool_cleared
}

# METADATA
# title: A tool is given nothing above its label
# custom:
#   code: policy.label_exceeded
#   effect: deny
#   remedy: "take the classified part out, or use a tool that stays inside the house"
verdicts.tool_label := verdict.deny(
	"acgs.labels.tool_label", "policy.label_exceeded",
	"the message's label is higher than what this tool may be given",
	"take the classified part out, or use a tool that stays inside the house",
) if {
	tools.known
	not within_label
}

labels := object.get(input.message.metadata, "labels", [])

level := data.cfg.labels.ranks[data.cfg.labels.unlabelled] if {
	count(labels) == 0
} else := max({rank |
	some label in array.concat(labels, [data.cfg.labels.unlabelled])
	rank := data.cfg.labels.ranks[label]
})

default known := false

known if {
	every label in labels { is_number(data.cfg.labels.ranks[label]) }
}

default cleared := false

cleared if {
	some role in input.principal.roles
	data.cfg.labels.ranks[data.cfg.roles[role].clearance] >= level
}

default tool_cleared := false

tool_cleared if {
	needed := data.cfg.labels.ranks[data.cfg.tools[input.message.tool].touches]
	some role in input.principal.roles
	data.cfg.labels.ranks[data.cfg.roles[role].clearance] >= needed
}

default within_label := false

within_label if {
	level <= data.cfg.labels.ranks[data.cfg.tools[input.message.tool].label_max]
}
