package acgs.impact_test

import data.acgs.fixtures
import data.acgs.impact
import rego.v1

test_action_speaks_about_a_tool_that_the_table_calls_high if {
	impact.verdicts.action.code == "policy.high_impact" with input as fixtures.calls("file.delete", {"path": "a"})
}

test_action_speaks_when_the_table_does_not_say if {
	impact.verdicts.action with input as fixtures.asked
		with data.cfg.tools["email.send"].high_impact as null
}

test_action_speaks_about_the_words_of_other_tools if {
	every tool in ["deleteUser", "delete_user", "user.delete", "DBDrop", "UserShutdown", "sudo-execute"] {
		impact.verdicts.action with input as fixtures.calls(tool, {})
	}
}

test_action_speaks_about_the_verb_beside_a_harmless_tool if {
	impact.verdicts.action with input as fixtures.but({"/message/action": "wipe"})
}

test_action_is_silent_about_a_mail if {
	not impact.verdicts.action with input as fixtures.asked
}

test_action_is_silent_when_the_table_knows_better_than_the_name if {
	not impact.verdicts.action with input as fixtures.calls("file.delete", {"path": "a"})
		with data.cfg.tools["file.delete"].high_impact as false
}

test_action_is_silent_about_harmless_words if {
	every tool in ["calculate_area", "math.factorial", "undeletable", "transferred"] {
		not impact.verdicts.action with input as fixtures.calls(tool, {})
	}
}

test_action_is_silent_about_the_name_of_an_event if {
	not impact.verdicts.action with input as json.patch(
		fixtures.said("event"),
		[
			{"op": "add", "path": "/message/action", "value": "server.shutdown"},
			{"op": "add", "path": "/message/tool", "value": "server.shutdown"},
		],
	)
}

test_priority_speaks_about_a_critical_message if {
	impact.verdicts.priority.code == "policy.critical_priority" with input as fixtures.but({"/message/priority": 3})
}

test_priority_is_silent_about_a_high_one if {
	not impact.verdicts.priority with input as fixtures.but({"/message/priority": 2})
}
