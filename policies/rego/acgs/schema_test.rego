package acgs.schema_test

import data.acgs.fixtures
import data.acgs.schema
import rego.v1

complains(document, text) if {
	verdict := schema.verdicts.input with input as document
	verdict.code == "policy.input_invalid"
	contains(verdict.message, text)
}

test_input_speaks_about_what_is_no_object if {
	every document in [null, true, 1, "x", [], {}] {
		schema.verdicts.input with input as document
	}
}

test_input_speaks_about_every_field_that_is_missing if {
	every path in [
		"/principal", "/principal/tenant", "/principal/agent", "/principal/roles",
		"/message", "/message/tenant", "/message/sender", "/message/recipient", "/message/type",
		"/message/priority", "/message/constitutional_hash", "/message/action", "/message/tool",
		"/message/resource", "/message/args", "/message/content_size", "/message/metadata",
		"/findings", "/target",
	] {
		schema.verdicts.input with input as fixtures.without([path])
	}
}

test_input_speaks_about_every_field_of_another_type if {
	every path in [
		"/principal/tenant", "/principal/agent", "/principal/roles", "/message/tenant",
		"/message/sender", "/message/recipient", "/message/type", "/message/priority",
		"/message/constitutional_hash", "/message/action", "/message/tool", "/message/resource",
		"/message/args", "/message/content_size", "/message/metadata", "/findings", "/target",
	] {
		schema.verdicts.input with input as fixtures.but({path: true})
	}
}

test_input_speaks_of_what_is_wrong if {
	complains(fixtures.but({"/message/tool": 5}), "message.tool must be of type string")
	complains(fixtures.but({"/message/type": "order"}), "message.type must be one of")
	complains(fixtures.but({"/message/priority": 4}), "message.priority must be")
	complains(fixtures.but({"/message/recipient": "a b"}), "message.recipient must be")
	complains(fixtures.but({"/message/metadata/labels": "internal"}), "message.metadata.labels must be")
	complains(fixtures.but({"/target": {"known": true}}), "target must be")
	complains(fixtures.but({"/principal/tenant": "ACME"}), "not of its form")
}

test_input_speaks_about_values_out_of_range if {
	schema.verdicts.input with input as fixtures.but({"/message/content_size": -1})
	schema.verdicts.input with input as fixtures.but({"/message/priority": 0.5})
	schema.verdicts.input with input as fixtures.but({"/message/priority": -1})
	schema.verdicts.input with input as fixtures.but({"/message/priority": "critical"})
	schema.verdicts.input with input as fixtures.but({"/principal/agent": "../x"})
	schema.verdicts.input with input as fixtures.but({"/message/recipient": "**"})
	schema.verdicts.input with input as fixtures.but({"/principal/roles": ["agent", 1]})
	schema.verdicts.input with input as fixtures.but({"/message/metadata/labels": [1]})
}

test_input_speaks_about_findings_of_another_kind if {
	schema.verdicts.input with input as fixtures.but({"/findings": [{"kind": "odd", "detector": "x", "path": ""}]})
	schema.verdicts.input with input as fixtures.but({"/findings": [{"kind": "pii", "path": ""}]})
	schema.verdicts.input with input as fixtures.but({"/findings": [{"kind": "pii", "detector": "x"}]})
	schema.verdicts.input with input as fixtures.but({"/findings": ["pii"]})
}

test_input_is_silent_about_a_well_formed_one if {
	not schema.verdicts.input with input as fixtures.asked
	not schema.verdicts.input with input as fixtures.but({
		"/message/recipient": "*",
		"/message/metadata": {"labels": ["internal"], "note": 5},
		"/findings": [fixtures.email("/text")],
		"/target": {"known": false, "agent": "", "roles": []},
	})
	not schema.verdicts.input with input as fixtures.but({"/message/recipient": null})
}
