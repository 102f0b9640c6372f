package acgs.powers_test

import data.acgs.fixtures
import data.acgs.powers
import rego.v1

recorded(roles) := {"known": true, "agent": "planner", "roles": roles}

test_single_speaks_about_two_powers if {
	powers.verdicts.single.code == "policy.powers_combined" with input as fixtures.but({"/principal/roles": ["executive", "judicial"]})
}

test_single_is_silent_about_one_power_among_other_roles if {
	not powers.verdicts.single with input as fixtures.but({"/principal/roles": ["agent", "executive", "executive"]})
}

test_action_speaks_when_a_judge_proposes if {
	powers.verdicts.action.code == "policy.power_exceeded" with input as fixtures.but({"/principal/roles": ["judicial"]})
}

test_action_speaks_when_a_judge_proposes_as_a_plain_agent if {
	powers.verdicts.action with input as fixtures.but({"/principal/roles": ["agent", "judicial"]})
}

test_action_speaks_when_an_agent_validates if {
	powers.verdicts.action with input as fixtures.said("constitutional_validation")
}

test_action_speaks_when_an_executive_extracts_rules_in_a_query if {
	powers.verdicts.action with input as fixtures.but({
		"/principal/roles": ["executive"],
		"/message/type": "query",
		"/message/action": "extract_rules",
		"/message/tool": "extract_rules",
	})
}

test_action_is_silent_when_a_legislative_extracts_rules if {
	not powers.verdicts.action with input as fixtures.but({
		"/principal/roles": ["legislative"],
		"/message/type": "query",
		"/message/action": "extract_rules",
		"/message/tool": "extract_rules",
	})
}

test_action_is_silent_when_a_judge_audits if {
	not powers.verdicts.action with input as fixtures.but({
		"/principal/roles": ["judicial"],
		"/message/type": "query",
		"/message/action": "audit",
		"/message/tool": "audit",
	})
}

test_action_is_silent_when_an_agent_proposes if {
	not powers.verdicts.action with input as fixtures.asked
}

test_action_is_silent_about_a_plain_agent_s_query if {
	not powers.verdicts.action with input as fixtures.but({
		"/message/type": "query",
		"/message/action": "query",
		"/message/tool": "query",
	})
}

test_target_given_speaks_about_a_validation_of_nothing if {
	powers.verdicts.target_given.code == "policy.target_missing" with input as fixtures.validates(null)
}

test_target_given_speaks_when_another_type_validates if {
	powers.verdicts.target_given with input as fixtures.but({
		"/principal/roles": ["judicial"],
		"/message/type": "query",
		"/message/action": "validate",
		"/message/tool": "validate",
	})
}

test_target_given_is_silent_about_a_target if {
	not powers.verdicts.target_given with input as fixtures.validates(recorded(["executive"]))
}

test_target_given_is_silent_about_other_messages if {
	not powers.verdicts.target_given with input as fixtures.asked
}

test_target_known_speaks_about_an_output_that_is_not_recorded if {
	powers.verdicts.target_known.code == "policy.target_unknown" with input as fixtures.validates({"known": false, "agent": "", "roles": []})
}

test_target_known_is_silent_about_a_recorded_one if {
	not powers.verdicts.target_known with input as fixtures.validates(recorded(["executive"]))
}

test_own_output_speaks_about_self_validation if {
	powers.verdicts.own_output.code == "policy.self_validation" with input as fixtures.validates({"known": true, "agent": "writer", "roles": ["executive"]})
}

test_own_output_is_silent_about_another_s_output if {
	not powers.verdicts.own_output with input as fixtures.validates(recorded(["executive"]))
}

test_target_power_speaks_about_a_judge_s_output if {
	powers.verdicts.target_power.code == "policy.target_not_validatable" with input as fixtures.validates(recorded(["judicial"]))
}

test_target_power_speaks_about_an_output_of_two_powers if {
	powers.verdicts.target_power with input as fixtures.validates(recorded(["executive", "judicial"]))
}

test_target_power_speaks_about_a_plain_agent_s_output if {
	powers.verdicts.target_power with input as fixtures.validates(recorded(["agent"]))
}

test_target_power_is_silent_about_the_executive_s_output if {
	not powers.verdicts.target_power with input as fixtures.validates(recorded(["executive"]))
}

test_target_power_is_silent_about_the_legislative_s_output if {
	not powers.verdicts.target_power with input as fixtures.validates(recorded(["agent", "legislative"]))
}
