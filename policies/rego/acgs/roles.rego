# METADATA
# title: What a role may send
# description: >-
#   Each role lists the types that it may send, those that it may broadcast, and its highest
#   priority. Whoever holds several roles may do what any of them may; acgs.powers takes back what
#   must not be combined.
package acgs.roles

import data.acgs.verdict
import rego.v1

# METADATA
# title: A principal holds a role that exists here
# custom:
#   code: policy.role_unknown
#   effect: deny
#   remedy: "ask your tenant's administrator for a token with a role"
verdicts.known := verdict.deny(
	"acgs.roles.known", "policy.role_unknown",
	"the token holds no role that this policy knows",
	"ask your tenant's administrator for a token with a role",
) if {
	not known
}

# METADATA
# title: A role sends only its own types of message
# custom:
#   code: policy.type_not_permitted
#   effect: deny
#   remedy: "send another type of message, or let an agent send it whose role may"
verdicts.message_type := verdict.deny(
	"acgs.roles.message_type", "policy.type_not_permitted",
	sprintf("none of the token's roles may send a %s", [input.message.type]),
	"send another type of message, or let an agent send it whose role may",
) if {
	not permitted
}

# METADATA
# title: A role has a highest priority
# custom:
#   code: policy.priority_exceeded
#   effect: deny
#   remedy: "send it with a lower priority"
verdicts.priority := verdict.deny(
	"acgs.roles.priority", "policy.priority_exceeded",
	"none of the token's roles may send with so high a priority",
	"send it with a lower priority",
) if {
	not priority_permitted
}

# METADATA
# title: A role broadcasts only what it may broadcast
# custom:
#   code: policy.broadcast_not_permitted
#   effect: deny
#   remedy: "address one agent, or let an agent broadcast it whose role may"
verdicts.broadcast := verdict.deny(
	"acgs.roles.broadcast", "policy.broadcast_not_permitted",
	sprintf("none of the token's roles may broadcast a %s", [input.message.type]),
	"address one agent, or let an agent broadcast it whose role may",
) if {
	not broadcast_permitted
}

# METADATA
# title: A role permits a type of message
# custom:
#   code: policy.role_permitted
#   effect: allow
verdicts.permitted := permission if permitted

permission := {
	"rule": "acgs.roles.permitted",
	"effect": "allow",
	"code": "policy.role_permitted",
	"message": "a role of the token may send this type of message",
	"remedy": "",
}

default known := false

known if {
	some role in input.principal.roles
	is_string(data.cfg.roles[role].clearance)
}

default permitted := false

permitted if {
	some role in input.principal.roles
	data.cfg.roles[role].types[input.message.type] == true
}

default priority_permitted := false

priority_permitted if {
	some role in input.principal.roles
	input.message.priority <= data.cfg.priorities[data.cfg.roles[role].priority_max]
}

default broadcast_permitted := false

broadcast_permitted if input.message.recipient != "*"

broadcast_permitted if {
	some role in input.principal.roles
	data.cfg.roles[role].broadcasts[input.message.type] == true
}
