package acgs.arguments_test

import data.acgs.arguments
import data.acgs.fixtures
import rego.v1

transfer(changes) := fixtures.calls("payment.transfer", object.union({"to": "DE02", "amount": 10, "currency": "EUR"}, changes))

get(url) := fixtures.calls("http.request", {"url": url})

test_required_speaks_about_what_is_missing if {
	verdict := arguments.verdicts.required with input as fixtures.calls("payment.transfer", {"to": "DE02"})
	verdict.code == "policy.argument_missing"
	verdict.message == "the tool requires amount, currency"
}

test_required_speaks_about_null if {
	arguments.verdicts.required with input as transfer({"amount": null})
}

test_required_speaks_when_the_table_does_not_say if {
	arguments.verdicts.required with input as fixtures.asked
		with data.cfg.tools["email.send"].required as null
}

test_required_is_silent_when_all_is_given if {
	not arguments.verdicts.required with input as transfer({})
}

test_required_is_silent_about_tools_that_are_not_described if {
	not arguments.verdicts.required with input as fixtures.calls("frobnicate", {})
}

test_described_speaks_about_an_argument_that_the_tool_has_not if {
	arguments.verdicts.described.code == "policy.argument_unexpected" with input as transfer({"force": true})
}

test_described_is_silent_about_null if {
	not arguments.verdicts.described with input as transfer({"force": null})
}

test_described_is_silent_about_an_open_tool if {
	not arguments.verdicts.described with input as fixtures.calls("say", {"tone": "kind"})
}

test_described_is_silent_about_tools_that_are_not_in_the_table if {
	not arguments.verdicts.described with input as fixtures.calls("frobnicate", {"force": true})
}

test_type_speaks_about_an_amount_in_words if {
	verdict := arguments.verdicts.type with input as transfer({"amount": "10"})
	verdict.code == "policy.argument_type"
	verdict.message == "of another type than the tool takes: amount"
}

test_type_speaks_about_half_an_integer if {
	arguments.verdicts.type with input as fixtures.calls("search", {"query": "x", "limit": 1.5})
}

test_type_speaks_about_a_list_of_numbers if {
	arguments.verdicts.type with input as fixtures.calls("email.send", {"to": [1]})
}

test_type_speaks_about_one_string_where_a_list_must_stand if {
	arguments.verdicts.type with input as fixtures.calls("calendar.create", {"title": "x", "start": "2026-11-23T10:00", "attendees": "a@b.example"})
}

test_type_speaks_about_an_object_instead_of_text if {
	arguments.verdicts.type with input as fixtures.calls("search", {"query": {"$ne": null}})
}

test_type_speaks_about_a_boolean_instead_of_an_object if {
	arguments.verdicts.type with input as fixtures.calls("http.request", {"url": "https://api.example.com/", "headers": true})
}

test_type_speaks_about_a_word_instead_of_a_boolean if {
	arguments.verdicts.type with input as fixtures.calls("file.write", {"path": "a", "text": "b", "append": "yes"})
}

test_type_speaks_about_text_instead_of_a_list_of_values if {
	arguments.verdicts.type with input as fixtures.calls("db.query", {"sql": "select 1", "params": "x"})
}

test_type_speaks_when_the_table_names_a_type_that_does_not_exist if {
	arguments.verdicts.type with input as transfer({})
		with data.cfg.tools["payment.transfer"].args.to.type as "strang"
}

test_type_is_silent_about_the_right_ones if {
	not arguments.verdicts.type with input as transfer({})
}

test_type_is_silent_about_a_whole_number_with_a_point if {
	not arguments.verdicts.type with input as fixtures.calls("search", {"query": "x", "limit": 2.0})
}

test_type_is_silent_about_every_other_type if {
	not arguments.verdicts.type with input as fixtures.calls("file.write", {"path": "a", "text": "b", "append": true})
	not arguments.verdicts.type with input as fixtures.calls("db.query", {"sql": "select 1", "params": [1, "x"]})
	not arguments.verdicts.type with input as fixtures.calls("http.request", {"url": "https://api.example.com/", "headers": {"a": "b"}})
}

test_length_speaks_about_a_long_text if {
	arguments.verdicts.length.code == "policy.argument_length" with input as fixtures.calls("search", {"query": concat("", ["x" | some _ in numbers.range(1, 1001)])})
}

test_length_speaks_about_a_long_list if {
	arguments.verdicts.length with input as fixtures.calls("email.send", {"to": ["a@b.example" | some _ in numbers.range(1, 51)]})
	arguments.verdicts.length with input as fixtures.calls("db.query", {"sql": "select 1", "params": numbers.range(1, 101)})
}

