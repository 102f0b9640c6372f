# METADATA
# title: What an input must be
# description: >-
#   Every field that a rule reads is looked at here first, so that no rule can fall silent because
#   something is missing or of another type. A malformed input is a denial, never an undefined
#   answer. README.md lists the fields.
package acgs.schema

import data.acgs.verdict
import rego.v1

# METADATA
# title: A malformed input is denied
# custom:
#   code: policy.input_invalid
#   effect: deny
#   remedy: "send every field that policies/rego/README.md lists, with its type"
verdicts.input := verdict.deny(
	"acgs.schema.input", "policy.input_invalid",
	sprintf("the input cannot be judged: %s", [complaint]),
	"send every field that policies/rego/README.md lists, with its type",
) if {
	not valid
}

default valid := false

valid if {
	is_string(input.principal.tenant)
	is_string(input.principal.agent)
	regex.match(`^[a-z0-9][a-z0-9_-]{1,63}$`, input.principal.tenant)
	regex.match(`^[a-z0-9][a-z0-9_-]{1,63}$`, input.principal.agent)
	is_array(input.principal.roles)
	every role in input.principal.roles { is_string(role) }

	# acgs.tenancy holds these two to the principal's.
	is_string(input.message.tenant)
	is_string(input.message.sender)
	addressed
	is_string(data.cfg.powers.action_of[input.message.type])
	prioritised
	is_string(input.message.constitutional_hash)
	is_string(input.message.action)
	is_string(input.message.tool)
	is_string(input.message.resource)
	is_object(input.message.args)
	is_object(input.message.metadata)
	is_number(input.message.content_size)
	input.message.content_size >= 0
	labelled
	is_array(input.findings)
	every finding in input.findings {
		data.cfg.finding_kinds[finding.kind] == true
		is_string(finding.detector)
		is_string(finding.path)
	}
	targeted
}

default prioritised := false

prioritised if input.message.priority in {0, 1, 2, 3}

default addressed := false

addressed if input.message.recipient == null

addressed if {
	is_string(input.message.recipient)
	regex.match(`^([a-z0-9][a-z0-9_-]{1,63}|\*)$`, input.message.recipient)
}

default labelled := false

labelled if {
	labels := object.get(input.message.metadata, "labels", [])
	is_array(labels)
	every label in labels { is_string(label) }
}

default targeted := false

targeted if input.target == null

targeted if {
	is_boolean(input.target.known)
	is_string(input.target.agent)
	is_array(input.target.roles)
	every role in input.target.roles { is_string(role) }
}

# What to tell about an input that is not valid: it explains, and decides nothing.
complaint := concat(", ", mistyped) if {
	count(mistyped) > 0
} else := concat(", ", unknown) if {
	count(unknown) > 0
} else := "a tenant, agent, label, finding or target is not of its form"

mistyped contains sprintf("%s must be of type %s", [path, type]) if {
	some path, type in {
		"principal.tenant": "string",
		"principal.agent": "string",
		"principal.roles": "array",
		"message.tenant": "string",
		"message.sender": "string",
		"message.type": "string",
		"message.priority": "number",
		"message.constitutional_hash": "string",
		"message.action": "string",
		"message.tool": "string",
		"message.resource": "string",
		"message.args": "object",
		"message.metadata": "object",
		"message.content_size": "number",
		"findings": "array",
	}
	type_name(object.get(document, split(path, "."), null)) != type
}

unknown contains "message.type must be one of the eleven types" if {
	not data.cfg.powers.action_of[input.message.type]
}

unknown contains "message.priority must be 0, 1, 2 or 3" if not prioritised

unknown contains "message.recipient must be an id, * or null" if not addressed

unknown contains "message.metadata.labels must be a list of strings" if not labelled

unknown contains "target must be null or {known, agent, roles}" if not targeted

default document := {}

document := input if is_object(input)
