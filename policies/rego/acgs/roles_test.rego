package acgs.roles_test

import data.acgs.fixtures
import data.acgs.roles
import rego.v1

test_known_speaks_about_a_role_that_does_not_exist if {
	roles.verdicts.known.code == "policy.role_unknown" with input as fixtures.but({"/principal/roles": ["root"]})
}

test_known_speaks_about_no_role if {
	roles.verdicts.known with input as fixtures.but({"/principal/roles": []})
}

test_known_is_silent_when_one_of_two_exists if {
	not roles.verdicts.known with input as fixtures.but({"/principal/roles": ["agent", "root"]})
}

test_message_type_speaks_about_an_agent_s_governance_request if {
	roles.verdicts.message_type.code == "policy.type_not_permitted" with input as fixtures.said("governance_request")
}

test_message_type_is_silent_about_an_agent_s_command if {
	not roles.verdicts.message_type with input as fixtures.asked
}

test_message_type_is_silent_when_another_role_may if {
	not roles.verdicts.message_type with input as fixtures.but({"/principal/roles": ["auditor", "agent"]})
}

test_priority_speaks_above_the_role_s_highest if {
	roles.verdicts.priority.code == "policy.priority_exceeded" with input as fixtures.but({
		"/principal/roles": ["legislative"],
		"/message/priority": 3,
	})
}

test_priority_is_silent_at_the_role_s_highest if {
	not roles.verdicts.priority with input as fixtures.but({
		"/principal/roles": ["legislative"],
		"/message/priority": 2,
	})
}

test_broadcast_speaks_about_an_agent_s_command_to_all if {
	roles.verdicts.broadcast.code == "policy.broadcast_not_permitted" with input as fixtures.but({"/message/recipient": "*"})
}

test_broadcast_is_silent_about_an_agent_s_event_to_all if {
	not roles.verdicts.broadcast with input as json.patch(
		fixtures.said("event"),
		[{"op": "add", "path": "/message/recipient", "value": "*"}],
	)
}

test_broadcast_is_silent_about_one_recipient if {
	not roles.verdicts.broadcast with input as fixtures.asked
}

test_permitted_speaks_for_an_agent_s_command if {
	roles.verdicts.permitted.effect == "allow" with input as fixtures.asked
}

test_permitted_is_silent_about_a_role_that_sends_nothing if {
	not roles.verdicts.permitted with input as fixtures.but({"/principal/roles": ["auditor"]})
}
