# METADATA
# title: What a tool is given
# description: >-
#   The table names for each argument its type and what binds it: text (length_max), string
#   (pattern, length_max), strings (count_max, pattern, length_max; `alone` takes one by itself),
#   url (length_max, an allowed host), number and integer (min, max), boolean, object and values
#   (count_max). A bound that the table leaves out is never kept. Null counts as not given.
package acgs.arguments

import data.acgs.tools
import data.acgs.verdict
import rego.v1

# METADATA
# title: A call has what the tool requires
# custom:
#   code: policy.argument_missing
#   effect: deny
#   remedy: "give these arguments"
verdicts.required := verdict.deny(
	"acgs.arguments.required", "policy.argument_missing",
	sprintf("the tool requires %s", [concat(", ", missing)]),
	"give these arguments",
) if {
	tools.known
	not given
}

# METADATA
# title: A call has nothing that the tool does not know
# custom:
#   code: policy.argument_unexpected
#   effect: deny
#   remedy: "leave out the arguments that the tool does not have"
verdicts.described := verdict.deny(
	"acgs.arguments.described", "policy.argument_unexpected",
	"the call has arguments that the tool does not know",
	"leave out the arguments that the tool does not have",
) if {
	tools.known
	not fitting
	faults.described
}

# METADATA
# title: An argument is of its type
# custom:
#   code: policy.argument_type
#   effect: deny
#   remedy: "give these arguments with the type that the tool's table names"
verdicts.type := verdict.deny(
	"acgs.arguments.type", "policy.argument_type",
	sprintf("of another type than the tool takes: %s", [concat(", ", faults.type)]),
	"give these arguments with the type that the tool's table names",
) if {
	tools.known
	not fitting
	faults.type
}

# METADATA
# title: An argument is not too long
# custom:
#   code: policy.argument_length
#   effect: deny
#   remedy: "shorten these arguments"
verdicts.length := verdict.deny(
	"acgs.arguments.length", "policy.argument_length",
	sprintf("longer than the tool takes: %s", [concat(", ", faults.length)]),
	"shorten these arguments",
) if {
	tools.known
	not fitting
	faults.length
}

# METADATA
# title: An argument has its form
# custom:
#   code: policy.argument_pattern
#   effect: deny
#   remedy: "give these arguments in the form that the tool's table names"
verdicts.pattern := verdict.deny(
	"acgs.arguments.pattern", "policy.argument_pattern",
	sprintf("not of the form that the tool takes: %s", [concat(", ", faults.pattern)]),
	"give these arguments in the form that the tool's table names",
) if {
	tools.known
	not fitting
	faults.pattern
}

# METADATA
# title: An argument is within its range
# custom:
#   code: policy.argument_range
#   effect: deny
#   remedy: "give these arguments within the range that the tool's table names"
verdicts.range := verdict.deny(
	"acgs.arguments.range", "policy.argument_range",
	sprintf("outside the range that the tool takes: %s", [concat(", ", faults.range)]),
	"give these arguments within the range that the tool's table names",
) if {
	tools.known
	not fitting
	faults.range
}

# METADATA
# title: A call goes only to hosts that are allowed
# custom:
#   code: policy.host_not_permitted
#   effect: deny
#   remedy: "use an https URL of an allowed host, or ask a policy author to allow the host"
verdicts.host := verdict.deny(
	"acgs.arguments.host", "policy.host_not_permitted",
	sprintf("not an https URL of an allowed host: %s", [concat(", ", faults.host)]),
	"use an https URL of an allowed host, or ask a policy author to allow the host",
) if {
	tools.known
	not fitting
	faults.host
}

# METADATA
# title: A large amount is held for review
# custom:
#   code: policy.argument_held
#   effect: review
#   remedy: "wait for the review, or ask for less"
verdicts.amount := verdict.review(
	"acgs.arguments.amount", "policy.argument_held",
	sprintf("a person looks when so much is asked: %s", [concat(", ", large)]),
	"wait for the review, or ask for less",
) if {
	count(large) > 0
}

missing contains name if {
	some name in data.cfg.tools[input.message.tool].required
	object.get(input.message.args, name, null) == null
}

large contains name if {
	some name, bound in data.cfg.tools[input.message.tool].held_above
	input.message.args[name] > bound
}

default given := false

given if {
	every name in data.cfg.tools[input.message.tool].required {
		object.get(input.message.args, name, null) != null
	}
}

default fitting := false

