# METADATA
# title: What could go badly wrong waits for a person
package acgs.impact

import data.acgs.tools
import data.acgs.verdict
import rego.v1

# METADATA
# title: A high-impact action is held for review
# custom:
#   code: policy.high_impact
#   effect: review
#   remedy: "wait for the review, or ask for something that can be undone"
verdicts.action := verdict.review(
	"acgs.impact.action", "policy.high_impact",
	"the action is one whose effect is large or cannot be undone",
	"wait for the review, or ask for something that can be undone",
) if {
	not harmless
}

# METADATA
# title: A critical message is held for review
# custom:
#   code: policy.critical_priority
#   effect: review
#   remedy: "wait for the review, or send it with a lower priority"
verdicts.priority := verdict.review(
	"acgs.impact.priority", "policy.critical_priority",
	"a message of this priority waits for a person",
	"wait for the review, or send it with a lower priority",
) if {
	not below_the_bar
}

default below_the_bar := false

below_the_bar if input.message.priority < data.cfg.priorities[data.cfg.impact.held_from_priority]

default harmless := false

harmless if not tools.called

# A tool in the table says it itself; one that does not say that it is harmless is not.
harmless if {
	data.cfg.tools[input.message.tool].high_impact == false
	not verb_is_high
}

harmless if {
	not tools.known
	not named_high(input.message.tool)
	not verb_is_high
}

# The action beside a tool of another name.
default verb_is_high := false

verb_is_high if {
	input.message.action != input.message.tool
	named_high(input.message.action)
}

default named_high(_) := false

named_high(text) if {
	apart := regex.replace(text, `([A-Z]+)([A-Z][a-z])`, "${1}_${2}")
	some word in regex.find_n(`[A-Z]?[a-z]+|[A-Z]+`, apart, -1)
	data.cfg.impact.words[lower(word)] == true
}
