package acgs.labels_test

import data.acgs.fixtures
import data.acgs.labels
import rego.v1

labelled(names) := fixtures.but({"/message/metadata/labels": names})

test_known_speaks_about_a_label_that_does_not_exist if {
	labels.verdicts.known.code == "policy.label_unknown" with input as labelled(["internal", "top-secret"])
}

test_known_is_silent_about_the_four if {
	not labels.verdicts.known with input as labelled(["public", "internal", "confidential", "restricted"])
}

test_known_is_silent_without_labels if {
	not labels.verdicts.known with input as fixtures.asked
}

test_clearance_speaks_above_the_role_s_own if {
	labels.verdicts.clearance.code == "policy.clearance_exceeded" with input as labelled(["restricted"])
}

test_clearance_speaks_about_a_role_without_one if {
	labels.verdicts.clearance with input as fixtures.but({"/principal/roles": ["root"]})
}

test_clearance_is_silent_up_to_it if {
	not labels.verdicts.clearance with input as labelled(["confidential"])
}

test_clearance_is_silent_about_a_role_that_has_it if {
	not labels.verdicts.clearance with input as json.patch(
		labelled(["restricted"]),
		[{"op": "add", "path": "/principal/roles", "value": ["executive"]}],
	)
}

test_tool_clearance_speaks_about_restricted_data if {
	labels.verdicts.tool_clearance.code == "policy.tool_clearance_exceeded" with input as fixtures.calls("service.deploy", {"service": "api", "version": "1"})
}

test_tool_clearance_speaks_when_the_table_does_not_say if {
	labels.verdicts.tool_clearance with input as fixtures.asked
		with data.cfg.tools["email.send"].touches as null
}

test_tool_clearance_is_silent_about_what_the_role_may_see if {
	not labels.verdicts.tool_clearance with input as fixtures.calls("db.query", {"sql": "select 1"})
}

test_tool_clearance_is_silent_about_words if {
	not labels.verdicts.tool_clearance with input as fixtures.said("command")
}

test_tool_label_speaks_when_confidential_words_would_leave if {
	labels.verdicts.tool_label.code == "policy.label_exceeded" with input as labelled(["public", "confidential"])
}

test_tool_label_speaks_when_the_table_does_not_say if {
	labels.verdicts.tool_label with input as fixtures.asked
		with data.cfg.tools["email.send"].label_max as null
}

test_tool_label_is_silent_about_internal_words if {
	not labels.verdicts.tool_label with input as labelled(["internal"])
}

test_a_low_label_lowers_nothing if {
	labels.level == data.cfg.labels.ranks.internal with input as labelled(["public"])
}
