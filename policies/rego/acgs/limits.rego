# METADATA
# title: Everything has a bound
package acgs.limits

import data.acgs.verdict
import rego.v1

# METADATA
# title: A message is no larger than its type may be
# custom:
#   code: policy.size_exceeded
#   effect: deny
#   remedy: "send less, or send a reference to where the rest lies"
verdicts.size := verdict.deny(
	"acgs.limits.size", "policy.size_exceeded",
	sprintf("the content is too large for a %s", [input.message.type]),
	"send less, or send a reference to where the rest lies",
) if {
	not size_permitted
}

# METADATA
# title: A call has a bounded number of arguments
# custom:
#   code: policy.arguments_exceeded
#   effect: deny
#   remedy: "give fewer arguments"
verdicts.arguments := verdict.deny(
	"acgs.limits.arguments", "policy.arguments_exceeded",
	"the call has too many arguments",
	"give fewer arguments",
) if {
	not arguments_permitted
}

# METADATA
# title: Names are short enough to be names
# custom:
#   code: policy.name_too_long
#   effect: deny
#   remedy: "shorten content.action, content.tool or content.resource"
verdicts.name_length := verdict.deny(
	"acgs.limits.name_length", "policy.name_too_long",
	"the action, tool or resource is too long to be a name",
	"shorten content.action, content.tool or content.resource",
) if {
	not names_permitted
}

default size_permitted := false

size_permitted if input.message.content_size <= data.cfg.limits.size_max[input.message.type]

default arguments_permitted := false

arguments_permitted if count(input.message.args) <= data.cfg.limits.arguments_max

default names_permitted := false

names_permitted if {
	count(input.message.tool) <= data.cfg.limits.name_length_max
	count(input.message.action) <= data.cfg.limits.name_length_max
	count(input.message.resource) <= data.cfg.limits.resource_length_max
}