fitting if {
	every name, value in input.message.args {
		shape(data.cfg.tools[input.message.tool].args[name].type, name, value)
	}
}

fitting if {
	every name, value in input.message.args { fits(name, value) }
}

default fits(_, _) := false

fits(name, value) if shape(data.cfg.tools[input.message.tool].args[name].type, name, value)

fits(name, _) if {
	not described(name)
	data.cfg.tools[input.message.tool].closed == false
}

fits(_, null)

default described(_) := false

described(name) if is_string(data.cfg.tools[input.message.tool].args[name].type)

default shape(_, _, _) := false

shape("text", name, value) if {
	is_string(value)
	count(value) <= data.cfg.tools[input.message.tool].args[name].length_max
}

shape("string", name, value) if formed(name, value)

shape("url", name, value) if {
	is_string(value)
	within_length(name, value)
	host_permitted(value)
}

shape("integer", name, value) if {
	is_number(value)
	value == floor(value)
	within_range(name, value)
}

shape("number", name, value) if {
	is_number(value)
	within_range(name, value)
}

shape("boolean", _, value) if is_boolean(value)

shape("object", name, value) if {
	is_object(value)
	within_count(name, value)
}

shape("values", name, value) if {
	is_array(value)
	within_count(name, value)
}

shape("strings", name, value) if {
	is_array(value)
	within_count(name, value)
	every item in value { formed(name, item) }
}

shape("strings", name, value) if {
	data.cfg.tools[input.message.tool].args[name].alone == true
	formed(name, value)
}

default formed(_, _) := false

formed(name, value) if {
	is_string(value)
	count(value) <= data.cfg.tools[input.message.tool].args[name].length_max
	regex.match(data.cfg.tools[input.message.tool].args[name].pattern, value)
}

default within_length(_, _) := false

within_length(name, value) if {
	count(value) <= data.cfg.tools[input.message.tool].args[name].length_max
}

default within_count(_, _) := false

within_count(name, value) if {
	count(value) <= data.cfg.tools[input.message.tool].args[name].count_max
}

default within_range(_, _) := false

within_range(name, value) if {
	value >= data.cfg.tools[input.message.tool].args[name].min
	value <= data.cfg.tools[input.message.tool].args[name].max
}

default host_permitted(_) := false

# No user, no port but 443, no capital letters: what is unusual is refused, not interpreted.
host_permitted(url) if {
	found := regex.find_all_string_submatch_n(`^https://([a-z0-9.-]+)(:443)?([/?#][!-\[\]-~]*)?$`, url, 1)
	data.cfg.hosts[found[0][1]] == true
}

faults[kind] contains name if {
	some name, value in input.message.args
	not fits(name, value)
	kind := fault(name, value)
}

# Why an argument does not fit; told by its type once type and length are as they must be.
default fault(_, _) := "type"

fault(name, value) := "described" if {
	not described(name)
} else := "type" if {
	not of_type(data.cfg.tools[input.message.tool].args[name].type, name, value)
} else := "length" if {
	too_long(data.cfg.tools[input.message.tool].args[name].type, name, value)
} else := {
	"text": "length",
	"object": "length",
	"values": "length",
	"string": "pattern",
	"strings": "pattern",
	"url": "host",
	"number": "range",
	"integer": "range",
}[data.cfg.tools[input.message.tool].args[name].type]

default of_type(_, _, _) := false

of_type("text", _, value) if is_string(value)

of_type("string", _, value) if is_string(value)

of_type("url", _, value) if is_string(value)

of_type("number", _, value) if is_number(value)

of_type("integer", _, value) if {
	is_number(value)
	value == floor(value)
}

of_type("boolean", _, value) if is_boolean(value)

of_type("object", _, value) if is_object(value)

of_type("values", _, value) if is_array(value)

of_type("strings", _, value) if {
	is_array(value)
	every item in value { is_string(item) }
}

of_type("strings", name, value) if {
	is_string(value)
	data.cfg.tools[input.message.tool].args[name].alone == true
}

# For the types that something else than their length may be wrong with.
default too_long(_, _, _) := false

too_long(type, name, value) if {
	type in {"string", "url"}
	not within_length(name, value)
}

too_long("strings", name, value) if {
	is_string(value)
	not within_length(name, value)
}

too_long("strings", name, value) if {
	is_array(value)
	not within_count(name, value)
}

too_long("strings", name, value) if {
	is_array(value)
	some item in value
	not within_length(name, item)
}