test_length_speaks_about_a_long_item if {
	arguments.verdicts.length with input as fixtures.calls("email.send", {"to": [concat("", ["x" | some _ in numbers.range(1, 300)])]})
	arguments.verdicts.length with input as fixtures.calls("email.send", {"to": concat("", ["x" | some _ in numbers.range(1, 300)])})
}

test_length_speaks_about_a_large_object if {
	arguments.verdicts.length with input as fixtures.calls("http.request", {
		"url": "https://api.example.com/",
		"headers": {sprintf("h%d", [n]): "x" | some n in numbers.range(1, 33)},
	})
}

test_length_speaks_when_the_table_gives_no_bound if {
	arguments.verdicts.length with input as fixtures.calls("search", {"query": "x"})
		with data.cfg.tools.search.args.query as {"type": "text"}
}

test_length_speaks_about_a_long_url if {
	path := concat("", ["x" | some _ in numbers.range(1, 2048)])
	arguments.verdicts.length with input as get(concat("", ["https://api.example.com/", path]))
}

test_length_is_silent_at_the_bound if {
	not arguments.verdicts.length with input as fixtures.calls("search", {"query": concat("", ["x" | some _ in numbers.range(1, 1000)])})
}

test_pattern_speaks_about_a_path_that_climbs if {
	arguments.verdicts.pattern.code == "policy.argument_pattern" with input as fixtures.calls("file.read", {"path": "notes/../../etc/passwd"})
}

test_pattern_speaks_about_an_absolute_path if {
	arguments.verdicts.pattern with input as fixtures.calls("file.read", {"path": "/etc/passwd"})
}

test_pattern_speaks_about_a_second_statement if {
	arguments.verdicts.pattern with input as fixtures.calls("db.query", {"sql": "select 1; drop table users"})
}

test_pattern_speaks_about_a_header_in_a_subject if {
	arguments.verdicts.pattern with input as fixtures.calls("email.send", {"subject": "hi\r\nBcc: all@example.com"})
}

test_pattern_speaks_about_one_bad_address_among_good_ones if {
	arguments.verdicts.pattern with input as fixtures.calls("email.send", {"to": ["ann@example.com", "nobody"]})
}

test_pattern_speaks_about_one_bad_address_by_itself if {
	arguments.verdicts.pattern with input as fixtures.calls("email.send", {"to": "nobody"})
}

test_pattern_is_silent_about_good_ones if {
	not arguments.verdicts.pattern with input as fixtures.calls("file.read", {"path": "notes/2026/plan.md"})
	not arguments.verdicts.pattern with input as fixtures.calls("db.query", {"sql": "SELECT name FROM users WHERE id = $1"})
	not arguments.verdicts.pattern with input as fixtures.calls("email.send", {"to": ["ann@example.com"]})
}

test_range_speaks_below_and_above if {
	arguments.verdicts.range.code == "policy.argument_range" with input as transfer({"amount": 0})
	arguments.verdicts.range with input as transfer({"amount": -5})
	arguments.verdicts.range with input as transfer({"amount": 1000001})
	arguments.verdicts.range with input as fixtures.calls("search", {"query": "x", "limit": 101})
}

test_range_is_silent_at_the_bounds if {
	not arguments.verdicts.range with input as transfer({"amount": 0.01})
	not arguments.verdicts.range with input as transfer({"amount": 1000000})
}

test_host_speaks_about_a_host_that_is_not_allowed if {
	arguments.verdicts.host.code == "policy.host_not_permitted" with input as get("https://evil.example/")
}

test_host_speaks_about_everything_unusual if {
	every url in [
		"http://api.example.com/",
		"https://api.example.com@evil.example/",
		"https://api.example.com.evil.example/",
		"https://API.example.com/",
		"https://api.example.com:8443/",
		"https://api.example.com\\@evil.example/",
		"https://169.254.169.254/latest/meta-data/",
		"https://[::1]/",
		" https://api.example.com/",
		"https://api.example.com/\nHost: evil.example",
		"file:///etc/passwd",
		"",
	] {
		arguments.verdicts.host with input as get(url)
	}
}

test_host_is_silent_about_an_allowed_one if {
	every url in ["https://api.example.com", "https://api.example.com/v1?q=1#a", "https://data.example.com:443/x"] {
		not arguments.verdicts.host with input as get(url)
	}
}

test_amount_speaks_above_what_needs_a_person if {
	verdict := arguments.verdicts.amount with input as fixtures.calls("payment.refund", {"order": "o-1", "amount": 100.01, "currency": "EUR"})
	verdict.effect == "review"
	verdict.code == "policy.argument_held"
}

test_amount_is_silent_up_to_it if {
	not arguments.verdicts.amount with input as fixtures.calls("payment.refund", {"order": "o-1", "amount": 100, "currency": "EUR"})
}

test_amount_is_silent_about_other_tools if {
	not arguments.verdicts.amount with input as fixtures.calls("frobnicate", {"amount": 1000000})
}
