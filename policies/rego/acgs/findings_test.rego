package acgs.findings_test

import data.acgs.findings
import data.acgs.fixtures
import rego.v1

seen(found) := fixtures.but({"/findings": found})

called(tool, args, found) := json.patch(fixtures.calls(tool, args), [{"op": "add", "path": "/findings", "value": found}])

overflow := {"kind": "pii", "detector": "overflow", "path": "", "start": 0, "end": 9}

test_secret_speaks_wherever_it_stands if {
	findings.verdicts.secret.code == "policy.secret_found" with input as seen([fixtures.finding("secret", "/args/body")])
	findings.verdicts.secret with input as json.patch(
		fixtures.said("heartbeat"),
		[{"op": "add", "path": "/findings", "value": [fixtures.finding("secret", "/text")]}],
	)
}

test_secret_is_silent_about_other_findings if {
	not findings.verdicts.secret with input as seen([fixtures.email("/args/to"), fixtures.finding("injection", "/text")])
}

test_injection_speaks_wherever_it_stands if {
	findings.verdicts.injection.code == "policy.injection_found" with input as seen([fixtures.finding("injection", "/text")])
}

test_injection_is_silent_about_other_findings if {
	not findings.verdicts.injection with input as seen([fixtures.finding("secret", "/text")])
}

test_pii_leaves_speaks_when_a_request_would_carry_it if {
	found := [fixtures.email("/args/body")]
	findings.verdicts.pii_leaves.code == "policy.pii_leaves" with input as called("http.request", {"url": "https://api.example.com/"}, found)
}

test_pii_leaves_speaks_about_a_tool_that_nobody_described if {
	findings.verdicts.pii_leaves with input as called("frobnicate", {}, [fixtures.email("/text")])
}

test_pii_leaves_speaks_when_not_all_could_be_read_and_redacted if {
	findings.verdicts.pii_leaves with input as seen([overflow])
}

test_pii_leaves_speaks_when_the_table_does_not_say if {
	findings.verdicts.pii_leaves with input as seen([fixtures.email("/text")])
		with data.cfg.tools["email.send"].pii as null
}

test_pii_leaves_is_silent_when_it_is_redacted if {
	not findings.verdicts.pii_leaves with input as seen([fixtures.email("/args/body")])
}

test_pii_leaves_is_silent_about_the_address_of_a_mail if {
	not findings.verdicts.pii_leaves with input as seen([fixtures.email("/args/to"), fixtures.email("/args/cc/3")])
}

test_pii_leaves_is_silent_inside_the_house if {
	not findings.verdicts.pii_leaves with input as called("say", {}, [fixtures.email("/text")])
}

test_pii_leaves_is_silent_inside_whatever_the_table_says_of_it if {
	not findings.verdicts.pii_leaves with input as called("say", {}, [fixtures.email("/text")])
		with data.cfg.tools.say.pii as "review"
}

test_pii_leaves_is_silent_without_findings if {
	not findings.verdicts.pii_leaves with input as fixtures.calls("http.request", {"url": "https://api.example.com/"})
}

test_pii_refused_speaks_about_a_tool_that_never_gets_any if {
	findings.verdicts.pii_refused.code == "policy.pii_refused" with input as called("message.post", {"channel": "c", "text": "t"}, [fixtures.email("/args/text")])
}

test_pii_refused_is_silent_without_personal_data if {
	not findings.verdicts.pii_refused with input as called("message.post", {"channel": "c", "text": "t"}, [])
}

test_pii_refused_is_silent_about_a_tool_that_asks_a_person if {
	not findings.verdicts.pii_refused with input as called("http.request", {}, [fixtures.email("/text")])
}

test_pii_broadcast_speaks_about_personal_data_to_all if {
	findings.verdicts.pii_broadcast.code == "policy.pii_broadcast" with input as json.patch(
		fixtures.said("event"),
		[
			{"op": "add", "path": "/message/recipient", "value": "*"},
			{"op": "add", "path": "/findings", "value": [fixtures.email("/text")]},
		],
	)
}

test_pii_broadcast_is_silent_about_one_recipient if {
	not findings.verdicts.pii_broadcast with input as seen([fixtures.email("/text")])
}

test_pii_broadcast_is_silent_about_a_broadcast_without_any if {
	not findings.verdicts.pii_broadcast with input as fixtures.but({"/message/recipient": "*"})
}

test_redact_pii_speaks_of_the_paths_that_are_exposed if {
	duty := findings.obligations.redact_pii with input as seen([
		fixtures.email("/args/body"),
		fixtures.email("/args/to"),
		fixtures.finding("pii", "/args/to"),
	])
	duty.type == "redact"
	duty.properties.paths == ["/args/body", "/args/to"]
}

test_redact_pii_speaks_of_personal_data_only if {
	duty := findings.obligations.redact_pii with input as seen([
		fixtures.email("/args/body"),
		fixtures.finding("secret", "/args/subject"),
	])
	duty.properties.paths == ["/args/body"]
}

test_redact_pii_is_silent_about_the_address_alone if {
	not findings.obligations.redact_pii with input as seen([fixtures.email("/args/to/0")])
}

test_redact_pii_is_silent_about_what_could_not_be_read if {
	not findings.obligations.redact_pii with input as seen([overflow])
}

test_redact_pii_is_silent_about_a_tool_that_asks_a_person if {
	not findings.obligations.redact_pii with input as called("http.request", {}, [fixtures.email("/text")])
}

test_notify_secret_speaks_of_a_secret if {
	findings.obligations.notify_secret.type == "notification" with input as seen([fixtures.finding("secret", "/text")])
}

test_notify_secret_is_silent_about_personal_data if {
	not findings.obligations.notify_secret with input as seen([fixtures.email("/text")])
}

test_notify_injection_speaks_of_an_injection if {
	findings.obligations.notify_injection.properties.topic == "policy.injection_found" with input as seen([fixtures.finding("injection", "/text")])
}

test_notify_injection_is_silent_about_a_secret if {
	not findings.obligations.notify_injection with input as seen([fixtures.finding("secret", "/text")])
}
