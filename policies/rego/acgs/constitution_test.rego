package acgs.constitution_test

import data.acgs.constitution
import data.acgs.fixtures
import rego.v1

test_hash_speaks_when_the_message_names_another if {
	constitution.verdicts.hash.code == "policy.constitution_mismatch" with input as fixtures.but({"/message/constitutional_hash": "0000000000000000"})
}

test_hash_speaks_when_the_law_names_none if {
	constitution.verdicts.hash with input as fixtures.asked
		with data.cfg.constitutional_hash as null
}

test_hash_is_silent_when_they_are_equal if {
	not constitution.verdicts.hash with input as fixtures.asked
}
