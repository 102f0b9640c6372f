# METADATA
# title: The separation of powers
# description: >-
#   The executive proposes, the legislative extracts rules, the judicial validates. Each type of
#   message is one action of these; `content.action` may name another. Whoever holds a power has
#   its actions only, whatever other roles the token lists.
package acgs.powers

import data.acgs.verdict
import rego.v1

# METADATA
# title: Nobody holds two powers
# custom:
#   code: policy.powers_combined
#   effect: deny
#   remedy: "use a token with one of executive, legislative and judicial"
verdicts.single := verdict.deny(
	"acgs.powers.single", "policy.powers_combined",
	"the token holds more than one constitutional power",
	"use a token with one of executive, legislative and judicial",
) if {
	count(held) > 1
}

# METADATA
# title: A power acts within itself
# custom:
#   code: policy.power_exceeded
#   effect: deny
#   remedy: "let an agent do it whose power has this action"
verdicts.action := verdict.deny(
	"acgs.powers.action", "policy.power_exceeded",
	sprintf("the sender has no power to %s", [concat(", ", exceeded)]),
	"let an agent do it whose power has this action",
) if {
	count(exceeded) > 0
}

# METADATA
# title: A validation says what it validates
# custom:
#   code: policy.target_missing
#   effect: deny
#   remedy: "send a constitutional_validation whose content.output_id is a message id"
verdicts.target_given := verdict.deny(
	"acgs.powers.target_given", "policy.target_missing",
	"the validation names no output",
	"send a constitutional_validation whose content.output_id is a message id",
) if {
	validates
	input.target == null
}

# METADATA
# title: What is validated has been recorded
# custom:
#   code: policy.target_unknown
#   effect: deny
#   remedy: "name the message id of a recorded output of your tenant"
verdicts.target_known := verdict.deny(
	"acgs.powers.target_known", "policy.target_unknown",
	"no output with this id is recorded",
	"name the message id of a recorded output of your tenant",
) if {
	validates
	input.target.known == false
}

# METADATA
# title: Nobody validates its own output
# custom:
#   code: policy.self_validation
#   effect: deny
#   remedy: "let another judicial agent validate it"
verdicts.own_output := verdict.deny(
	"acgs.powers.own_output", "policy.self_validation",
	"the output to validate is the sender's own",
	"let another judicial agent validate it",
) if {
	validates
	input.target.agent == input.principal.agent
}

# METADATA
# title: The judicial validates the two other powers, never itself
# custom:
#   code: policy.target_not_validatable
#   effect: deny
#   remedy: "validate outputs of executive or legislative agents"
verdicts.target_power := verdict.deny(
	"acgs.powers.target_power", "policy.target_not_validatable",
	"the output to validate is not of the executive or the legislative alone",
	"validate outputs of executive or legislative agents",
) if {
	validates
	input.target.known == true
	not validatable
}

held contains role if {
	some role in input.principal.roles
	data.cfg.powers.names[role] == true
}

exceeded contains data.cfg.powers.action_of[input.message.type] if not type_within

exceeded contains input.message.action if not action_within

default type_within := false

type_within if {
	some role in held
	data.cfg.powers.actions[role][data.cfg.powers.action_of[input.message.type]] == true
}

type_within if {
	count(held) == 0
	data.cfg.powers.ordinary[data.cfg.powers.action_of[input.message.type]] == true
}

default action_within := false

action_within if not names_an_action

action_within if {
	some role in held
	data.cfg.powers.actions[role][input.message.action] == true
}

action_within if {
	count(held) == 0
	data.cfg.powers.ordinary[input.message.action] == true
}

default names_an_action := false

names_an_action if data.cfg.powers.named_actions[input.message.action] == true

default validates := false

validates if data.cfg.powers.action_of[input.message.type] == "validate"

validates if input.message.action == "validate"

default validatable := false

validatable if {
	some role in input.target.roles
	data.cfg.powers.validated[role] == true
	not beyond_validation
}

default beyond_validation := false

beyond_validation if {
	some role in input.target.roles
	data.cfg.powers.names[role] == true
	not data.cfg.powers.validated[role]
}
