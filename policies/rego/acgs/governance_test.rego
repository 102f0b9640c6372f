package acgs.governance_test

import data.acgs.fixtures
import data.acgs.governance
import rego.v1

codes(decision) := {said.code | some said in decision.verdicts}

test_configured_speaks_when_the_data_is_missing if {
	decision := governance.decision with input as fixtures.asked
		with data.cfg as {}
	decision.allow == false
	codes(decision) == {"policy.unconfigured"}
}

test_configured_speaks_about_each_table_that_is_missing if {
	not governance.configured with data.cfg.constitutional_hash as null
	not governance.configured with data.cfg.priorities.critical as 2
	not governance.configured with data.cfg.finding_kinds.secret as false
	not governance.configured with data.cfg.powers.names as {}
	not governance.configured with data.cfg.powers.named_actions as {}
	not governance.configured with data.cfg.powers.action_of as {}
	not governance.configured with data.cfg.calls.types as {}
	not governance.configured with data.cfg.labels.unlabelled as "none"
	not governance.configured with data.cfg.impact.held_from_priority as "none"
	not governance.configured with data.cfg.limits.arguments_max as null
}

test_configured_is_silent_with_its_data if {
	decision := governance.decision with input as fixtures.asked
	not "policy.unconfigured" in codes(decision)
}

test_silence_speaks_when_nothing_permits if {
	decision := governance.decision with input as fixtures.but({"/message/recipient_tenant": "acme"})
		with data.acgs.roles.permitted as false
		with data.acgs.roles.verdicts as {}
	decision == {"allow": false, "verdicts": [governance.verdicts.silence], "obligations": []}
}

test_silence_speaks_when_the_table_permits_nothing if {
	decision := governance.decision with input as fixtures.but({"/message/recipient_tenant": "acme"})
		with data.acgs.tools.verdicts as {}
		with data.acgs.tools.role_permitted as false
	codes(decision) == {"policy.not_permitted"}
}

test_silence_is_silent_when_something_permits if {
	decision := governance.decision with input as fixtures.asked
	not "policy.not_permitted" in codes(decision)
}

test_a_valid_message_is_allowed_and_says_by_which_rules if {
	decision := governance.decision with input as fixtures.asked
	decision.allow == true
	decision.obligations == []
	{said.rule | some said in decision.verdicts} == {"acgs.roles.permitted", "acgs.tools.permitted"}
}

test_words_are_allowed_by_the_role_alone if {
	decision := governance.decision with input as fixtures.said("event")
	decision.allow == true
	codes(decision) == {"policy.role_permitted"}
}

test_words_on_the_long_way_are_allowed_by_the_role_alone if {
	decision := governance.decision with input as json.patch(
		fixtures.said("event"),
		[{"op": "add", "path": "/message/metadata", "value": {"labels": ["internal"]}}],
	)
	decision.allow == true
	codes(decision) == {"policy.role_permitted"}
}

test_the_long_way_allows_the_same if {
	short := governance.decision with input as fixtures.asked
	long := governance.decision with input as fixtures.but({"/message/recipient_tenant": "acme"})
	short == long
}

test_a_review_is_not_an_allowance if {
	decision := governance.decision with input as fixtures.calls("file.delete", {"path": "a"})
	decision.allow == false
	not "deny" in {said.effect | some said in decision.verdicts}
	"review" in {said.effect | some said in decision.verdicts}
}

test_every_rule_that_objects_is_heard if {
	decision := governance.decision with input as fixtures.but({
		"/message/sender": "boss",
		"/message/constitutional_hash": "0",
		"/message/args": {"to": 5},
	})
	decision.allow == false
	{"policy.sender_mismatch", "policy.constitution_mismatch", "policy.argument_type"} & codes(decision) == {"policy.sender_mismatch", "policy.constitution_mismatch", "policy.argument_type"}
}

test_a_duty_comes_with_the_permission if {
	decision := governance.decision with input as fixtures.but({"/findings": [fixtures.email("/args/body")]})
	decision.allow == true
	decision.obligations[0].type == "redact"
}

test_a_malformed_input_is_one_denial if {
	decision := governance.decision with input as fixtures.but({"/message/tool": 5, "/message/sender": "boss"})
	decision.allow == false
	codes(decision) == {"policy.input_invalid"}
}

test_no_input_is_a_denial if {
	governance.decision.allow == false
	codes(governance.decision) == {"policy.input_invalid"}
}

test_an_unknown_tool_may_be_allowed_by_the_datum if {
	decision := governance.decision with input as fixtures.calls("frobnicate", {})
		with data.cfg.calls.unknown_tool as "allow"
	decision.allow == true
	"policy.tool_unknown" in codes(decision)
}
