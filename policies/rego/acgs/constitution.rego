# METADATA
# title: The constitution that a message was sent under
# description: The bus compares the hash on the wire; the policy does so again, from its own data.
package acgs.constitution

import data.acgs.verdict
import rego.v1

# METADATA
# title: A message names the constitution in force
# custom:
#   code: policy.constitution_mismatch
#   effect: deny
#   remedy: "read GET /v1/constitution and send the hash that stands there"
verdicts.hash := verdict.deny(
	"acgs.constitution.hash", "policy.constitution_mismatch",
	"the message names another constitution than the one in force",
	"read GET /v1/constitution and send the hash that stands there",
) if {
	not in_force
}

default in_force := false

in_force if input.message.constitutional_hash == data.cfg.constitutional_hash
