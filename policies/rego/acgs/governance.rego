# METADATA
# title: The one answer
# description: >-
#   The only entrypoint, and it is total: `allow` is true when every part that must permit the
#   message did, and nothing denied or held it. Silence is never permission.
package acgs.governance

import data.acgs.arguments
import data.acgs.constitution
import data.acgs.findings
import data.acgs.impact
import data.acgs.labels
import data.acgs.limits
import data.acgs.ordinary
import data.acgs.powers
import data.acgs.roles
import data.acgs.schema
import data.acgs.tenancy
import data.acgs.tools
import data.acgs.verdict
import rego.v1

# METADATA
# title: What the policy says about one message
# description: >-
#   The default is there so that no fault of these rules can leave the answer undefined; the chain
#   below covers every input.
# entrypoint: true
default decision := {
	"allow": false,
	"verdicts": [{
		"rule": "acgs.governance.decision",
		"effect": "deny",
		"code": "policy.undefined",
		"message": "the policy could not come to an answer",
		"remedy": "tell an operator: this is a fault of the policy, not of the message",
	}],
	"obligations": [],
}

decision := {"allow": true, "verdicts": [roles.permission], "obligations": []} if {
	schema.valid
	ordinary.word
} else := {"allow": true, "verdicts": [roles.permission, tools.permission], "obligations": []} if {
	schema.valid
	ordinary.call
} else := {"allow": false, "verdicts": [verdicts.configured], "obligations": []} if {
	not configured
} else := {"allow": false, "verdicts": [schema.verdicts.input], "obligations": []} if {
	not schema.valid
} else := {"allow": false, "verdicts": spoken, "obligations": duties} if {
	some said in spoken
	said.effect != "allow"
} else := {"allow": true, "verdicts": spoken, "obligations": duties} if {
	permitted
} else := {"allow": false, "verdicts": [verdicts.silence], "obligations": []}

# METADATA
# title: A policy without its data judges nothing
# custom:
#   code: policy.unconfigured
#   effect: deny
#   remedy: "tell an operator: a table under data.cfg is missing"
verdicts.configured := verdict.deny(
	"acgs.governance.configured", "policy.unconfigured",
	"the policy was loaded without its data",
	"tell an operator: a table under data.cfg is missing",
)

# METADATA
# title: Silence is a denial
# custom:
#   code: policy.not_permitted
#   effect: deny
#   remedy: "ask a policy author for a rule that permits this"
verdicts.silence := verdict.deny(
	"acgs.governance.silence", "policy.not_permitted",
	"no rule forbids this message, and none permits it",
	"ask a policy author for a rule that permits this",
)

default configured := false

configured if {
	is_string(data.cfg.constitutional_hash)
	data.cfg.priorities.critical == 3
	data.cfg.finding_kinds.secret == true
	data.cfg.powers.names.judicial == true
	data.cfg.powers.named_actions.validate == true
	data.cfg.powers.action_of.constitutional_validation == "validate"
	data.cfg.calls.types.command == true
	is_number(data.cfg.labels.ranks[data.cfg.labels.unlabelled])
	is_number(data.cfg.priorities[data.cfg.impact.held_from_priority])
	is_number(data.cfg.limits.arguments_max)
}

# Nothing against a message is not enough: its role permits it and, if it calls a tool, the table
# does too.
default permitted := false

permitted if {
	roles.permitted
	not tools.called
}

permitted if {
	roles.permitted
	tools.permitted
}

spoken := [said |
	some part in [
		constitution.verdicts,
		tenancy.verdicts,
		roles.verdicts,
		powers.verdicts,
		limits.verdicts,
		tools.verdicts,
		arguments.verdicts,
		labels.verdicts,
		findings.verdicts,
		impact.verdicts,
	]
	some said in part
]

duties := [duty |
	some part in [findings.obligations, tools.obligations]
	some duty in part
]
