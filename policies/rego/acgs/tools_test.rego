package acgs.tools_test

import data.acgs.fixtures
import data.acgs.tools
import rego.v1

told(type, action) := json.patch(
	fixtures.said(type),
	[
		{"op": "add", "path": "/message/action", "value": action},
		{"op": "add", "path": "/message/tool", "value": action},
	],
)

test_unknown_speaks_for_review_by_default if {
	tools.verdicts.unknown.effect == "review" with input as fixtures.calls("frobnicate", {})
}

test_unknown_speaks_as_the_datum_says if {
	tools.verdicts.unknown.effect == "allow" with input as fixtures.calls("frobnicate", {})
		with data.cfg.calls.unknown_tool as "allow"
}

test_unknown_speaks_against_when_the_datum_is_none_that_exists if {
	tools.verdicts.unknown.effect == "deny" with input as fixtures.calls("frobnicate", {})
		with data.cfg.calls.unknown_tool as "maybe"
}

test_unknown_speaks_about_an_explicit_tool_in_any_type if {
	tools.verdicts.unknown with input as json.patch(
		told("event", "done"),
		[{"op": "add", "path": "/message/tool", "value": "frobnicate"}],
	)
}

test_unknown_speaks_about_a_capital_letter if {
	tools.verdicts.unknown with input as fixtures.calls("Email.send", {})
}

test_unknown_is_silent_about_a_tool_of_the_table if {
	not tools.verdicts.unknown with input as fixtures.asked
}

test_unknown_is_silent_about_what_an_event_is_called if {
	not tools.verdicts.unknown with input as told("event", "order.arrived")
}

test_unknown_is_silent_about_a_constitutional_action if {
	not tools.verdicts.unknown with input as told("query", "query")
}

test_unknown_is_silent_about_words_only if {
	not tools.verdicts.unknown with input as fixtures.said("command")
}

test_refused_speaks_about_the_shell if {
	tools.verdicts.refused.code == "policy.tool_refused" with input as fixtures.calls("shell.run", {"command": "ls"})
}

test_refused_speaks_about_an_effect_that_does_not_exist if {
	tools.verdicts.refused with input as fixtures.asked
		with data.cfg.tools["email.send"].effect as "maybe"
}

test_refused_speaks_in_any_type_of_message if {
	tools.verdicts.refused with input as told("event", "shell.run")
}

test_refused_is_silent_about_a_mail if {
	not tools.verdicts.refused with input as fixtures.asked
}

test_role_speaks_when_a_role_may_not_call_it if {
	tools.verdicts.role.code == "policy.tool_not_permitted" with input as fixtures.calls("db.export", {"table": "orders"})
}

test_role_is_silent_when_it_may if {
	not tools.verdicts.role with input as json.patch(
		fixtures.calls("db.export", {"table": "orders"}),
		[{"op": "add", "path": "/principal/roles", "value": ["executive"]}],
	)
}

test_held_speaks_about_a_deletion if {
	tools.verdicts.held.code == "policy.tool_held" with input as fixtures.calls("file.delete", {"path": "a.txt"})
}

test_held_is_silent_about_a_reading if {
	not tools.verdicts.held with input as fixtures.calls("file.read", {"path": "a.txt"})
}

test_permitted_speaks_for_a_mail if {
	tools.verdicts.permitted.effect == "allow" with input as fixtures.asked
}

test_permitted_is_not_said_of_what_is_held_or_unknown if {
	tools.permitted with input as fixtures.asked
	not tools.permitted with input as fixtures.calls("file.delete", {"path": "a"})
	not tools.permitted with input as fixtures.calls("frobnicate", {})
}

test_permitted_is_silent_about_what_is_held if {
	not tools.verdicts.permitted with input as fixtures.calls("file.delete", {"path": "a.txt"})
}

test_permitted_is_silent_about_what_is_unknown if {
	not tools.verdicts.permitted with input as fixtures.calls("frobnicate", {})
}

test_permitted_is_silent_about_another_role if {
	not tools.verdicts.permitted with input as fixtures.but({"/principal/roles": ["judicial"]})
}

published := fixtures.calls("page.publish", {"path": "news/today", "text": "we are open"})

test_panel_speaks_with_what_the_table_says if {
	tools.obligations.panel.type == "require_panel" with input as published
	tools.obligations.panel.properties == data.cfg.tools["page.publish"].panel with input as published
}

test_panel_speaks_although_what_stands_there_is_no_panel if {
	tools.obligations.panel.properties == "soon" with input as published
		with data.cfg.tools["page.publish"].panel as "soon"
}

test_panel_is_silent_about_other_tools if {
	not tools.obligations.panel with input as fixtures.asked
	not tools.obligations.panel with input as fixtures.calls("frobnicate", {})
}
