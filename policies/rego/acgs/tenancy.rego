# METADATA
# title: Tenants are apart
# description: Who asks is who the token says, and nothing crosses from one tenant to another.
package acgs.tenancy

import data.acgs.verdict
import rego.v1

# METADATA
# title: A message belongs to its principal's tenant
# custom:
#   code: policy.tenant_mismatch
#   effect: deny
#   remedy: "leave tenant_id out, or use a token of that tenant"
verdicts.message_tenant := verdict.deny(
	"acgs.tenancy.message_tenant", "policy.tenant_mismatch",
	"the message names another tenant than the token does",
	"leave tenant_id out, or use a token of that tenant",
) if {
	input.message.tenant != input.principal.tenant
}

# METADATA
# title: A message is sent by its principal
# custom:
#   code: policy.sender_mismatch
#   effect: deny
#   remedy: "leave from_agent out, or use that agent's own token"
verdicts.sender := verdict.deny(
	"acgs.tenancy.sender", "policy.sender_mismatch",
	"the message names another sender than the token does",
	"leave from_agent out, or use that agent's own token",
) if {
	input.message.sender != input.principal.agent
}

# METADATA
# title: A recipient lives in the message's tenant
# description: >-
#   Who looks recipients up in one tenant only, as the bus does, may leave recipient_tenant out.
# custom:
#   code: policy.recipient_tenant_mismatch
#   effect: deny
#   remedy: "address an agent of your own tenant"
verdicts.recipient := verdict.deny(
	"acgs.tenancy.recipient", "policy.recipient_tenant_mismatch",
	"the recipient lives in another tenant",
	"address an agent of your own tenant",
) if {
	not same_house
}

default same_house := false

same_house if object.get(input.message, "recipient_tenant", input.message.tenant) == input.message.tenant
