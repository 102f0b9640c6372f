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

test_nothing_else_is_ordinary if {
	every changes in [
		{"/principal/roles": ["agent", "executive"]},
		{"/principal/roles": ["executive"]},
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
