# A policy with one fault for each tool. constitutional hash: cdd01ef066bc6cf2
package acgs.governance

import rego.v1

tool := input.message.tool

sound := {"allow": true, "verdicts": [], "obligations": []}

objection := {
	"rule": "test.objection",
	"effect": "deny",
	"code": "test.objection",
	"message": "no",
	"remedy": "none",
}

decision := sound if tool == "fault.none"

# Ends by itself long after any deadline of a test.
decision := sound if {
	tool == "fault.endless"
	count([1 |
		some a in numbers.range(1, 1200)
		some b in numbers.range(1, 1200)
		a + b == -1
	]) == 0
}

decision := {"quotient": 1 / count(input.message.args)} if tool == "fault.division"

decision := true if tool == "fault.no_object"

decision := {"verdicts": [], "obligations": []} if tool == "fault.no_allow"

decision := object.union(sound, {"verdicts": [objection]}) if tool == "fault.contradiction"

decision := object.union(sound, {"verdicts": huge}) if tool == "fault.huge"

huge := [object.union(objection, {"effect": "allow", "code": sprintf("test.%d", [n])}) |
	some n in numbers.range(1, 300)
]
