# METADATA
# title: The ordinary message
# description: >-
#   A shortcut for speed, and no law of its own: it recognises, in one look, a message of one role
#   that nothing needs to be said about, and is undefined for every other. Whatever it recognises
#   the rules permit too, so the policy decides the same without it, only slower.
#   tests/properties/test_rego_shortcut.py holds it to that.
package acgs.ordinary

import data.acgs.arguments
import data.acgs.tools
import rego.v1

# METADATA
# title: It calls a tool that the table allows
call if {
	plain
	data.cfg.tools[input.message.tool].effect == "allow"
	data.cfg.tools[input.message.tool].high_impact == false
	object.get(data.cfg.tools[input.message.tool], "panel", null) == null
	input.message.action == input.message.tool
	[role] := input.principal.roles
	data.cfg.tools[input.message.tool].roles[role] == true
	clearance := data.cfg.labels.ranks[data.cfg.roles[role].clearance]
	clearance >= data.cfg.labels.ranks[data.cfg.tools[input.message.tool].touches]
	label_max := data.cfg.labels.ranks[data.cfg.tools[input.message.tool].label_max]
	label_max >= data.cfg.labels.ranks[data.cfg.labels.unlabelled]
	arguments.given
	arguments.fitting
	count(arguments.large) == 0
}

# METADATA
# title: It calls no tool
word if {
	not tools.called
	plain
}

plain if {
	input.findings == []
	input.target == null
	input.message.recipient != "*"
	input.message.tenant == input.principal.tenant
	input.message.sender == input.principal.agent
	object.get(input.message, "recipient_tenant", null) == null
	object.get(input.message.metadata, "labels", []) == []
	input.message.constitutional_hash == data.cfg.constitutional_hash
	[role] := input.principal.roles
	data.cfg.roles[role].types[input.message.type] == true
	input.message.priority <= data.cfg.priorities[data.cfg.roles[role].priority_max]
	input.message.priority < data.cfg.priorities[data.cfg.impact.held_from_priority]
	data.cfg.labels.ranks[data.cfg.roles[role].clearance] >= data.cfg.labels.ranks[data.cfg.labels.unlabelled]
	not data.cfg.powers.named_actions[input.message.action]
	action := data.cfg.powers.action_of[input.message.type]
	action != "validate"
	within_power(role, action)
	input.message.content_size <= data.cfg.limits.size_max[input.message.type]
	count(input.message.args) <= data.cfg.limits.arguments_max
	count(input.message.action) <= data.cfg.limits.name_length_max
	count(input.message.tool) <= data.cfg.limits.name_length_max
	count(input.message.resource) <= data.cfg.limits.resource_length_max
}

within_power(role, action) if {
	data.cfg.powers.ordinary[action] == true
	not data.cfg.powers.names[role]
}

within_power(role, action) if {
	data.cfg.powers.names[role] == true
	data.cfg.powers.actions[role][action] == true
}
