package acgs.limits_test

import data.acgs.fixtures
import data.acgs.limits
import rego.v1

many(count) := {name: "x" | some number in numbers.range(1, count); name := sprintf("a%d", [number])}

long(count) := concat("", ["x" | some _ in numbers.range(1, count)])

test_size_speaks_above_what_the_type_may_hold if {
	limits.verdicts.size.code == "policy.size_exceeded" with input as json.patch(
		fixtures.said("heartbeat"),
		[{"op": "add", "path": "/message/content_size", "value": 4097}],
	)
}

test_size_speaks_about_a_type_without_a_bound if {
	limits.verdicts.size with input as fixtures.asked
		with data.cfg.limits.size_max as {}
}

test_size_is_silent_at_the_bound if {
	not limits.verdicts.size with input as json.patch(
		fixtures.said("heartbeat"),
		[{"op": "add", "path": "/message/content_size", "value": 4096}],
	)
}

test_arguments_speaks_above_the_bound if {
	limits.verdicts.arguments.code == "policy.arguments_exceeded" with input as fixtures.but({"/message/args": many(65)})
}

test_arguments_is_silent_at_the_bound if {
	not limits.verdicts.arguments with input as fixtures.but({"/message/args": many(64)})
}

test_name_length_speaks_about_a_long_action if {
	limits.verdicts.name_length.code == "policy.name_too_long" with input as fixtures.but({"/message/action": long(257)})
}

test_name_length_speaks_about_a_long_tool if {
	limits.verdicts.name_length with input as fixtures.but({"/message/tool": long(257)})
}

test_name_length_speaks_about_a_long_resource if {
	limits.verdicts.name_length with input as fixtures.but({"/message/resource": long(2049)})
}

test_name_length_is_silent_at_the_bound if {
	not limits.verdicts.name_length with input as fixtures.but({
		"/message/action": long(256),
		"/message/tool": long(256),
		"/message/resource": long(2048),
	})
}
