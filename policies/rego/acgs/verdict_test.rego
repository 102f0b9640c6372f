package acgs.verdict_test

import data.acgs.verdict
import rego.v1

test_a_denial_has_every_field if {
	verdict.deny("r", "c", "m", "h") == {"rule": "r", "effect": "deny", "code": "c", "message": "m", "remedy": "h"}
}

test_a_review_has_every_field if {
	verdict.review("r", "c", "m", "h") == {"rule": "r", "effect": "review", "code": "c", "message": "m", "remedy": "h"}
}
