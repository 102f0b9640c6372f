package acgs.ordinary_test

import data.acgs.fixtures
import data.acgs.ordinary
import rego.v1

test_a_mail_is_ordinary if {
	ordinary.call with input as fixtures.asked
}

test_an_event_is_ordinary if {
	ordinary.word with input as fixtures.said("event")
}

test_a_word_is_no_call_and_a_call_is_no_word if {
	not ordinary.call with input as fixtures.said("event")
	not ordinary.word with input as fixtures.asked
}

test_a_power_within_itself_is_ordinary if {
	ordinary.call with input as fixtures.but({"/principal/roles": ["executive"]})
	ordinary.word with input as json.patch(
		fixtures.said("event"),
		[{"op": "add", "path": "/principal/roles", "value": ["judicial"]}],
	)
}

test_a_validation_is_never_ordinary if {
	not ordinary.word with input as fixtures.validates(null)
	not ordinary.word with input as fixtures.validates({"known": true, "agent": "planner", "roles": ["executive"]})
}

test_nothing_else_is_ordinary if {
	every changes in [
		{"/principal/roles": ["agent", "executive"]},
		{"/principal/roles": ["legislative"]},
		{"/principal/roles": ["judicial"]},
		{"/principal/roles": ["root"]},
		{"/principal/roles": []},
		{"/message/tenant": "globex"},
		{"/message/sender": "boss"},
		{"/message/recipient": "*"},
		{"/message/recipient_tenant": "acme"},
		{"/message/type": "governance_request"},
		{"/message/priority": 3},
		{"/message/constitutional_hash": "0"},
		{"/message/action": "query"},
		{"/message/tool": "file.delete"},
		{"/message/args": {"force": true}},
		{"/message/content_size": 2000000},
		{"/message/metadata": {"labels": ["public"]}},
		{"/findings": [fixtures.email("/args/to")]},
		{"/target": {"known": true, "agent": "a", "roles": []}},
	] {
		not ordinary.call with input as fixtures.but(changes)
		not ordinary.word with input as fixtures.but(changes)
	}
}

test_no_mail_is_ordinary_where_the_tables_are_stricter if {
	not ordinary.call with input as fixtures.asked with data.cfg.tools["email.send"].effect as "review"
	not ordinary.call with input as fixtures.asked with data.cfg.tools["email.send"].high_impact as true
	not ordinary.call with input as fixtures.asked with data.cfg.tools["email.send"].roles as {}
	not ordinary.call with input as fixtures.asked with data.cfg.tools["email.send"].touches as "restricted"
	not ordinary.call with input as fixtures.asked with data.cfg.tools["email.send"].label_max as "public"
	not ordinary.call with input as fixtures.asked with data.cfg.tools["email.send"].required as ["body"]
	not ordinary.call with input as fixtures.asked with data.cfg.tools["email.send"].args as {}
	not ordinary.call with input as fixtures.calls("search", {"query": "x", "limit": 50}) with data.cfg.tools.search.held_above as {"limit": 49}
}

test_nothing_is_ordinary_where_the_tables_are_stricter if {
	not ordinary.plain with input as fixtures.asked with data.cfg.constitutional_hash as "0"
	not ordinary.plain with input as fixtures.asked with data.cfg.roles.agent.types as {}
	not ordinary.plain with input as fixtures.asked with data.cfg.roles.agent.priority_max as "low"
	not ordinary.plain with input as fixtures.asked with data.cfg.roles.agent.clearance as "public"
	not ordinary.plain with input as fixtures.asked with data.cfg.labels.unlabelled as "restricted"
	not ordinary.plain with input as fixtures.asked with data.cfg.impact.held_from_priority as "normal"
	not ordinary.plain with input as fixtures.asked with data.cfg.powers.names as {"agent": true}
	not ordinary.plain with input as fixtures.asked with data.cfg.powers.named_actions as {"email.send": true}
	not ordinary.plain with input as fixtures.asked with data.cfg.powers.ordinary as {}
	not ordinary.plain with input as fixtures.asked with data.cfg.limits.size_max as {"command": 119}
	not ordinary.plain with input as fixtures.asked with data.cfg.limits.arguments_max as 1
	not ordinary.plain with input as fixtures.asked with data.cfg.limits.name_length_max as 9
	not ordinary.plain with input as fixtures.but({"/message/tool": ""}) with data.cfg.limits.name_length_max as 9
	not ordinary.plain with input as fixtures.but({"/message/action": ""}) with data.cfg.limits.name_length_max as 9
	not ordinary.plain with input as fixtures.but({"/message/resource": "x"}) with data.cfg.limits.resource_length_max as 0
}

test_all_is_ordinary_at_its_bounds if {
	ordinary.call with input as fixtures.asked with data.cfg.limits.size_max as {"command": 120}
		with data.cfg.limits.arguments_max as 2
		with data.cfg.limits.name_length_max as 10
		with data.cfg.limits.resource_length_max as 0
		with data.cfg.roles.agent.priority_max as "normal"
		with data.cfg.roles.agent.clearance as "internal"
		with data.cfg.tools["email.send"].label_max as "internal"
		with data.cfg.tools["email.send"].touches as "internal"
}
