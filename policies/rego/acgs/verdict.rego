# METADATA
# title: How a rule speaks
# description: >-
#   What a rule has against a message. A verdict names the rule, a stable code, what was seen
#   and what would help. Both texts are said to the caller, so neither repeats what was sent.
package acgs.verdict

import rego.v1

review(rule, code, message, remedy) := {
	"rule": rule,
	"effect": "review",
	"code": code,
	"message": message,
	"remedy": remedy,
}

deny(rule, code, message, remedy) := {
	"rule": rule,
	"effect": "deny",
	"code": code,
	"message": message,
	"remedy": remedy,
}
